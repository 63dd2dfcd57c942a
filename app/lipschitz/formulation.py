"""From a captured graph and a request to the problem that the methods get."""

from __future__ import annotations

from dataclasses import replace

import torch

from app.contract import question as asked
from app.lipschitz.agreement import check_agreement
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline, OutOfTime
from app.lipschitz.digits.constants import Sharpener
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.errors import Discontinuous, InvalidRequest, UnsupportedOperator
from app.lipschitz.failures import failure
from app.lipschitz.network.build import build
from app.lipschitz.network.heads import select, with_choices
from app.lipschitz.network.nodes import Network
from app.lipschitz.network.target import with_target
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Problem, Progress
from app.lipschitz.request import Request


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
    selection = select(captured, request.output)
    captured, outputs = selection.captured, selection.positions
    whole = _built(captured, outputs, deadline)
    p: Norm = request.norm  # type: ignore[assignment]
    domain = make_domain(request.domain, whole.input.size, p, dataset)
    check_agreement(whole, captured, outputs, request.seed, domain)
    network = with_target(whole, request.target)
    problem = Problem(captured, network, p, domain, request.seed, deadline, progress, dataset)
    return replace(problem, outputs=outputs, target=request.target, output=selection.record)


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
            lower, upper = _vector(domain.lower, "lower", size), _vector(domain.upper, "upper", size)
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
        return _vector(center, "center", size)
    if dataset is None:
        raise InvalidRequest("domain.center names a row of a data set, but the request names no data set")
    return dataset.row(int(center.partition("#")[2]))


def _vector(given: asked.Numbers, key: str, size: int) -> torch.Tensor:
    try:
        entries = torch.as_tensor(given, dtype=torch.float64).reshape(-1)
    except (TypeError, ValueError) as cause:
        raise InvalidRequest(f"domain.{key} must be a number or an array of numbers") from cause
    if len(entries) not in (1, size) or not bool(torch.isfinite(entries).all()):
        raise InvalidRequest(f"domain.{key} needs 1 or {size} finite numbers, not {len(entries)}")
    return entries.expand(size)
