"""A table that functions enter by decorators: one entry a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function")


class Register(dict[str, Function]):
    """Names and the functions that stand for them."""

    def enter(self, *names: str) -> Callable[[Function], Function]:
        """Decorator: the function stands for these names, which no other one has."""

        def decorate(function: Function) -> Function:
            for name in names:
                assert name not in self, f"two entries for {name}"
                self[name] = function
            return function

        return decorate
