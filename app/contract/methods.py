"""The catalog of methods: what each bounds, what its number is worth, where it applies, what it may be told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import JsonValue, ValidationError

from .options import (
    AnnealingOptions,
    AutolipPowerOptions,
    DatasetOptions,
    ExactOptions,
    GradientOptions,
    GreedySeqlipOptions,
    GridOptions,
    JacobianOptions,
    LipsdpOptions,
    NoOptions,
    OptionInfo,
    Options,
    SeqlipOptions,
)

Kind = Literal["upper", "lower", "estimate"]
Guarantee = Literal["certified", "witnessed", "estimate"]


@dataclass(frozen=True)
class MethodInfo:
    """One method of the contract; `settings` is the type of its options."""

    name: str
    kind: Kind
    guarantee: Guarantee
    description: str
    source: str
    norms: tuple[str, ...] = ("1", "2", "inf")
    domains: tuple[str, ...] = ("all", "box", "ball")
    settings: type[Options] = NoOptions
    needs: str = ""

    @cached_property
    def options(self) -> dict[str, OptionInfo]:
        """Its options by name."""
        return {name: OptionInfo.of(field) for name, field in self.settings.model_fields.items()}

    def checked(self, given: dict[str, JsonValue]) -> Options:
        """These options with the defaults of the others; ValueError for one that is unknown or out of range."""
        try:
            return self.settings.model_validate(given, strict=True)
        except ValidationError as error:
            name = str(error.errors(include_url=False)[0]["loc"][0])
            raise ValueError(self._complaint(name, given[name])) from error

    def _complaint(self, name: str, value: JsonValue) -> str:
        option = self.options.get(name)
        if option is None:
            return f"{self.name} has no option {name!r}: its options are {', '.join(sorted(self.options)) or 'none'}"
        if option.choices:
            return f"{self.name}.{name} must be one of {', '.join(option.choices)}, not {value!r}"
        if isinstance(value, bool) or not isinstance(value, int if option.type == "integer" else int | float):
            return f"{self.name}.{name} must be of type {option.type}, not {value!r}"
        return f"{self.name}.{name} = {value!r} is outside [{option.minimum}, {option.maximum}]"


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
        settings=AutolipPowerOptions,
    ),
    MethodInfo(
        "greedy_seqlip",
        "estimate",
        "estimate",
        "SeqLip with greedy flips in place of each pair's maximum: under-estimates it, so it is no bound.",
        "Virmaux & Scaman, NeurIPS 2018, section 5 (Greedy SeqLip)",
        norms=("2",),
        settings=GreedySeqlipOptions,
        needs="consecutive affine layers with an elementwise activation between",
    ),
    MethodInfo(
        "seqlip",
        "upper",
        "certified",
        "AutoLip with every pair of consecutive layers bounded together over all slopes of the activation between.",
        "Virmaux & Scaman, NeurIPS 2018, section 5; pairs certified by enumeration, branch and bound, or LipSDP",
        norms=("2",),
        settings=SeqlipOptions,
        needs="consecutive affine layers with an elementwise activation between; the rest by AutoLip's rule",
    ),
    MethodInfo(
        "lipsdp",
        "upper",
        "certified",
        "Semidefinite bound over all slopes of all activations at once, proved by a Cholesky factorisation.",
        "Fazlyab et al., NeurIPS 2019; validity of the forms: Pauli et al. 2022",
        settings=LipsdpOptions,
        needs="affine layers and elementwise activations; other nodes split the network",
    ),
    MethodInfo(
        "exact",
        "upper",
        "certified",
        "Branch and bound on activation phases of a piecewise linear network; gives a lower bound with a witness too.",
        "Jordan & Dimakis, NeurIPS 2020; Bhowmick et al., LipBaB, ICANN 2021; Lipserve",
        settings=ExactOptions,
        needs="piecewise linear activations; small networks",
    ),
    MethodInfo(
        "jacobian",
        "upper",
        "certified",
        "Norm of an enclosure of the Jacobian, entry by entry; gives the sensitivities of outputs to inputs too.",
        "Zhang et al., RecurJac, AAAI 2019; Shi et al., NeurIPS 2022; Lipserve",
        settings=JacobianOptions,
    ),
    MethodInfo(
        "dataset",
        "lower",
        "witnessed",
        "Largest Jacobian norm at the points of a data set; the witness is a pair near the best one.",
        "Virmaux & Scaman, NeurIPS 2018, section 6",
        settings=DatasetOptions,
        needs="`dataset` in the request",
    ),
    MethodInfo(
        "annealing",
        "lower",
        "witnessed",
        "Simulated annealing on the Jacobian's norm, many chains in one batch.",
        "Virmaux & Scaman, NeurIPS 2018, section 6",
        settings=AnnealingOptions,
    ),
    MethodInfo(
        "grid",
        "lower",
        "witnessed",
        "Jacobian norms on a regular grid, for inputs of few dimensions.",
        "Virmaux & Scaman, NeurIPS 2018, section 6",
        settings=GridOptions,
        needs="at most 8 input dimensions",
    ),
    MethodInfo(
        "gradient",
        "lower",
        "witnessed",
        "Gradient ascent on the Jacobian's norm; the witness is a pair of points anyone can re-evaluate.",
        "Virmaux & Scaman, NeurIPS 2018, section 6; pairs as witnesses",
        settings=GradientOptions,
    ),
)

AUTO: tuple[str, ...] = ("autolip", "gradient", "jacobian", "lipsdp", "seqlip", "exact")
"""What `methods: "auto"` runs as far as it is worth while, cheapest first."""


def method_named(name: str) -> MethodInfo | None:
    """The method of that name, or None."""
    return next((method for method in METHODS if method.name == name), None)
