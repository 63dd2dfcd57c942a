"""Regions of the captured graph that are one function of one tensor, entry by entry.

Exporters write GELU, SiLU, Mish, hard-swish, leaky ReLU, ... as several elementwise operations. From an operation
with two dependent operands, or one that is steep without bound, the search goes back through elementwise
operations until all paths meet in one tensor, the root. The region becomes one activation on the root when its
expression has a certified finite slope; otherwise the ordinary rules apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from ..errors import LipschitzError
from ..operators.reshape import Reshape
from . import constants
from .branching import Choice, Extremum
from .builder import Builder
from .call import Call, name_of, origin_of
from .canonical import canonical, inverted, scaled, times
from .expression import Apply, Number, Product, Step, Sum, Variable
from .fused import Fused, slope_of
from .nodes import Input
from .rules.elementwise import DESCRIBED, on_flat
from .rules.movement import IDENTITIES
from .scalar import Scalar, Slope
from .values import Constant, Linear

Values = Mapping[fx.Node, Any]

MOST_OPERATIONS = 24
"""Operations of a region; activations have at most a dozen."""
MOST_ROOTS = 4
"""Roots that are tried, nearest first."""

STEEP = frozenset({"sqrt.default", "log.default", "log1p.default", "rsqrt.default", "reciprocal.default",
                   "pow.Tensor_Scalar", "exp.default"})  # fmt: skip
COMPARISONS = {"gt": 1.0, "ge": 1.0, "lt": -1.0, "le": -1.0}
PASSING = frozenset((*IDENTITIES, "_to_copy.default", "to.dtype"))


def fused(builder: Builder, node: fx.Node, values: Values) -> Linear | None:
    """The node's value as one activation, when it ends a region with a certified slope."""
    dependent = _dependent(node, values)
    if not (len(dependent) > 1 or (dependent and _opens(node, dependent[0]))):
        return None
    for root in _roots(node, values):
        region = _expression(node, root, values)
        if region is None or not _bends(region):
            continue
        slope = slope_of(region)
        if slope is not None:
            return builder.activation(values[root], _scalar(region, slope), origin_of(node))
    return None


def _scalar(region: Step, slope: Slope) -> Scalar:
    """The function of its own that the region is, or one that is enclosed by its expression."""
    if isinstance(region, Apply) and region.argument == Variable():
        return region.scalar
    return Fused(region.value, expression=region, whole=slope)


def _opens(node: fx.Node, dependent: fx.Node) -> bool:
    """Whether a region may end here although only one operand depends on the input."""
    name = name_of(node)
    return name in STEEP or (name.startswith("div.Tensor") and node.args[1] is dependent)


def _dependent(node: fx.Node, values: Values) -> list[fx.Node]:
    """The distinct operands that depend on the input; a refused comparison counts."""
    return [x for x in node.all_input_nodes if isinstance(values.get(x), Linear | LipschitzError)]


def _roots(node: fx.Node, values: Values) -> list[fx.Node]:
    """Single nodes that all paths from `node` backwards pass through, nearest first."""
    order = {known: position for position, known in enumerate(values)}
    frontier, roots = set(_dependent(node, values)), []
    for _ in range(MOST_OPERATIONS):
        if len(frontier) == 1 and isinstance(values[next(iter(frontier))], Linear):
            roots.append(next(iter(frontier)))
        latest = max(frontier, key=order.__getitem__)
        if len(roots) == MOST_ROOTS or latest.op != "call_function" or not _elementwise(latest):
            break
        frontier = frontier - {latest} | set(_dependent(latest, values))
        if not frontier:
            break
    return roots


def _elementwise(node: fx.Node) -> bool:
    name = name_of(node)
    return name in DESCRIBED or name in PASSING or name.partition(".")[0] in (*BUILD, *COMPARISONS)


def _expression(node: fx.Node, root: fx.Node, values: Values) -> Step | None:
    """The node as an expression in the root, with shapes all alike; None where some step has no form."""
    shape = values[root].shape
    built: dict[fx.Node, Step | None] = {root: Variable()}

    def step(operand: Any) -> Step | None:
        if not isinstance(operand, fx.Node):
            return Number(float(operand)) if isinstance(operand, int | float) else None
        if operand not in built:
            value = values.get(operand)
            built[operand] = _number(value, shape) if isinstance(value, Constant) else _step(operand, step, values)
        return built[operand]

    result = _step(node, step, values)
    return result if result is not None and _size(result) <= 4 * MOST_OPERATIONS else None


def _size(step: Step) -> int:
    return 1 + sum(_size(operand) for operand in step.operands)


def _bends(step: Step) -> bool:
    """Whether the expression is more than affine."""
    if isinstance(step, Apply | Extremum | Choice):
        return True
    multiplies = isinstance(step, Product) and not any(isinstance(factor, Number) for factor in step.operands)
    return multiplies or any(map(_bends, step.operands))


def _number(constant: Constant, shape: tuple[int, ...]) -> Number | None:
    """A constant whose entries are all one number and that does not enlarge the root's shape."""
    entries = constant.value.reshape(-1).to(torch.float64)
    fits = len(constant.shape) <= len(shape) and torch.broadcast_shapes(constant.shape, shape) == torch.Size(shape)
    if not len(entries) or not fits or not bool((entries == entries[0]).all()):
        return None
    spread = float(constants.radius(constant).max()) if constant.value.is_floating_point() else 0.0
    return Number(float(entries[0]), spread) if math.isfinite(spread) else None


Operand = Callable[[Any], Step | None]


def _step(node: fx.Node, operand: Operand, values: Values) -> Step | None:
    name = name_of(node)
    if name in PASSING:
        return operand(node.args[0])
    if name in DESCRIBED:
        inner = operand(node.args[0])
        return None if inner is None else _applied(node, inner, values)
    build = BUILD.get(name.partition(".")[0])
    return None if build is None or "mode" in name else build(node, operand)


def _pair(node: fx.Node, operand: Operand) -> tuple[Step, Step] | None:
    left, right = operand(node.args[0]), operand(node.args[1])
    return None if left is None or right is None else (left, right)


def _sum(first: float, second: float, alpha_on_first: bool = False) -> Callable[[fx.Node, Operand], Step | None]:
    def build(node: fx.Node, operand: Operand) -> Step | None:
        pair = _pair(node, operand)
        alpha = node.kwargs.get("alpha", node.args[2] if len(node.args) > 2 else 1)
        if pair is None or not isinstance(alpha, int | float):
            return None
        factors = (first * alpha, second) if alpha_on_first else (first, second * alpha)
        return Sum(scaled(pair[0], factors[0]), scaled(pair[1], factors[1]))

    return build


def _product(node: fx.Node, operand: Operand) -> Step | None:
    pair = _pair(node, operand)
    return None if pair is None else times(*pair)


def _quotient(node: fx.Node, operand: Operand) -> Step | None:
    pair = _pair(node, operand)
    if pair is None:
        return None
    left, right = pair
    if isinstance(right, Number):
        inverse = constants.reciprocal(
            Constant(torch.tensor(right.center, dtype=torch.float64), torch.tensor(right.radius, dtype=torch.float64))
        )
        number = _number(inverse, ())
        return None if number is None or right.center == 0 else Product(left, number)
    below = inverted(right)
    return below if left == Number(1.0) else times(left, below)


def _extremum(sign: float) -> Callable[[fx.Node, Operand], Step | None]:
    def build(node: fx.Node, operand: Operand) -> Step | None:
        pair = _pair(node, operand)
        return None if pair is None else Extremum(sign, *pair)

    return build


def _choice(node: fx.Node, operand: Operand) -> Step | None:
    condition, yes, no = node.args[0], operand(node.args[1]), operand(node.args[2])
    if not isinstance(condition, fx.Node) or yes is None or no is None:
        return None
    sign = COMPARISONS.get(name_of(condition).partition(".")[0])
    pair = None if sign is None else _pair(condition, operand)
    return None if pair is None or sign is None else Choice(Sum(scaled(pair[0], sign), scaled(pair[1], -sign)), yes, no)


BUILD: dict[str, Callable[[fx.Node, Operand], Step | None]] = {
    "add": _sum(1.0, 1.0),
    "sub": _sum(1.0, -1.0),
    "rsub": _sum(-1.0, 1.0, alpha_on_first=True),
    "mul": _product,
    "div": _quotient,
    "neg": lambda node, operand: None if (inner := operand(node.args[0])) is None else scaled(inner, -1.0),
    "maximum": _extremum(1.0),
    "minimum": _extremum(-1.0),
    "where": _choice,
}


def _applied(node: fx.Node, inner: Step, values: Values) -> Step | None:
    """An elementwise operator on the expression, in the form that keeps its tails in sight."""
    place = Linear(Input((1,), ()), Reshape((1,), ()))
    arguments = []
    for argument in node.args[1:]:
        value = values[argument] if isinstance(argument, fx.Node) else argument
        number = _number(value, ()) if isinstance(value, Constant) and value.value.numel() == 1 else None
        if isinstance(argument, fx.Node) and (number is None or number.radius):
            return None
        arguments.append(value if number is None else float(number.center))
    if node.kwargs and any(isinstance(value, fx.Node) for value in node.kwargs.values()):
        return None
    assert isinstance(node.target, OpOverload)
    call = Call.bind(node.target, (place, *arguments), dict(node.kwargs), origin_of(node))
    literals = (*map(str, arguments), *map(str, node.kwargs.items()))
    name = name_of(node).partition(".")[0]
    scalar = DESCRIBED[name_of(node)](call, place, _on_vectors(on_flat(call, place)))
    return canonical(Apply(name, literals, inner, scalar))


def _on_vectors(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: function(x.reshape(-1)).reshape(x.shape)
