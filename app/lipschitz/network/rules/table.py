"""The rule table: ATen operator -> what it means to the network. An operator without an entry is refused.

A rule gets the builder and one call whose arguments hold at least one input-dependent tensor, and returns the
call's value, or a tuple of values where the operator has several outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.network.builder import Builder
from app.lipschitz.network.call import Call
from app.lipschitz.network.values import Linear

Rule = Callable[[Builder, Call], Any]

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule under full overload names without the `aten.` prefix, e.g. `add.Tensor`."""

    def register(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, f"two rules for {name}"
            RULES[name] = function
        return function

    return register


def only_dependent(call: Call) -> Linear:
    """The one input-dependent tensor of a call; refused where a parameter depends on the input too."""
    value, *others = dict.fromkeys(call.linears())
    if others:
        raise UnsupportedOperator(f"{call.place}: a parameter of it depends on the input, which has no rule")
    return value
