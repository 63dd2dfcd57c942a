"""The front door for two models: two captured graphs and a request in, the contract's result out."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ... import __version__
from ...contract.comparison import ChangeView, ComparisonView, Decisions, DifferenceView, LipschitzView
from ...contract.graph import GraphDigest
from ...contract.result import Bound, EngineView, EstimateView
from ..analysis import Answer, run_methods
from ..artifact import Captured, digest, from_bytes, to_bytes
from ..bracket import attained_by, bracket
from ..dataset import Dataset
from ..deadline import Deadline, OutOfTime
from ..device import on_fastest
from ..domain import Domain, WholeSpace
from ..errors import BracketViolation, InvalidRequest, LipschitzError
from ..failures import failure
from ..formulation import make_domain
from ..layers import finite
from ..network.inputs import with_input
from ..operators.norm import Norm
from ..operators.norms import Norms
from ..problem import Estimate, Problem, Progress
from ..report import model_record
from ..request import NOISE, Request
from .bounds import Known, anchored, at_point, bound, size
from .contributions import Contribution, contributions
from .decisions import alike, decisions
from .difference import Difference, differ
from .join import Joint, join
from .verdict import verdict
from .witness import Attained, search

RANGES_SHARE, DECISIONS_SHARE = 0.3, 0.3
"""Parts of the budget."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """The question about the two."""

    request: Request
    p: Norm
    domain: Domain
    radius: float | None
    rows: Dataset | None
    deadline: Deadline
    progress: Progress


def compare(
    a: bytes,
    b: bytes,
    fields: Mapping[str, Any],
    progress: Progress = lambda _: None,
    dataset: bytes | None = None,
) -> Answer:
    """How far two captured graphs of the same inputs and outputs are apart; no model file is read.

    `fields` are those of `POST /v1/comparisons`. Raises a LipschitzError naming the cause when nothing can be said.
    """
    request = Request.parse(fields)
    if request.output_norm is not None:
        raise InvalidRequest("a comparison is in one norm for both spaces")
    if request.rounding == NOISE:
        raise InvalidRequest("a comparison is of functions that do not jump: rounding: noise is not served")
    deadline = Deadline.after(request.budget_s)
    progress({"phase": "reading"})
    joint = join(*(with_input(from_bytes(artifact), request.input) for artifact in (a, b)))
    with on_fastest():
        rows = Dataset.read(dataset, joint.captured.inputs) if dataset is not None else None
        entries = sum(math.prod(spec.shape) for spec in joint.captured.inputs)
        p: Norm = request.norm  # type: ignore[assignment]
        domain = make_domain(request.domain, entries, p, rows)
        asked = _Asked(request, p, domain, fields.get("radius"), rows, deadline, progress)
        if joint.identical or a == b:
            return Answer(_identical(joint, asked), None, None)
        return _compared(joint, asked)


def _compared(joint: Joint, asked: _Asked) -> Answer:
    request, p, deadline = asked.request, asked.p, asked.deadline
    difference = differ(joint, deadline, asked.domain, request.seed)
    asked.progress({"phase": "ranges"})
    known = bound(difference, asked.domain, p, deadline.share(RANGES_SHARE))
    witness = search(difference, asked.domain, p, seed=request.seed, deadline=deadline.share(0.2), rows=asked.rows)
    parts = contributions(difference, known.ranges, p, Norms(), deadline.share(0.1))
    decided, at_rows = _decisions(difference, asked), _at_rows(difference, asked)
    asked.progress({"phase": "constant"})
    estimates, records, warnings = _constant(joint, difference, asked)
    upper, lower = bracket(estimates)
    constant = LipschitzView(
        upper=_bound(upper, math.inf if upper is None or upper.value is None else upper.value, "certified"),
        lower=_bound(lower, attained_by(lower) if lower else 0.0, "witnessed"),
    )
    if upper is not None and upper.value is not None:
        known = replace(known, bounds={**known.bounds, "anchored": anchored(difference, asked.domain, p, upper.value)})
    apart = _apart(known, witness, asked.domain).model_copy(update={"at_rows": at_rows})
    result = _result(joint, asked, apart, constant, records)
    result = result.model_copy(
        update={
            "layers": [_layer(i, part) for i, part in enumerate(parts)],
            "decisions": decided,
            "verdict": verdict(request.gate, apart, decided),
            "warnings": [*joint.captured.warnings, *warnings],
        }
    )
    return Answer(result, None if witness is None else _npz(joint.captured, witness), None)


def _apart(known: Known, witness: Attained | None, domain: Domain) -> DifferenceView:
    """The bracket on the largest difference; BracketViolation where it is none."""
    method, value = min(known.bounds.items(), key=lambda item: item[1])
    lower = 0.0 if witness is None else witness.value
    if lower > value:
        raise BracketViolation(
            f"the models are {lower!r} apart at a point, above the certified {value!r} by {method}: a defect of "
            "Lipserve; no result is given, please report the models"
        )
    reason = None
    if math.isinf(value):
        reason = "no bound on the whole space: ask on a box or a ball" if isinstance(domain, WholeSpace) else (
            "the bound exceeds the range of float64"
        )  # fmt: skip
    return DifferenceView(
        upper=Bound(value=value, method=method, guarantee="certified") if math.isfinite(value) else None,
        lower=Bound(value=lower, method="ascent", guarantee="witnessed"),
        bounds={name: finite(one) for name, one in known.bounds.items()},
        reason=reason,
    )


def _at_rows(difference: Difference, asked: _Asked) -> float | None:
    """The largest difference at the rows of the data set, proved; None without rows, or without time for all."""
    sizes: list[float] = []
    deadline = asked.deadline.share(0.1)
    for row in () if asked.rows is None else asked.rows.inputs:
        if deadline.passed:
            return None
        sizes.append(size(at_point(difference, row), asked.p))
    return finite(max(sizes, default=math.inf))


def _constant(
    joint: Joint, difference: Difference, asked: _Asked
) -> tuple[list[Estimate], list[EstimateView], list[str]]:
    """What the methods say of the Lipschitz constant of f - g; a warning where none can say anything."""
    problem = Problem(
        joint.captured, difference.plain, asked.p, asked.domain, asked.request.seed, asked.deadline, asked.progress,
        asked.rows, outputs=joint.differences,
    )  # fmt: skip
    try:
        return *run_methods(problem, asked.request), []
    except (LipschitzError, OutOfTime) as refusal:
        return [], [], [f"no bracket on the Lipschitz constant of the difference: {failure(refusal)}"]


def _decisions(difference: Difference, asked: _Asked) -> Decisions | None:
    if asked.rows is None or difference.first.output.size < 2:
        return None
    return decisions(difference, asked.rows, asked.radius, asked.p, asked.deadline.share(DECISIONS_SHARE))


def _identical(joint: Joint, asked: _Asked) -> ComparisonView:
    """Of one function: nothing differs."""
    none, attained = (Bound(value=0.0, method="identity", guarantee=worth) for worth in ("certified", "witnessed"))
    apart = DifferenceView(
        upper=none, lower=attained, bounds={"identity": 0.0}, at_rows=None if asked.rows is None else 0.0
    )
    constant = LipschitzView(upper=none, lower=attained)
    decided = None if asked.rows is None else alike(asked.rows, asked.radius)
    result = _result(joint, asked, apart, constant, [])
    told = verdict(asked.request.gate, apart, decided)
    return result.model_copy(update={"identical": True, "decisions": decided, "verdict": told})


def _result(
    joint: Joint, asked: _Asked, apart: DifferenceView, constant: LipschitzView, records: list[EstimateView]
) -> ComparisonView:
    return ComparisonView(
        norm=asked.request.norm,
        domain=asked.request.domain,
        identical=False,
        difference=apart,
        lipschitz_of_difference=constant,
        decisions=None,
        upper=apart.upper,
        lower=apart.lower,
        ratio=_ratio(apart),
        verdict=None,
        estimates=records,
        layers=[],
        certificates=[],
        model=model_record(joint.captured),
        graph=GraphDigest(sha256=digest(to_bytes(joint.captured, []))),
        engine=EngineView(
            version=__version__, device=str(torch.get_default_device()), dtype="float64", torch=torch.__version__
        ),
        warnings=list(joint.captured.warnings),
    )


def _ratio(apart: DifferenceView) -> float | None:
    upper, lower = ((end.value if end else None) for end in (apart.upper, apart.lower))
    return finite(upper / lower) if upper is not None and lower else None


def _bound(estimate: Estimate | None, value: float, guarantee: Any) -> Bound | None:
    if estimate is None or not math.isfinite(value):
        return None
    return Bound(value=value, method=estimate.method, guarantee=guarantee)


def _layer(index: int, part: Contribution) -> ChangeView:
    node = part.layer.node
    return ChangeView(
        index=index,
        name=part.layer.name,
        op="+".join(dict.fromkeys(origin.op for origin in node.origins)),
        output_shape=list(node.shape),
        corresponds=part.layer.corresponds,
        change=finite(part.change),
        contribution=finite(part.contribution),
    )


def _npz(captured: Captured, attained: Attained) -> bytes:
    """Arrays `x.<input>` in the inputs' shapes, and the difference `value` that is attained there."""
    arrays: dict[str, Any] = {"value": np.float64(attained.value)}
    sizes = [math.prod(spec.shape) for spec in captured.inputs]
    for spec, piece in zip(captured.inputs, attained.x.cpu().split(sizes), strict=True):
        arrays[f"x.{spec.name}"] = piece.reshape(spec.shape).numpy()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
