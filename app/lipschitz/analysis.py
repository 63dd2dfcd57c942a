"""The library's front door: a model file and a request in, the contract's result out."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from app.lipschitz.artifact import digest, from_bytes
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.certificate.export import certificate as certified
from app.lipschitz.certificate.record import Certificate
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline, OutOfTime
from app.lipschitz.device import on_fastest
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.errors import InvalidRequest, LipschitzError, MethodSkipped, UnsupportedOperator
from app.lipschitz.failures import failure
from app.lipschitz.methods.autolip import autolip
from app.lipschitz.methods.autolip_power import autolip_power
from app.lipschitz.methods.exact import exact
from app.lipschitz.methods.frobenius import frobenius
from app.lipschitz.methods.greedy_seqlip import greedy_seqlip
from app.lipschitz.methods.lipsdp import lipsdp
from app.lipschitz.methods.lower.annealing import annealing
from app.lipschitz.methods.lower.dataset import dataset as at_dataset
from app.lipschitz.methods.lower.gradient import gradient
from app.lipschitz.methods.lower.grid import grid
from app.lipschitz.methods.margins import autolip_margins, no_margins, of_steepest_pairs
from app.lipschitz.methods.margins_sdp import lipsdp_margins
from app.lipschitz.methods.seqlip import seqlip
from app.lipschitz.network.agreement import check_agreement
from app.lipschitz.network.build import build
from app.lipschitz.network.inputs import with_input
from app.lipschitz.network.target import output_positions, with_target
from app.lipschitz.operators.norm import Norm
from app.lipschitz.portfolio import allotted, reason_to_stop
from app.lipschitz.problem import Estimate, Problem, Progress, Witness
from app.lipschitz.report import estimate_record, reconciled, result_record
from app.lipschitz.request import Request
from app.lipschitz.robustness import Certificates, certificates

Method = Callable[[Problem, dict[str, Any]], Estimate]

IMPLEMENTATIONS: dict[str, Method] = {
    "frobenius": frobenius,
    "autolip": autolip,
    "autolip_power": autolip_power,
    "greedy_seqlip": greedy_seqlip,
    "seqlip": seqlip,
    "dataset": at_dataset,
    "annealing": annealing,
    "grid": grid,
    "lipsdp": lipsdp,
    "exact": exact,
    "gradient": gradient,
}
"""Every method of the catalog."""

FOR_MARGINS: dict[str, Method] = {name: no_margins(name) for name in IMPLEMENTATIONS} | {
    "autolip": autolip_margins,
    "lipsdp": lipsdp_margins,
    **{name: of_steepest_pairs(IMPLEMENTATIONS[name]) for name in ("dataset", "annealing", "grid", "gradient")},
}
"""Every method for all differences of two outputs."""

RADII_SHARE = 0.25
"""Part of the time that the methods leave for the radii of a data set's rows."""

MAX_DIGITS = 12
"""Longest row number."""


def analyze(
    artifact: bytes,
    fields: dict[str, Any],
    progress: Progress = lambda _: None,
    dataset: bytes | None = None,
    model_sha256: str = "",
) -> dict[str, Any]:
    """Bracket the Lipschitz constant of a captured graph; no model file is read.

    `fields` are the request fields of the HTTP contract, `dataset` an npy or npz file for those methods and
    domains that use one, `model_sha256` the digest of the file that was captured. Returns
    `{"result": ..., "witness": ..., "certificate": ...}`, the witness as base64 of an npz file or None, the
    certificate as JSON or None.
    Raises a LipschitzError naming the cause when no bound can be given.
    """
    request = Request.parse(fields)
    deadline = Deadline.after(request.budget_s)
    progress({"phase": "reading"})
    captured = with_input(from_bytes(artifact), request.input)
    with on_fastest():
        rows = Dataset.read(dataset, captured.inputs) if dataset is not None else None
        problem = make_problem(captured, request, deadline, progress, rows)
        methods_end = deadline.share(1.0 - RADII_SHARE) if request.certify else deadline
        estimates, records = run_methods(problem.until(methods_end), request)
        radii = _radii(problem, estimates) if request.certify else Certificates()
        result = result_record(request, problem, estimates, records, radii) | {"graph": {"sha256": digest(artifact)}}
        certificate = _certified(problem, request, model_sha256, estimates, result["warnings"])
    return {
        "result": result,
        "witness": _best_witness(captured, estimates),
        "certificate": None if certificate is None else certificate.fields(),
    }


def _radii(problem: Problem, estimates: list[Estimate]) -> Certificates:
    """The rows' radii; where that fails unexpectedly, a warning in their place."""
    try:
        return certificates(problem, estimates)
    except Exception as error:
        rows = 0 if problem.dataset is None else len(problem.dataset)
        return Certificates(rows, warnings=[f"no radii are certified: {failure(error)}"])


def _certified(
    problem: Problem, request: Request, sha256: str, estimates: list[Estimate], warnings: list[str]
) -> Certificate | None:
    """The certificate; where writing it fails unexpectedly, a warning in its place: the bracket stands without it."""
    try:
        return certified(problem, request, sha256, estimates)
    except Exception as error:
        warnings.append(f"no certificate could be written: {failure(error)}")
        return None


def make_problem(
    captured: Captured, request: Request, deadline: Deadline, progress: Progress, dataset: Dataset | None = None
) -> Problem:
    """The checked network of a captured graph, with the request's norm and domain.

    Raises the refusals of its parts, and UnsupportedOperator for what they meet unexpectedly in a model.
    """
    try:
        return _problem(captured, request, deadline, progress, dataset)
    except OutOfTime:
        raise
    except Exception as error:
        raise UnsupportedOperator(f"The model cannot be bounded: {failure(error)}") from error


def _problem(
    captured: Captured, request: Request, deadline: Deadline, progress: Progress, dataset: Dataset | None
) -> Problem:
    outputs = output_positions(captured, request.output)
    whole = build(captured, outputs)
    p: Norm = request.norm  # type: ignore[assignment]
    domain = make_domain(request.domain, whole.input.size, p, dataset)
    check_agreement(whole, captured, outputs, request.seed, domain)
    network = with_target(whole, request.target)
    problem = Problem(captured, network, p, domain, request.seed, deadline, progress, dataset)
    return replace(problem, outputs=outputs, target=request.target)


def make_domain(fields: dict[str, Any], size: int, p: Norm, dataset: Dataset | None = None) -> Domain:
    """The request's domain for flat inputs of `size` entries."""
    kind = fields.get("kind")
    if kind == "all":
        return WholeSpace()
    if kind == "box":
        lower, upper = (_vector(fields, key, size) for key in ("lower", "upper"))
        if bool((lower > upper).any()):
            raise InvalidRequest("domain.lower exceeds domain.upper")
        return Box(lower, upper)
    if kind == "ball":
        radius = float(fields.get("radius", 0.0))
        if not 0.0 < radius < float("inf"):
            raise InvalidRequest("domain.radius must be a positive number")
        return Ball(_center(fields, size, dataset), radius, p)
    raise InvalidRequest(f"unknown domain kind {kind!r}: known are all, box, ball")


def _center(fields: dict[str, Any], size: int, dataset: Dataset | None) -> torch.Tensor:
    """The numbers given, or a row of the data set: `<its id, or the word dataset>#<row>`."""
    given = fields.get("center")
    if not isinstance(given, str):
        return _vector(fields, "center", size)
    _, mark, row = given.partition("#")
    if not (mark and row.isdecimal() and len(row) <= MAX_DIGITS):
        raise InvalidRequest(f"domain.center {given!r} is neither a list of numbers nor `dataset#row`")
    if dataset is None:
        raise InvalidRequest("domain.center names a row of a data set, but the request names no data set")
    return dataset.row(int(row))


def _vector(fields: dict[str, Any], key: str, size: int) -> torch.Tensor:
    try:
        entries = torch.as_tensor(fields[key], dtype=torch.float64).reshape(-1)
    except (KeyError, TypeError, ValueError) as cause:
        raise InvalidRequest(f"domain.{key} must be a number or a list of numbers") from cause
    if len(entries) not in (1, size) or not bool(torch.isfinite(entries).all()):
        raise InvalidRequest(f"domain.{key} needs 1 or {size} finite numbers, not {len(entries)}")
    return entries.expand(size)


def run_methods(problem: Problem, request: Request) -> tuple[list[Estimate], list[dict[str, Any]]]:
    """Every requested method in turn; one that cannot serve this request is reported as skipped."""
    estimates: list[Estimate] = []
    seconds: list[float] = []
    for position, name in enumerate(request.methods):
        problem.progress({"method": name, "phase": "running"})
        mine = problem.until(allotted(problem, request.methods[position:], estimates))
        begun = time.monotonic()
        unneeded = reason_to_stop(problem, name, estimates) if request.is_auto else None
        estimate = Estimate(name, None, "skipped", unneeded) if unneeded else run_method(mine, request, name)
        estimates = reconciled([*estimates, estimate])
        seconds.append(time.monotonic() - begun)
    estimates = reconciled([_finished(problem, request, estimate) for estimate in estimates])
    if all(estimate.status != "ok" for estimate in estimates):
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


def run_method(problem: Problem, request: Request, name: str) -> Estimate:
    """One method's answer, or the reason why it cannot serve this request, or why it failed: the others still answer.

    Refusals of the request itself and failed allocations end the whole job.
    """
    try:
        methods = FOR_MARGINS if request.target["kind"] == "margins" else IMPLEMENTATIONS
        return methods[name](problem, request.options[name])
    except MethodSkipped as reason:
        return Estimate(name, None, "skipped", reason.detail)
    except OutOfTime:
        return Estimate(name, None, "skipped", "its share of the time budget was over before it had an answer")
    except Exception as error:
        return Estimate(name, None, "failed", failure(error))


def _best_witness(captured: Captured, estimates: list[Estimate]) -> str | None:
    witnesses = [estimate.witness for estimate in estimates if estimate.witness is not None]
    if not witnesses:
        return None
    best = max(witnesses, key=lambda witness: witness.value)
    return base64.b64encode(_npz(captured, best)).decode()


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
