"""Operators that are understood and have no finite constant: the refusal says why."""

from __future__ import annotations

import math
from typing import NoReturn

from ...errors import Discontinuous
from ..builder import Builder
from ..call import Call
from ..values import Constant
from .affine import not_lipschitz
from .table import only_dependent, rule

UNBOUNDED = {
    "cumprod.default": "multiplies so many values that depend on the input",
}

JUMPS = ("sign.default", "sgn.default", "floor.default", "ceil.default", "round.default", "trunc.default",
         "frac.default",
         "argmax.default", "argmin.default", "gt.Scalar", "gt.Tensor", "ge.Scalar", "ge.Tensor", "lt.Scalar",
         "lt.Tensor", "le.Scalar", "le.Tensor", "eq.Tensor", "ne.Tensor",
         "hardshrink.default",
         "heaviside.default", "remainder.Scalar", "fmod.Scalar", "floor_divide.default", "round.decimals",
         "div.Tensor_mode", "div.Scalar_mode", "argsort.default")  # fmt: skip


@rule(*UNBOUNDED)
def unbounded(_builder: Builder, call: Call) -> NoReturn:
    """Locally Lipschitz at most."""
    raise not_lipschitz(call, UNBOUNDED[call.name.removeprefix("aten.")])


@rule("eq.Scalar", "ne.Scalar")
def equality(builder: Builder, call: Call) -> Constant:
    """A step function; but only what a mask made infinite is equal to infinity."""
    number = float(call.arguments["other"])
    if math.isfinite(number):
        jumps(builder, call)
    equal = only_dependent(call).offset() == number
    return Constant(equal if call.name == "aten.eq.Scalar" else ~equal)


ROUNDING = frozenset({"floor.default", "ceil.default", "round.default", "trunc.default", "round.decimals",
                      "floor_divide.default", "div.Tensor_mode", "div.Scalar_mode"})  # fmt: skip
AS_NOISE = '"rounding": "noise" counts the step as bounded noise; of a quantised model you may send the float model'


@rule(*JUMPS)
def jumps(_builder: Builder, call: Call) -> NoReturn:
    advice = f". {AS_NOISE}" if call.name.removeprefix("aten.") in ROUNDING else ""
    raise Discontinuous(
        f"{call.place} is discontinuous: it has no finite Lipschitz constant on any domain where it jumps{advice}"
    )
