"""Functions that exporters write out, in forms that stay finite far away: softplus, sigmoid, softsign, SiLU,
hyperbolas.
"""

from __future__ import annotations

from collections.abc import Callable

from .expression import Apply, Number, Product, Step, Sum
from .scalars import powers, sigmoids, swishes


def scaled(step: Step, factor: float) -> Step:
    """factor * step."""
    return step if factor == 1.0 else Product(Number(factor), step)


def times(left: Step, right: Step) -> Step:
    """left * right; g / (1 + |g|) and g sigmoid(g) have names of their own."""
    if any(gate == Apply("sigmoid", (), g, SIGMOID) for g, gate in ((left, right), (right, left))):
        return Apply("silu", (), right if isinstance(left, Apply) and left.argument == right else left, SILU)
    if isinstance(right, Apply) and right.name == "reciprocal" and right.argument == Sum(Number(1.0), _modulus(left)):
        return Apply("softsign", (), left, SOFTSIGN)
    return Product(left, right)


def _modulus(step: Step) -> Step:
    return Apply("abs", (), step, SOFTSIGN)


SOFTPLUS, SIGMOID, SOFTSIGN, POLE = sigmoids.softplus(), sigmoids.sigmoid(), sigmoids.softsign(), powers.reciprocal()
SILU = swishes.silu()


def canonical(step: Apply) -> Step:
    """log(1 + exp g), 1/(1 + exp g) and sqrt(g^2 + c) as functions of g that stay finite far away."""
    inner = step.argument
    if step.name == "pow":
        return _power(step)
    if step.name == "softplus" and step.literals and float(str(step.literals[0])) != 1.0:
        return Apply("softplus with beta", step.literals, inner, step.scalar)
    if step.name == "log" and (grown := _one_plus_exp(inner)) is not None:
        return Apply("softplus", (), grown, SOFTPLUS)
    if step.name == "log1p" and isinstance(inner, Apply) and inner.name == "exp":
        return Apply("softplus", (), inner.argument, SOFTPLUS)
    if step.name == "reciprocal":
        return inverted(inner)
    if step.name == "sqrt":
        return _root(step)
    return step


def _power(step: Apply) -> Step:
    forms: dict[str, Callable[[Step], Step]] = {
        "-1.0": inverted,
        "-1": inverted,
        "2": lambda g: Product(g, g),
        "2.0": lambda g: Product(g, g),
        "3": lambda g: Product(g, Product(g, g)),
        "3.0": lambda g: Product(g, Product(g, g)),
        "0.5": lambda g: _root(Apply("sqrt", (), g, step.scalar)),
    }
    form = forms.get(str(step.literals[0]))
    return step if form is None else form(step.argument)


def inverted(step: Step) -> Step:
    """1 / step."""
    grown = _one_plus_exp(step)
    if grown is not None:
        return Apply("sigmoid", (), scaled(grown, -1.0), SIGMOID)
    return Apply("reciprocal", (), _sorted(step), POLE)


def _root(step: Apply) -> Step:
    inner = _sorted(step.argument)
    if isinstance(inner, Sum) and isinstance(inner.left, Number) and isinstance(inner.right, Product):
        left, right, low = inner.right.left, inner.right.right, inner.left
        if left == right and low.center > low.radius:
            return Apply("hypot", (low.center,), left, sigmoids.hyperbola(low.center)) if not low.radius else step
    return step


def _one_plus_exp(step: Step) -> Step | None:
    inner = _sorted(step)
    if isinstance(inner, Sum) and inner.left == Number(1.0) and isinstance(inner.right, Apply):
        return inner.right.argument if inner.right.name == "exp" else None
    return None


def _sorted(step: Step) -> Step:
    """A sum with its constant first."""
    return Sum(step.right, step.left) if isinstance(step, Sum) and isinstance(step.right, Number) else step
