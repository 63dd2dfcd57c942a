"""The library's front door: a captured graph and a request in, the contract's result out."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..contract.graph import GraphDigest
from ..contract.options import GradientOptions
from ..contract.result import EstimateView, ResultView
from .artifact import digest, from_bytes
from .artifact.captured import Captured
from .bracket import bracket, info_of, reconciled, value_of
from .certificate.export import certificate as certified
from .certificate.record import Certificate
from .dataset import Dataset
from .deadline import Deadline, OutOfTime
from .device import on_fastest
from .errors import BracketViolation, LipschitzError, MethodSkipped
from .failures import failure
from .formulation import make_problem
from .jacobian.names import Names
from .jacobian.sensitivities import Sensitivities, sensitivities
from .lower.gradient import deepen
from .methods import FOR_MARGINS, IMPLEMENTATIONS
from .mixed import through
from .network.inputs import with_input
from .portfolio import DEEP_ROUNDS, DEEP_SEARCH, allotted, reason_to_stop, to_come
from .problem import Estimate, Problem, Progress, Witness
from .report import estimate_record, result_record
from .request import JACOBIAN, NOISE, Request
from .robustness.certificates import Certificates, certificates
from .robustness.record import table
from .rounding import require_served

ATTAINED_SHARE = 0.1
"""The same for derivatives that points attain."""
RADII_SHARE = 0.5
"""Part of the time that the methods leave for the radii of a data set's rows."""


@dataclass(frozen=True)
class Answer:
    """A result, the pair of points that attains its lower end (npz), what proves its upper end, and the radii of all
    rows (npz).
    """

    result: ResultView
    witness: bytes | None
    certificate: Certificate | None
    radii: bytes | None = None


def analyze(
    artifact: bytes,
    fields: Mapping[str, Any],
    progress: Progress = lambda _: None,
    dataset: bytes | None = None,
    model_sha256: str = "",
) -> Answer:
    """Bracket the Lipschitz constant of a captured graph; no model file is read.

    `fields` are the request fields of the HTTP contract, `dataset` an npy or npz file for those methods and
    domains that use one, `model_sha256` the digest of the file that was captured.
    Raises a LipschitzError naming the cause when no bound can be given.
    """
    request = Request.parse(fields)
    deadline = Deadline.after(request.budget_s)
    progress({"phase": "reading"})
    captured = with_input(from_bytes(artifact), request.input)
    with on_fastest():
        rows = Dataset.read(dataset, captured.inputs) if dataset is not None else None
        problem = make_problem(captured, request, deadline, progress, rows)
        _check_names(problem, request)
        methods_end = deadline.share(1.0 - RADII_SHARE) if request.certify else deadline
        methods_end = methods_end.share(1.0 - ATTAINED_SHARE) if request.needs_jacobian else methods_end
        estimates, records = run_methods(problem.until(methods_end), request)
        radii = _radii(problem, request, estimates) if request.certify else Certificates()
        sensitivities = _sensitivities(problem.until(deadline.share(0.5)), request, estimates)
        result = result_record(request, problem, estimates, records=records, radii=radii, sensitivities=sensitivities)
        certificate = _certified(problem, request, model_sha256, estimates, result.warnings)
        told = result.model_copy(update={"graph": GraphDigest(sha256=digest(artifact))})
    return Answer(told, _best_witness(captured, estimates), certificate, table(radii))


def _check_names(problem: Problem, request: Request) -> None:
    """InvalidRequest where the request's names do not fit the model, before anything is computed."""
    gate = request.gate
    if request.input_names or request.output_names or (gate is not None and gate.asks_for_sensitivities):
        names = Names.of(problem, request)
        for limit in ("monotone", "max_sensitivity"):
            names.by_place(getattr(gate, limit, None) or {}, limit)


def _sensitivities(problem: Problem, request: Request, estimates: list[Estimate]) -> Sensitivities | None:
    """What is known of single derivatives; where that fails unexpectedly, nothing."""
    try:
        return sensitivities(problem, request, estimates)
    except BracketViolation:
        raise
    except Exception as error:
        problem.progress({"phase": f"no sensitivities: {failure(error)}"[:200]})
        return None


def _radii(problem: Problem, request: Request, estimates: list[Estimate]) -> Certificates:
    """The rows' radii; where that fails unexpectedly, a warning in their place."""
    try:
        return certificates(problem, estimates, request.gate)
    except BracketViolation:
        raise
    except Exception as error:
        rows = 0 if problem.dataset is None else len(problem.dataset)
        return Certificates(rows, warnings=[f"no radii are certified: {failure(error)}"])


def _certified(
    problem: Problem, request: Request, sha256: str, estimates: list[Estimate], warnings: list[str]
) -> Certificate | None:
    """The certificate; where writing it fails unexpectedly, a warning in its place: the bracket stands without it."""
    if request.rounding == NOISE:
        return None
    try:
        return certified(problem, request, sha256, estimates)
    except Exception as error:
        warnings.append(f"no certificate could be written: {failure(error)}")
        return None


def run_methods(problem: Problem, request: Request) -> tuple[list[Estimate], list[EstimateView]]:
    """Every requested method in turn; one that cannot serve this request is reported as skipped."""
    estimates: list[Estimate] = []
    seconds: list[float] = []
    for position, name in enumerate(request.methods):
        problem.progress({"method": name, "phase": "running"})
        _, lower = bracket(estimates)
        floor = lower.witness if lower else None
        mine = problem.until(allotted(problem, to_come(problem, request, position, estimates), estimates), floor)
        begun = time.monotonic()
        optional = request.is_auto and not (name == JACOBIAN and request.needs_jacobian)
        unneeded = reason_to_stop(problem, name, estimates) if optional else None
        estimate = Estimate(name, None, "skipped", unneeded) if unneeded else run_method(mine, request, name)
        estimates = reconciled([*estimates, estimate])
        seconds.append(time.monotonic() - begun)
    estimates = reconciled([_finished(problem, request, estimate) for estimate in estimates])
    if request.is_auto and reason_to_stop(problem, DEEP_SEARCH, estimates) is None:
        estimates = _deepened(problem, request, estimates, seconds)
    if all(estimate.status != "ok" and estimate.entries is None for estimate in estimates):
        reasons = "; ".join(f"{e.method}: {e.reason}" for e in estimates)
        refusal = LipschitzError if any(e.status == "failed" for e in estimates) else MethodSkipped
        raise refusal(f"no requested method could answer. {reasons}")
    records = [
        estimate_record(estimate, spent, problem.network) for estimate, spent in zip(estimates, seconds, strict=True)
    ]
    return estimates, records


def _finished(problem: Problem, request: Request, estimate: Estimate) -> Estimate:
    """AutoLip once more, where its share ended before its norms were proved and the other methods left some time."""
    if not estimate.details.get("norms_left_quick") or problem.deadline.passed:
        return estimate
    again = run_method(problem.until(allotted(problem, [estimate.method], [estimate])), request, estimate.method)
    return again if again.status == "ok" else estimate


def _deepened(problem: Problem, request: Request, estimates: list[Estimate], seconds: list[float]) -> list[Estimate]:
    """The same answers, that of `gradient` from a deeper search; its time is added to the method's."""
    position = next((i for i, e in enumerate(estimates) if e.method == "gradient" and e.witness is not None), None)
    if position is None or request.target.kind == "margins":
        return estimates
    begun, before, options = time.monotonic(), estimates[position], request.options["gradient"]
    assert isinstance(options, GradientOptions)
    upper, _ = bracket(estimates)
    mine = replace(
        problem.until(allotted(problem, [DEEP_SEARCH], estimates)), ceiling=value_of(upper) if upper else math.inf
    )
    try:
        estimate = deepen(mine, options.model_copy(update={"rounds": options.rounds or DEEP_ROUNDS}), before)
    except Exception as error:
        estimate = replace(before, details=before.details | {"deep_search": failure(error)})
    seconds[position] += time.monotonic() - begun
    return reconciled([*estimates[:position], estimate, *estimates[position + 1 :]])


def run_method(problem: Problem, request: Request, name: str) -> Estimate:
    """One method's answer, or the reason why it cannot serve this request, or why it failed: the others still answer.

    Refusals of the request itself and failed allocations end the whole job.
    """
    try:
        require_served(request, name)
        methods = FOR_MARGINS if request.target.kind == "margins" else IMPLEMENTATIONS
        if problem.q is not None and info_of(name).kind != "lower":
            return through(problem, name, methods[name], request.options[name])
        return methods[name](problem, request.options[name])
    except MethodSkipped as reason:
        return Estimate(name, None, "skipped", reason.detail)
    except OutOfTime:
        return Estimate(name, None, "skipped", "its share of the time budget was over before it had an answer")
    except Exception as error:
        return Estimate(name, None, "failed", failure(error))


def _best_witness(captured: Captured, estimates: list[Estimate]) -> bytes | None:
    witnesses = [estimate.witness for estimate in estimates if estimate.witness is not None]
    if not witnesses:
        return None
    best = max(witnesses, key=lambda witness: witness.value)
    return _npz(captured, best)


def _npz(captured: Captured, witness: Witness) -> bytes:
    """Arrays `x.<input>` and `y.<input>` in the inputs' shapes, and the slope `value` that they attain."""
    arrays: dict[str, Any] = {"value": np.float64(witness.value)}
    sizes = [torch.Size(spec.shape).numel() for spec in captured.inputs]
    for prefix, point in (("x", witness.x), ("y", witness.y)):
        for spec, piece in zip(captured.inputs, point.cpu().split(sizes), strict=True):
            arrays[f"{prefix}.{spec.name}"] = piece.reshape(spec.shape).numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
