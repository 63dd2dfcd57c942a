"""What a result tells of rounding that counts as noise: e, what it comes from, and what the bracket then is."""

from __future__ import annotations

from ..contract.rounding import OffsetView, RoundingStep
from .errors import MethodSkipped
from .layers import finite
from .problem import Problem
from .request import NOISE, Request
from .walk.offset import offset, rounding_steps

LEFT_OUT = {
    "exact": "the constant itself is that of one noise, and the noise is not known",
    "jacobian": "a model that rounds has no derivatives where it jumps",
}
"""Methods that have nothing to say, and why."""

MEANING = (
    "rounding counts as noise: the bracket is that of the model without its rounding, whose witnesses it has, and is "
    "no Lipschitz constant of the model itself, which obeys ||f(x) - f(y)|| <= upper ||x - y|| + offset"
)
NO_CERTIFICATE = "no certificate is written where rounding counts as noise"


def require_served(request: Request, method: str) -> None:
    """MethodSkipped for a method that does not bound a model with noise."""
    if request.rounding == NOISE and method in LEFT_OUT:
        raise MethodSkipped(f"{method} is not served with rounding: noise: {LEFT_OUT[method]}")


def offset_view(problem: Problem, request: Request) -> OffsetView | None:
    """The result's `offset`; None where it was not asked for. Raises the walk's refusals."""
    if request.rounding != NOISE:
        return None
    steps = [
        RoundingStep(name=node.origins[0].name, op=node.origins[0].op, step=scalar.width, entries=node.size)
        for node, scalar in rounding_steps(problem)
    ]
    return OffsetView(value=finite(offset(problem)), guarantee="certified", steps=steps)


def remarks(request: Request) -> list[str]:
    """The result's warnings about it."""
    return [MEANING, NO_CERTIFICATE] if request.rounding == NOISE else []
