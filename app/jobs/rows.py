"""What the row of a new job holds."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from sqlalchemy import RowMapping

from .. import __version__
from ..contract.plain import Json
from .record import Kind
from .states import Status
from .submission import Submission


def new_row(kind: Kind, model: str, blob: str, **others: Any) -> Json:
    """The row of a new job."""
    defaults = {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "status": Status.QUEUED,
        "model": model,
        "blob": blob,
        "request": {},
        "metadata": {},
        "methods": "",
        "cache_key": "",
        "cached": False,
        "priority": 5,
        "attempt": 0,
        "losses": 0,
        "has_witness": False,
        "has_certificate": False,
        "has_radii": False,
        "dataset": None,
        "tenant": "",
    }
    return defaults | others


def computed(earlier: RowMapping) -> dict[str, float]:
    """When the answer of the earlier job was computed, and in what time."""
    if earlier["computed_at"] is not None:
        return {"computed_at": earlier["computed_at"], "computed_s": earlier["computed_s"]}
    return {"computed_at": earlier["finished_at"], "computed_s": earlier["finished_at"] - earlier["started_at"]}


def cache_key(asked: Submission) -> str:
    """The same for two submissions that one result answers."""
    question = json.dumps([__version__, asked.tenant, asked.model, asked.request], sort_keys=True, allow_nan=False)
    return hashlib.sha256(question.encode()).hexdigest()


def method_list(request: Json) -> str:
    """The methods asked for as one string, for the listing's filter: `,autolip,gradient,`."""
    methods = request["methods"]
    return f",{','.join([methods] if isinstance(methods, str) else methods)},"
