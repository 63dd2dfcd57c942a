"""What the library offers, as data: methods with their options, and graph operators with their rules.

Importable without torch, because the API process answers `/v1/methods` and checks requests against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["upper", "lower", "estimate"]
Guarantee = Literal["certified", "witnessed", "estimate"]


@dataclass(frozen=True)
class OptionInfo:
    """One option of a method: JSON type, default, inclusive limits or allowed values, meaning."""

    type: Literal["integer", "number", "string", "boolean"]
    default: int | float | str | bool
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodInfo:
    """One method of the contract: what it bounds, what its number is worth, and where it applies."""

    name: str
    kind: Kind
    guarantee: Guarantee
    description: str
    source: str
    norms: tuple[str, ...] = ("1", "2", "inf")
    domains: tuple[str, ...] = ("all",)
    options: dict[str, OptionInfo] = field(default_factory=dict)
    needs: str = ""


METHODS: tuple[MethodInfo, ...] = (
    MethodInfo(
        "frobenius",
        "upper",
        "certified",
        "AutoLip's walk with the Frobenius norm of every affine block in place of its operator norm.",
        "Virmaux & Scaman, NeurIPS 2018, section 6 (baseline)",
        norms=("2",),
    ),
    MethodInfo(
        "autolip",
        "upper",
        "certified",
        "Product and sum of certified operator norms along the graph, affine regions fused.",
        "Virmaux & Scaman, NeurIPS 2018, Algorithm 1",
    ),
    MethodInfo(
        "autolip_power",
        "estimate",
        "estimate",
        "AutoLip with the paper's power method: under-estimates each norm, so it is no bound.",
        "Virmaux & Scaman, NeurIPS 2018, Algorithm 2",
        norms=("2",),
        options={
            "iterations": OptionInfo("integer", 100, "power iterations per affine block", 1, 10_000),
        },
    ),
    MethodInfo(
        "gradient",
        "lower",
        "witnessed",
        "Gradient ascent on the Jacobian's norm; the witness is a pair of points anyone can re-evaluate.",
        "Virmaux & Scaman, NeurIPS 2018, section 6; pairs as witnesses",
        options={
            "restarts": OptionInfo("integer", 8, "starting points, ascended in one batch", 1, 4096),
            "steps": OptionInfo("integer", 20, "ascent steps at most (the time budget may end them)", 1, 100_000),
            "scale": OptionInfo("number", 1.0, "standard deviation of the starting points", 1e-6, 1e6),
        },
    ),
)

AUTO: tuple[str, ...] = ("autolip", "gradient")
"""What `methods: "auto"` runs, cheapest first."""


def method_named(name: str) -> MethodInfo | None:
    """The method of that name, or None."""
    return next((method for method in METHODS if method.name == name), None)
