"""The rule table: ATen operator -> what it means to the network. An operator without an entry is refused.

A rule gets the builder and one call whose arguments hold at least one input-dependent tensor, and returns the
call's value, or a tuple of values where the operator has several outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import UnsupportedOperator
from ...register import Register
from ..builder import Builder
from ..call import Call
from ..values import Linear

Rule = Callable[[Builder, Call], Any]

RULES: Register[Rule] = Register()
"""Under full overload names without the `aten.` prefix, e.g. `add.Tensor`."""
rule = RULES.enter


def only_dependent(call: Call) -> Linear:
    """The one input-dependent tensor of a call; refused where a parameter depends on the input too."""
    value, *others = dict.fromkeys(call.linears())
    if others:
        raise UnsupportedOperator(f"{call.place}: a parameter of it depends on the input, which has no rule")
    return value
