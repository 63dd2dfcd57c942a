"""Calls without a dependent argument: computed once, with a bound on the rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from app.lipschitz.network import constants
from app.lipschitz.network.call import Call, is_value
from app.lipschitz.network.constants import exact, radius
from app.lipschitz.network.rules.movement import IDENTITIES, MOVEMENTS
from app.lipschitz.network.values import Constant

MOVING = frozenset((*MOVEMENTS, *IDENTITIES))


def fold(call: Call) -> Any:
    """The call's constant result; a tuple for an operator with several outputs."""
    name = call.name.removeprefix("aten.")
    if name in MOVING:
        return _moved(call)
    if name in ARITHMETIC and any(constant.value.is_floating_point() for constant in call.constants()):
        return ARITHMETIC[name](call)
    return _wrapped(call.run(), lambda value: constants.unknown(value, *call.constants()))


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

    return replace(call, arguments=pytree.tree_map(spread, dict(call.arguments), is_leaf=is_value))


def _wrapped(result: Any, wrap: Callable[[Tensor], Constant]) -> Any:
    if isinstance(result, Tensor):
        return wrap(result)
    if isinstance(result, list | tuple):
        return tuple(wrap(item) if isinstance(item, Tensor) else item for item in result)
    return result


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
    return constants.power(_operand(call, "input"), float(call.arguments["exponent"]))


ARITHMETIC: dict[str, Callable[[Call], Constant]] = {
    "add.Tensor": _sum(1.0),
    "add.Scalar": _sum(1.0),
    "sub.Tensor": _sum(-1.0),
    "sub.Scalar": _sum(-1.0),
    "mul.Tensor": _binary(constants.multiply),
    "mul.Scalar": _binary(constants.multiply),
    "div.Tensor": _binary(constants.divide),
    "div.Scalar": _binary(constants.divide),
    "mm.default": _binary(constants.matrix_product),
    "bmm.default": _binary(constants.matrix_product),
    "mv.default": _binary(constants.matrix_product),
    "neg.default": _unary(constants.negate),
    "abs.default": _unary(constants.magnitude),
    "sqrt.default": _unary(constants.square_root),
    "rsqrt.default": _unary(lambda a: constants.reciprocal(constants.square_root(a))),
    "reciprocal.default": _unary(constants.reciprocal),
    "pow.Tensor_Scalar": _power,
    "sum.dim_IntList": _total,
    "sum.default": _total,
}
"""Operations with an error formula. A real number among the arguments counts as exact."""
