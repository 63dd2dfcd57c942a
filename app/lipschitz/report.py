"""The result as the HTTP contract states it: no infinity, no NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from .. import __version__
from ..contract.graph import TensorView
from ..contract.methods import Guarantee
from ..contract.result import AnalysedModel, BatchView, Bound, Details, EngineView, EstimateView, ResultView
from .artifact.captured import Captured, TensorSpec
from .bracket import attained_by, bracket, info_of, value_of
from .gate import of_derivatives, verdict
from .jacobian.sensitivities import Sensitivities
from .layers import finite, layer_table
from .network.nodes import Affine, Network
from .problem import Estimate, Problem
from .request import Request
from .robustness.certificates import Certificates
from .robustness.record import records as sample_records
from .robustness.record import summary as radii_summary
from .rounding import offset_view, remarks


def plain(value: Any) -> Any:
    """The same lists and mappings with None for every number that JSON cannot carry."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return finite(value) if isinstance(value, float) else value


def without_bound(network: Network) -> str:
    """Why an upper bound can be infinite."""
    for node in network.nodes:
        for term in node.terms if isinstance(node, Affine) else ():
            if not math.isfinite(term.operator.error):
                names = ", ".join(origin.name for origin in node.origins)
                return f"at {names} a stored constant comes from an operator whose rounding has no known bound"
    return "the bound exceeds the range of float64"


def estimate_record(estimate: Estimate, seconds: float, network: Network) -> EstimateView:
    """One entry of `estimates`."""
    method = info_of(estimate.method)
    value, reason = finite(estimate.value), estimate.reason
    if estimate.status == "ok" and value is None:
        reason = without_bound(network)
    return EstimateView(
        method=method.name,
        kind=method.kind,
        guarantee=method.guarantee,
        status=estimate.status,
        reason=reason,
        value=value,
        seconds=round(seconds, 6),
        details=Details.model_validate(plain(estimate.details)),
        layers=plain(estimate.layers),
    )


def result_record(
    request: Request,
    problem: Problem,
    estimates: list[Estimate],
    *,
    records: list[EstimateView],
    radii: Certificates,
    sensitivities: Sensitivities | None = None,
) -> ResultView:
    """The contract's `result`."""
    derivatives = of_derivatives(request.gate, sensitivities)
    violations = [violation for _, violation in derivatives if violation is not None]
    upper, lower = bracket(estimates)
    closed = upper is not None and lower is not None and attained_by(lower) > 0
    batch = problem.captured.batch
    return ResultView(
        norm=request.norms,
        domain=request.domain,
        target=request.target,
        upper=_end(upper, upper.value, "certified") if upper else None,
        lower=_end(lower, attained_by(lower), "witnessed") if lower else None,
        ratio=finite(value_of(upper) / attained_by(lower)) if closed and upper and lower else None,
        verdict=verdict(request.gate, upper, lower, radii, [one for one, _ in derivatives]),
        estimates=records,
        layers=layer_table(problem),
        certificates=sample_records(radii),
        radii=radii_summary(radii, problem, None if request.gate is None else request.gate.radius),
        model=model_record(problem.captured),
        offset=offset_view(problem, request),
        output=problem.output,
        input_scale=None if problem.units is None else problem.units.input,
        output_scale=None if problem.units is None else problem.units.output,
        sensitivities=None if sensitivities is None else sensitivities.record(violations),
        batch=None if batch is None else BatchView(rows=batch.rows, of=batch.of, reason=batch.reason),
        engine=EngineView(
            version=__version__, device=str(torch.get_default_device()), dtype="float64", torch=torch.__version__
        ),
        warnings=[
            *remarks(request),
            *problem.captured.warnings,
            *radii.warnings,
            *_cut_witnesses(estimates),
            *_unbounded(upper, records),
            *_time_warnings(estimates),
        ],
    )


def _time_warnings(estimates: Sequence[Estimate]) -> list[str]:
    """Where time was over before AutoLip's norms were proved."""
    left = max((estimate.details.get("norms_left_quick", 0) for estimate in estimates), default=0)
    if not left:
        return []
    return [
        f"{left} norms in AutoLip's walk are quick bounds (Hoelder, Frobenius), since the time budget was over before "
        "they were proved any better: certified, but loose; a larger budget_s tightens them"
    ]


def _unbounded(upper: Estimate | None, records: Sequence[EstimateView]) -> list[str]:
    """Where there is no upper bound, what each upper method said of it."""
    if upper is not None:
        return []
    return [f"no upper bound: {r.method}: {r.reason}" for r in records if r.kind == "upper"]


def _cut_witnesses(estimates: list[Estimate]) -> list[str]:
    """What was said of witnesses that were cut."""
    return [f"{e.method}: {e.reason}" for e in estimates if e.status == "ok" and e.witness is not None and e.reason]


def _end(estimate: Estimate, value: float | None, guarantee: Guarantee) -> Bound:
    return Bound(value=value, method=estimate.method, guarantee=guarantee)


def model_record(captured: Captured) -> AnalysedModel:
    """What was analysed: the captured inputs and outputs, with the shapes that were used."""
    return AnalysedModel(
        format=captured.inspection.format,
        inputs=list(map(_spec, captured.inputs)),
        outputs=list(map(_spec, captured.outputs)),
        parameters=captured.inspection.parameters,
        operators=captured.inspection.operators,
    )


def _spec(spec: TensorSpec) -> TensorView:
    return TensorView(name=spec.name, datatype=spec.datatype, shape=list(spec.shape))
