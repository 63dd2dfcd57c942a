"""The captured graph's operators on long numbers. One without a rule here is `Unable`: it is never guessed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..network.call import Call
from ..network.rules.elementwise import DESCRIBED
from ..network.rules.elementwise import described as described_scalar
from ..network.rules.movement import IDENTITIES, MOVEMENTS
from ..network.values import Constant
from .functions import reciprocal, square_root
from .multiplication import product
from .number import Number, Unable, add, aligned, between, ends, exact, negative, sign
from .table import RULES, Arguments, called, number, numbers_of, rule


@rule(*IDENTITIES, "_to_copy.default", "to.dtype")
def identity(_call: Call, a: Arguments, _places: int) -> Any:
    """The tensor itself, widened where it holds integers; cut to integers only where it is exact."""
    dtype = a.get("dtype")
    if isinstance(a["input"], Number):
        if dtype is None or dtype.is_floating_point:
            return a["input"]
        return _float64(a["input"]).to(dtype)
    plain = a["input"] if dtype is None else a["input"].to(dtype)
    return exact(plain) if plain.is_floating_point() else plain


@rule(*MOVEMENTS)
def move(call: Call, a: Arguments, places: int) -> Any:
    """Digit by digit; what padding puts in is added afterwards."""
    fill = float(a.get("value") or 0.0) if call.name == "aten.constant_pad_nd.default" else 0.0
    leaves = numbers_of(a)
    if call.name in TURNS:
        return _turned(call, a, leaves[0])
    digits, exponent = aligned(leaves)
    planes = [_moved(call, a, leaves, [d[k] for d in digits], fill=0.0) for k in range(len(digits[0]))]
    error = None
    if any(leaf.error is not None for leaf in leaves):
        errors = [torch.zeros(leaf.shape, dtype=torch.float64) if leaf.error is None else leaf.error for leaf in leaves]
        error = _moved(call, a, leaves, errors, fill=0.0)
    if isinstance(planes[0], Tensor):
        moved = Number(torch.stack(planes), exponent, error)
        if not fill:
            return moved
        zeros = [torch.zeros(leaf.shape, dtype=torch.float64) for leaf in leaves]
        return add(moved, exact(_moved(call, a, leaves, zeros, fill=fill)), places)
    parts = [None] * len(planes[0]) if error is None else error
    return tuple(
        Number(torch.stack(plane), exponent, part) for plane, part in zip(zip(*planes, strict=True), parts, strict=True)
    )


TURNS = frozenset({"aten.t.default", "aten.transpose.int", "aten.permute.default"})
"""Movements that are views of all digits at once: weights turn before every product."""


def _turned(call: Call, a: Arguments, x: Number) -> Number:
    def turn(plane: Tensor) -> Any:
        return called(call, a | {"input": plane})

    return Number(torch.vmap(turn)(x.digits), x.exponent, None if x.error is None else turn(x.error))


def _alone(plane: Tensor) -> Tensor:
    """In memory of its own: `as_strided` counts from the start of the memory, which planes otherwise share."""
    return plane.clone(memory_format=torch.contiguous_format)


def _moved(call: Call, a: Arguments, leaves: list[Number], tensors: list[Tensor], fill: float) -> Any:
    of = {leaf: _alone(tensor) for leaf, tensor in zip(leaves, tensors, strict=True)}

    def plain(value: Any) -> Any:
        if isinstance(value, Number):
            return of[value]
        return [plain(one) for one in value] if isinstance(value, list | tuple) else value

    given = {key: plain(value) for key, value in a.items()}
    if call.name == "aten.constant_pad_nd.default":
        given["value"] = fill
    return called(call, given)


def scaled(x: Number, factor: Any, places: int) -> Number:
    """A number times one of the call's, exact where that is 1."""
    if isinstance(factor, int | float) and float(factor) == 1.0:
        return x
    return product(torch.mul, number(factor), x, 1, places)


@rule("add.Tensor", "add.Scalar", "sub.Tensor", "sub.Scalar")
def sum_of_two(call: Call, a: Arguments, places: int) -> Number:
    """a + alpha b, a - alpha b."""
    other = scaled(number(a["other"]), a["alpha"], places)
    return add(number(a["input"]), other, places, -1.0 if "sub" in call.name else 1.0)


@rule("rsub.Tensor", "rsub.Scalar")
def reversed_difference(_call: Call, a: Arguments, places: int) -> Number:
    """b - alpha a."""
    return add(number(a["other"]), scaled(number(a["input"]), a["alpha"], places), places, -1.0)


@rule("neg.default")
def negation(_call: Call, a: Arguments, _places: int) -> Number:
    return negative(number(a["input"]))


@rule("mul.Tensor", "mul.Scalar")
def entrywise_product(_call: Call, a: Arguments, places: int) -> Number:
    return product(torch.mul, number(a["input"]), number(a["other"]), 1, places)


@rule("square.default")
def square(_call: Call, a: Arguments, places: int) -> Number:
    return product(torch.mul, number(a["input"]), number(a["input"]), 1, places)


@rule("pow.Tensor_Scalar")
def power(_call: Call, a: Arguments, places: int) -> Number:
    """Whole powers, and roots."""
    x, exponent = number(a["input"]), float(a["exponent"])
    if exponent in (0.5, -0.5):
        root = square_root(x, places)
        return root if exponent > 0 else reciprocal(root, places)
    if exponent not in (1.0, 2.0, 3.0, 4.0):
        raise Unable(f"a power with exponent {exponent:g}")
    power_ = x
    for _ in range(int(exponent) - 1):
        power_ = product(torch.mul, power_, x, 1, places)
    return power_


@rule("sqrt.default")
def root(_call: Call, a: Arguments, places: int) -> Number:
    """sqrt(a)."""
    return square_root(number(a["input"]), places)


@rule("rsqrt.default")
def inverse_root(_call: Call, a: Arguments, places: int) -> Number:
    """1 / sqrt(a)."""
    return reciprocal(square_root(number(a["input"]), places), places)


@rule("reciprocal.default")
def inverse(_call: Call, a: Arguments, places: int) -> Number:
    """1 / a."""
    return reciprocal(number(a["input"]), places)


@rule("div.Tensor", "div.Scalar")
def quotient(_call: Call, a: Arguments, places: int) -> Number:
    """a / b."""
    return product(torch.mul, number(a["input"]), reciprocal(number(a["other"]), places), 1, places)


def described(call: Call, a: Arguments, _places: int) -> Number:
    """An elementwise function by its enclosure at float64 bounds of its argument."""
    x = number(a["input"])
    constants = {k: Constant(_float64(v)) if isinstance(v, Number) else v for k, v in a.items() if k != "input"}
    scalar = described_scalar(Call(call.target, {"input": None, **constants}, call.origin), [tuple(x.shape)])
    lower, upper = (end.reshape(-1) for end in ends(x))
    low, high = scalar.range(lower, upper)
    return between(low.reshape(x.shape), high.reshape(x.shape))


def _float64(x: Number) -> Tensor:
    """The tensor, where it is one of float64 numbers."""
    low, high = ends(x)
    middle = low / 2 + high / 2
    if x.error is not None or bool((sign(add(x, exact(middle), 10**9, -1.0)) != 0).any()):
        raise Unable("a parameter that is no float64 number")
    return middle


def evaluate(call: Call, a: Arguments, places: int) -> Any:
    """One operator's result; plain tensors of integers stay plain."""
    name = call.name.removeprefix("aten.")
    if not numbers_of(a) and name not in ("_to_copy.default", "to.dtype"):
        return call_plain(call, a)
    if name in RULES:
        return RULES[name](call, a, places)
    if name in DESCRIBED:
        return described(call, a, places)
    raise Unable(f"operator {call.name} at '{call.origin.name}'")


def call_plain(call: Call, a: Arguments) -> Any:
    """An operator on integers, or one that makes numbers out of none."""
    value = called(call, a)
    rounded = [t for t in (value if isinstance(value, list | tuple) else [value]) if isinstance(t, Tensor)]
    if any(isinstance(v, Tensor) for v in a.values()) and any(t.is_floating_point() for t in rounded):
        raise Unable(f"operator {call.name} on integers")
    return exact(value) if isinstance(value, Tensor) and value.is_floating_point() else value
