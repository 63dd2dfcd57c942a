"""From a captured graph and a request to the problem that the methods get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ..contract import domain as asked
from .agreement import check_agreement, evaluate_graph
from .artifact.captured import Captured
from .dataset import Dataset
from .deadline import Deadline, OutOfTime
from .digits.constants import Sharpener
from .domain import Ball, Box, Domain, WholeSpace
from .errors import Discontinuous, InvalidRequest, UnsupportedOperator
from .failures import failure
from .network.build import build
from .network.heads import select, with_choices
from .network.nodes import Network
from .network.noise import with_noise
from .network.target import with_target
from .network.units import Units, in_units, with_units
from .operators.norm import Norm
from .problem import Problem, Progress
from .request import NOISE, Request

OF_COLUMNS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "dataset": lambda rows: rows.std(0, correction=0),
    "quantiles": lambda rows: rows.quantile(0.95, 0) - rows.quantile(0.05, 0),
}
"""How much of each column is one unit, by the word that asks for it."""
LEAST_SCALE = 1e-100
MOST_ROWS = 256
"""Of a data set whose outputs' spread is taken."""


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
    captured = with_noise(captured) if request.rounding == NOISE else captured
    selection = select(captured, request.output)
    captured, outputs = selection.captured, selection.positions
    p: Norm = request.norm  # type: ignore[assignment]
    size = sum(torch.Size(spec.shape).numel() for spec in captured.inputs)
    domain = make_domain(request.domain, size, p, dataset)
    units = None
    if request.input_scale is not None or request.output_scale is not None:
        units, captured, domain, dataset = _in_units(captured, outputs, request, domain, dataset)
    whole = _built(captured, outputs, deadline)
    check_agreement(whole, captured, outputs, request.seed, domain, deadline=deadline)
    network = with_target(whole, request.target)
    problem = Problem(captured, network, p, domain, request.seed, deadline, progress, dataset)
    q: Norm | None = request.output_norm  # type: ignore[assignment]
    problem = replace(problem, q=q)
    return replace(problem, outputs=outputs, target=request.target, output=selection.record, units=units)


def _in_units(
    captured: Captured, outputs: list[int], request: Request, domain: Domain, dataset: Dataset | None
) -> tuple[Units, Captured, Domain, Dataset | None]:
    """The model, the domain and the rows in the units that the request asks for."""
    if request.certify:
        raise InvalidRequest("radii of rows are not served with input_scale or output_scale: ask for them without")
    sizes = [torch.Size(spec.shape).numel() for spec in captured.inputs]
    results = [torch.Size(captured.outputs[position].shape).numel() for position in outputs]
    s, t = request.input_scale, request.output_scale
    if isinstance(s, str):
        s = _spread(s, _needed(dataset, "input_scale").inputs)
    if isinstance(t, str):
        rows = _needed(dataset, "output_scale").inputs[:MOST_ROWS]
        t = _spread(t, torch.stack([evaluate_graph(captured, outputs, row) for row in rows]))
    whole = None if s is None else _scale(s, "input_scale", sum(sizes))
    out = None if t is None else _scale(t, "output_scale", sum(results))
    units = Units(_stated(s, whole), _stated(t, out), domain)
    captured = with_units(captured, outputs, whole, out)
    if whole is not None:
        domain = in_units(domain, whole)
        dataset = None if dataset is None else replace(dataset, inputs=dataset.inputs / whole)
    return units, captured, domain, dataset


def _needed(dataset: Dataset | None, field: str) -> Dataset:
    if dataset is None:
        raise InvalidRequest(f"{field} asks for a data set's columns, but the request names no data set")
    return dataset


def _spread(word: str, rows: torch.Tensor) -> list[float]:
    """How far the columns vary, 1 for those that do not."""
    spread = OF_COLUMNS[word](rows)
    return torch.where(spread > 0.0, spread, 1.0).tolist()


def _scale(given: object, field: str, size: int) -> torch.Tensor:
    """Positive numbers of moderate size, one a coordinate."""
    entries = _vector(given, field, size)  # type: ignore[arg-type]
    if not bool(((entries >= LEAST_SCALE) & (entries <= 1.0 / LEAST_SCALE)).all()):
        raise InvalidRequest(f"{field} needs numbers from {LEAST_SCALE:g} to {1.0 / LEAST_SCALE:g}")
    return entries


def _stated(given: object, entries: torch.Tensor | None) -> float | list[float] | None:
    """As the result tells it: one number where one was given."""
    if entries is None or isinstance(given, int | float):
        return None if entries is None else float(entries[0])
    return entries.tolist()


def _built(captured: Captured, outputs: list[int], deadline: Deadline) -> Network:
    """The network; the refusal of a head that jumps names what comes before it."""
    try:
        return build(captured, outputs, Sharpener(captured, deadline))
    except Discontinuous as refusal:
        raise with_choices(refusal, captured) from refusal


def make_domain(domain: asked.Domain, size: int, p: Norm, dataset: Dataset | None = None) -> Domain:
    """The request's domain for flat inputs of `size` entries."""
    match domain:
        case asked.Box():
            lower, upper = _vector(domain.lower, "domain.lower", size), _vector(domain.upper, "domain.upper", size)
            if bool((lower > upper).any()):
                raise InvalidRequest("domain.lower exceeds domain.upper")
            return Box(lower, upper)
        case asked.Ball():
            return Ball(_center(domain.center, size, dataset), domain.radius, p)
        case asked.All():
            return WholeSpace()


def _center(center: asked.Numbers | str, size: int, dataset: Dataset | None) -> torch.Tensor:
    """The numbers given, or a row of the data set: `<its id, or the word dataset>#<row>`."""
    if not isinstance(center, str):
        return _vector(center, "domain.center", size)
    if dataset is None:
        raise InvalidRequest("domain.center names a row of a data set, but the request names no data set")
    return dataset.row(int(center.partition("#")[2]))


def _vector(given: asked.Numbers, key: str, size: int) -> torch.Tensor:
    try:
        entries = torch.as_tensor(given, dtype=torch.float64).reshape(-1)
    except (TypeError, ValueError) as cause:
        raise InvalidRequest(f"{key} must be a number or an array of numbers") from cause
    if len(entries) not in (1, size) or not bool(torch.isfinite(entries).all()):
        raise InvalidRequest(f"{key} needs 1 or {size} finite numbers, not {len(entries)}")
    return entries.expand(size)
