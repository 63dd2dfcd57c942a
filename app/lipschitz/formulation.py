"""From a captured graph and a request to the problem that the methods get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from app.lipschitz.agreement import check_agreement
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline, OutOfTime
from app.lipschitz.digits.constants import Sharpener
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.errors import InvalidRequest, UnsupportedOperator
from app.lipschitz.failures import failure
from app.lipschitz.network.build import build
from app.lipschitz.network.target import output_positions, with_target
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Problem, Progress
from app.lipschitz.request import Request

MAX_DIGITS = 12
"""Longest row number."""


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
    whole = build(captured, outputs, Sharpener(captured, deadline))
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
