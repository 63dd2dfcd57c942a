"""Calls without a dependent argument: computed once, with a bound on the rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from ..artifact.captured import Origin
from ..operators.folding import pattern
from ..operators.rounding import TINY
from . import constants
from .call import Call, is_value
from .constants import exact, radius
from .ends import around
from .rules.elementwise import DESCRIBED, described
from .rules.movement import CHOICES, IDENTITIES, MOVEMENTS, without_numbers
from .values import Constant

aten = torch.ops.aten

SPATIAL = {f"aten.avg_pool{dims}d.default": dims for dims in (1, 2, 3)}
MOVING = frozenset((*MOVEMENTS, *IDENTITIES, *CHOICES))
CASTS = frozenset(("_to_copy.default", "to.dtype"))
LARGEST_WHOLE = 2**53
"""Whole numbers up to here are float64 numbers."""
FILLING = frozenset(
    f"{name}.default"
    for name in (
        *("ones", "zeros", "full", "ones_like", "zeros_like", "full_like", "new_ones", "new_zeros", "new_full"),
        *("eye", "scalar_tensor"),
    )
)
"""Operators that fill a tensor with a number from the call."""


def fold(call: Call) -> Any:
    """The call's constant result; a tuple for an operator with several outputs."""
    name = call.name.removeprefix("aten.")
    if name in MOVING:
        return _moved(call)
    if any(constant.value.is_floating_point() for constant in call.constants()):
        if name in ARITHMETIC:
            return ARITHMETIC[name](call)
        if name in DESCRIBED and isinstance(call.arguments["input"], Constant):
            return enclosed(call)
    if name in CASTS:
        return _cast(call)
    if name in FILLING:
        return _wrapped(call.run(), exact)
    return _wrapped(call.run(), lambda value: constants.unknown(value, *call.constants()))


def _cast(call: Call) -> Constant:
    """Between real numbers the identity; of integers exact below 2^53; to integers exact where the number is."""
    operand, value = _operand(call, "input"), call.run()
    if operand.value.is_floating_point() and value.is_floating_point():
        return replace(operand, value=value)
    is_known = operand.radius is None and bool((operand.value.abs() <= LARGEST_WHOLE).all())
    return Constant(value, None, operand.parameters) if is_known else constants.unknown(value, operand)


def _moved(call: Call) -> Any:
    """Data movement adds no rounding: the same call moves the radius."""
    total = sum(constant.parameters for constant in call.constants())
    result = call.run()
    if all(constant.radius is None for constant in call.constants()):
        return _wrapped(result, lambda value: Constant(value, None, total))
    spreads = iter(pytree.tree_leaves(_on_radii(call).run()))
    return _wrapped(result, lambda value: Constant(value, next(spreads).abs(), total))


def _on_radii(call: Call) -> Call:
    def spread(leaf: Any) -> Any:
        floating = isinstance(leaf, Constant) and leaf.value.is_floating_point()
        return Constant(radius(leaf)) if floating else leaf

    arguments = pytree.tree_map(spread, dict(call.arguments), is_leaf=is_value)
    return replace(call, arguments=arguments | without_numbers(call))


def _wrapped(result: Any, wrap: Callable[[Tensor], Constant]) -> Any:
    if isinstance(result, Tensor):
        return wrap(result)
    if isinstance(result, list | tuple):
        return tuple(wrap(item) if isinstance(item, Tensor) else item for item in result)
    return result


def enclosed(call: Call) -> Constant:
    """A scalar function of a constant, its radius from the function's enclosure over all that the constant may be."""
    value, scalar = torch.as_tensor(call.run()), described(call, [constant.shape for constant in call.constants()])
    operand = call.arguments["input"]
    spread = None if operand.radius is None else operand.radius.expand(value.shape).reshape(-1)
    low, high = scalar.range(*around(operand.value.expand(value.shape).reshape(-1).to(torch.float64), spread))
    away = torch.maximum(high - value.reshape(-1), value.reshape(-1) - low).nan_to_num(nan=torch.inf, posinf=torch.inf)
    away = torch.nextafter(away.clamp(min=0.0), torch.full_like(away, torch.inf))
    exact_ones = low == high
    radius = torch.where(exact_ones & (away <= TINY), 0.0, away).reshape(value.shape)
    return Constant(value, radius if bool(radius.any()) else None, sum(one.parameters for one in call.constants()))


def _operand(call: Call, key: str) -> Constant:
    given = call.arguments[key]
    return given if isinstance(given, Constant) else exact(float(given))


def _unary(function: Callable[[Constant], Constant]) -> Callable[[Call], Constant]:
    return lambda call: function(_operand(call, "input"))


def _binary(function: Callable[[Constant, Constant], Constant]) -> Callable[[Call], Constant]:
    return lambda call: function(*(_operand(call, key) for key in list(call.arguments)[:2]))


def _sum(sign: float) -> Callable[[Call], Constant]:
    return lambda call: constants.add(
        _operand(call, "input"), _operand(call, "other"), sign * float(call.arguments["alpha"])
    )


def _total(call: Call) -> Constant:
    return constants.total(_operand(call, "input"), call.arguments.get("dim"), call.arguments.get("keepdim", False))


def _power(call: Call) -> Constant:
    operand, exponent = _operand(call, "input"), float(call.arguments["exponent"])
    return constants.power(operand, exponent) if exponent in constants.POWERS else enclosed(call)


def _apply(target: OpOverload, operand: Constant, **arguments: Any) -> Any:
    return fold(Call.bind(target, (operand,), arguments, Origin("", "")))


def _mean(call: Call) -> Constant:
    summed = _total(call)
    count = call.arguments["input"].value.numel() / max(summed.value.numel(), 1)
    return constants.divide(summed, exact(count))


def _largest(call: Call) -> Constant:
    """The extreme entry moves no further than the one that moves the furthest."""
    operand, value = _operand(call, "input"), call.run()
    if operand.radius is None:
        return Constant(value, None, operand.parameters)
    dims, keep = call.arguments.get("dim") or list(range(operand.value.ndim)), call.arguments.get("keepdim", False)
    spread = operand.radius.amax(dims, keepdim=keep) if operand.value.ndim else operand.radius
    return Constant(value, spread, operand.parameters)


def _larger(call: Call) -> Constant:
    a, b = _operand(call, "input"), _operand(call, "other")
    value = call.run()
    spread = None if a.radius is None and b.radius is None else torch.maximum(radius(a), radius(b)).expand(value.shape)
    return Constant(value, spread, a.parameters + b.parameters)


def _shifted_exponentials(operand: Constant, dims: list[int]) -> tuple[Constant, Constant, Constant]:
    """exp(x - m), its sum over `dims`, and m, which is near the largest entry: no sum overflows."""
    m = exact(operand.value.amax(dims, keepdim=True))
    exponentials = _apply(aten.exp.default, constants.subtract(operand, m))
    return exponentials, constants.total(exponentials, dims, keepdim=True), m


def _softmax(call: Call) -> Constant:
    exponentials, summed, _ = _shifted_exponentials(_operand(call, "input"), [call.arguments["dim"]])
    return constants.divide(exponentials, summed)


def _log_softmax(call: Call) -> Constant:
    operand = _operand(call, "input")
    _, summed, m = _shifted_exponentials(operand, [call.arguments["dim"]])
    return constants.subtract(operand, constants.add(m, _apply(aten.log.default, summed)))


def _log_sum(call: Call) -> Constant:
    operand = _operand(call, "input")
    _, summed, m = _shifted_exponentials(operand, list(call.arguments["dim"]))
    logarithm = constants.add(m, _apply(aten.log.default, summed))
    shape = torch.as_tensor(call.run()).shape
    return logarithm.moved(lambda part: part.reshape(shape))


def _norm(call: Call) -> Constant:
    operand, order = _operand(call, "input"), float(call.arguments["ord"])
    dims, keep = call.arguments.get("dim"), call.arguments.get("keepdim", False)
    if order == 1.0:
        return constants.total(constants.magnitude(operand), dims, keep)
    if order == 2.0:
        return constants.square_root(constants.total(constants.multiply(operand, operand), dims, keep))
    return constants.unknown(call.run(), operand)


def _step(call: Call) -> Constant:
    operand = _operand(call, "input")
    value = call.run()
    return Constant(value, None, operand.parameters) if operand.radius is None else constants.unknown(value, operand)


def _running_total(call: Call) -> Constant:
    operand, dim = _operand(call, "input"), call.arguments["dim"]
    count = operand.value.shape[dim] if operand.value.ndim else 1
    spread = (radius(operand) + (count + 1) * constants.UNIT * operand.value.abs()).cumsum(dim)
    return Constant(call.run(), spread * constants.SLACK, operand.parameters)


def _average(call: Call) -> Constant:
    """A sum of as many entries as the window holds, divided once: it moves the radius as it moves the entries."""
    operand, kernel = _operand(call, "input"), call.arguments["kernel_size"]
    terms = math.prod(kernel) if len(kernel) > 1 else kernel[0] ** SPATIAL[call.name]
    moved = call.run(input=Constant(radius(operand) + (terms + 4) * constants.UNIT * operand.value.abs()))
    lost = 4.0 * terms * TINY * pattern(moved)
    return Constant(call.run(), constants.SLACK * (moved + lost), operand.parameters)


ARITHMETIC: dict[str, Callable[[Call], Constant]] = {
    **dict.fromkeys(("add.Tensor", "add.Scalar"), _sum(1.0)),
    **dict.fromkeys(("sub.Tensor", "sub.Scalar"), _sum(-1.0)),
    **dict.fromkeys(("mul.Tensor", "mul.Scalar"), _binary(constants.multiply)),
    **dict.fromkeys(("div.Tensor", "div.Scalar"), _binary(constants.divide)),
    **dict.fromkeys(
        (f"{name}.default" for name in ("mm", "bmm", "mv", "dot", "vdot")), _binary(constants.matrix_product)
    ),
    "neg.default": _unary(constants.negate),
    "abs.default": _unary(constants.magnitude),
    "sqrt.default": _unary(constants.square_root),
    "rsqrt.default": _unary(lambda a: constants.reciprocal(constants.square_root(a))),
    "reciprocal.default": _unary(constants.reciprocal),
    "pow.Tensor_Scalar": _power,
    "sum.dim_IntList": _total,
    "sum.default": _total,
    "mean.dim": _mean,
    "mean.default": _mean,
    **dict.fromkeys(("amax.default", "amin.default", "max.default", "min.default"), _largest),
    **dict.fromkeys(("maximum.default", "minimum.default"), _larger),
    **dict.fromkeys(("_softmax.default", "_safe_softmax.default"), _softmax),
    "_log_softmax.default": _log_softmax,
    "logsumexp.default": _log_sum,
    "linalg_vector_norm.default": _norm,
    **dict.fromkeys(("round.default", "floor.default", "ceil.default", "trunc.default", "sign.default"), _step),
    "cumsum.default": _running_total,
    **dict.fromkeys((name.removeprefix("aten.") for name in SPATIAL), _average),
}
"""Operations with an error formula. A real number among the arguments counts as exact."""
