"""Documents that the database holds, perhaps since an earlier version, as the contract's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Kind = TypeVar("Kind", bound=BaseModel)


def readable(kind: type[Kind], document: Mapping[str, object]) -> Kind:
    """The document as that type. One that was of its type once, and is no more, is served as it is stored: all of its
    members are further ones, and it has none of the type's own.
    """
    try:
        return kind.model_validate(document)
    except ValidationError:
        bare = kind.model_construct(_fields_set=set())
        object.__setattr__(bare, "__pydantic_extra__", dict(document))
        return bare
