"""Random networks with extreme weights, biases, boxes and scales: no bound lies below a slope that the function has in
real arithmetic, no witness above what its own pair attains, and no answer is withheld.

A failure names its seed; `str(extreme_graph(seed, family, bounded))` shows the network.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from app.lipschitz.analysis import run_methods
from app.lipschitz.certificate.check import check_piece
from app.lipschitz.certificate.export import certificate
from app.lipschitz.certificate.ranges import with_ranges
from app.lipschitz.deadline import Deadline
from app.lipschitz.errors import BracketViolation, LipschitzError
from app.lipschitz.formulation import make_problem
from app.lipschitz.problem import Estimate, Problem, Witness
from app.lipschitz.report import result_record
from app.lipschitz.request import Request
from app.lipschitz.robustness.certificates import Certificates
from tests.lipschitz.extreme_graphs import Draw, Exact, Graph, TooFar, exact, extreme_graph, mp
from tests.lipschitz.helpers import captured

METHODS = (
    ("autolip", "lipsdp", "seqlip", "exact", "gradient"),
    ("frobenius", "autolip", "lipsdp", "seqlip", "grid"),
    ("autolip", "lipsdp", "seqlip", "gradient", "annealing"),
)
"""In turn, since each takes its time."""
OPTIONS: dict[str, dict[str, Any]] = {
    "lipsdp": {"seconds": 2.0},
    "seqlip": {"seconds": 1.0},
    "exact": {"seconds": 0.7},
    "gradient": {"seconds": 0.3, "restarts": 3, "steps": 5, "scouts": 64, "climbers": 8},
    "grid": {"seconds": 0.2, "points": 50},
    "annealing": {"seconds": 0.2, "chains": 4, "steps": 10},
}
CERTIFIED = ("frobenius", "autolip", "lipsdp", "seqlip", "exact")
NEAR = mp.mpf(2) ** -800
"""Distance of the two points of a slope, relative to the first."""
ROUNDED = 1 + mp.mpf(2) ** -200
POINTS = 12


def norm_of(x: Exact, p: str) -> Any:
    sizes = [abs(entry) for entry in x]
    if p == "2":
        return mp.sqrt(sum(size * size for size in sizes))
    return sum(sizes) if p == "1" else max(sizes)


def outputs(graph: Graph, target: Any, x: Exact) -> Exact:
    """What the target asks for of the outputs."""
    y = graph.exactly(x)
    if target.kind == "margin":
        return y[target.i : target.i + 1] - y[target.j : target.j + 1]
    return y


def size_of(request: Request, change: Exact) -> Any:
    """The norm of the outputs' change, or the largest change of a difference of two."""
    return max(change) - min(change) if request.target.kind == "margins" else norm_of(change, request.norm)


def slope(graph: Graph, request: Request, x: Exact, y: Exact) -> Any:
    """Of one pair, in real arithmetic; 0 where mpmath cannot tell."""
    try:
        apart = outputs(graph, request.target, x) - outputs(graph, request.target, y)
        return size_of(request, apart) / norm_of(x - y, request.norm)
    except TooFar:
        return mp.zero


def drawn_domain(draw: Draw, size: int, p: str, bounded: bool) -> dict[str, Any]:
    """The whole space; a box, some of whose sides may have no length; a ball."""
    if not bounded:
        return {"kind": "all"}
    centre = draw.numbers(size, draw.choice([0.0, 0.0, draw.decade()]))
    if draw.chance(0.3):
        centre = torch.zeros_like(centre)
    radius = 10.0 ** draw.choice([0.0, -3.0, draw.random.uniform(-12, 3), max(-290.0, min(290.0, draw.decade()))])
    if draw.chance(0.3):
        return {"kind": "ball", "center": centre.tolist(), "radius": radius}
    lower, upper = centre - radius, centre + radius
    if draw.chance(0.15):
        still = draw.integer(0, size - 1)
        upper[still] = lower[still]
    return {"kind": "box", "lower": lower.tolist(), "upper": upper.tolist()}


def drawn_request(seed: int, graph: Graph, outputs: int, bounded: bool) -> Request:
    draw = Draw(random.Random(seed + 1))
    p = draw.choice(["2", "2", "2", "1", "inf"])
    target: dict[str, Any] = {"kind": "all"}
    if outputs > 1 and draw.chance(0.25):
        i, j = draw.random.sample(range(outputs), 2)
        target = draw.choice([{"kind": "margin", "i": i, "j": j}, {"kind": "margins"}])
    methods = METHODS[seed % 3]
    options = {name: OPTIONS[name] for name in methods if name in OPTIONS}
    fields = {"methods": list(methods), "norm": p, "target": target, "options": options, "seed": seed,
              "domain": drawn_domain(draw, graph.size, p, bounded), "budget_s": 60.0}  # fmt: skip
    return Request.parse(fields)


def points_of(draw: Draw, problem: Problem, bounded: bool) -> list[Tensor]:
    """In the domain, at all scales and on its boundary."""
    size = problem.network.input.size
    random_ = torch.Generator().manual_seed(draw.integer(0, 2**31))
    points = [problem.domain.centre(size)]
    while len(points) < POINTS:
        if bounded:
            inside = problem.domain.sample(1, size, 1.0, random_)[0]
            share = draw.choice([1.0, 1.0, 1e-3, 1e-9, 1e3])
            centre = problem.domain.centre(size)
            points.append(problem.domain.project((centre + share * (inside - centre))[None])[0])
        else:
            points.append(draw.numbers(size, draw.decade()))
    return [point for point in points if bool(point.isfinite().all())]


def steepest(graph: Graph, request: Request, problem: Problem, draw: Draw, bounded: bool) -> Any:
    """The largest slope met: around each point along the axes and along the steepest way that these tell."""
    best = mp.zero
    for x in map(exact, points_of(draw, problem, bounded)):
        try:
            best = max(best, _around(graph, request, problem, x, draw) if inside(problem, x) else best)
        except TooFar:
            continue
    return best


def _around(graph: Graph, request: Request, problem: Problem, x: Exact, draw: Draw) -> Any:
    base, reach = outputs(graph, request.target, x), max([abs(entry) for entry in x] + [mp.mpf(10) ** -320]) * NEAR

    def rise(direction: Exact) -> Exact:
        """The outputs' change along the direction, or against it at the domain's end."""
        for step in (reach, -reach):
            if inside(problem, x + step * direction):
                return (outputs(graph, request.target, x + step * direction) - base) / step
        return 0 * base

    axes = [np.array([mp.mpf(int(i == j)) for j in range(len(x))], dtype=object) for i in range(len(x))]
    columns = [rise(axis) for axis in axes]
    slopes = [size_of(request, column) for column in columns]
    largest = max(abs(entry) for column in columns for entry in column)
    if not largest or len(x) == 1:
        return max(slopes)
    jacobian = np.array([[float(entry / largest) for entry in column] for column in columns]).T
    row = jacobian[draw.integer(0, len(jacobian) - 1)]
    for direction in (np.linalg.svd(jacobian)[2][0], np.where(row >= 0, 1.0, -1.0)):
        way = exact(torch.from_numpy(direction))
        slopes.append(size_of(request, rise(way)) / norm_of(way, request.norm))
    return max(slopes)


def inside(problem: Problem, point: Exact) -> bool:
    """Whether the domain holds the point, in real arithmetic."""
    domain: Any = problem.domain
    if hasattr(domain, "lower"):
        ends = zip(point, exact(domain.lower.expand(len(point))), exact(domain.upper.expand(len(point))), strict=True)
        return all(low <= entry <= high for entry, low, high in ends)
    if hasattr(domain, "radius"):
        return bool(norm_of(point - exact(domain.center.expand(len(point))), domain.p) <= mp.mpf(domain.radius))
    return True


def pair_of(witness: Witness) -> tuple[Exact, Exact]:
    return exact(witness.x), exact(witness.y)


class Verdict(Exception):
    """What is wrong with an answer."""


def check_bounds(graph: Graph, request: Request, problem: Problem, estimates: Sequence[Estimate], truth: Any) -> None:
    for estimate in estimates:
        if estimate.method not in CERTIFIED or estimate.value is None:
            continue
        if math.isnan(estimate.value) or mp.mpf(estimate.value) * ROUNDED < truth:
            raise Verdict(f"{estimate.method} certifies {estimate.value!r}, attained {mp.nstr(truth, 17)}")


def check_witnesses(graph: Graph, request: Request, problem: Problem, estimates: Sequence[Estimate]) -> Any:
    """The largest slope of a witness's own pair, which no value may exceed."""
    best = mp.zero
    for estimate in estimates:
        if estimate.witness is None:
            continue
        x, y = pair_of(estimate.witness)
        own = request
        if request.target.kind == "margins":
            i, j = estimate.details["pair"]
            margin = {"kind": "margin", "i": i, "j": j}
            own = Request.parse({"methods": ["autolip"], "norm": request.norm, "target": margin})
        found = slope(graph, own, x, y) if any(x != y) else mp.zero
        if not (inside(problem, x) and inside(problem, y)):
            raise Verdict(f"{estimate.method}: its pair leaves the domain")
        if mp.mpf(estimate.witness.value) > found * ROUNDED:
            raise Verdict(f"{estimate.method} claims {estimate.witness.value!r}, its pair attains {mp.nstr(found, 17)}")
        best = max(best, found)
    return best


def check_certificate(problem: Problem, request: Request, estimates: Sequence[Estimate], truth: Any) -> str:
    found = certificate(problem, request, "0" * 64, estimates)
    if found is None:
        return "no certificate"
    json.dumps(found.fields(), allow_nan=False)
    problem = with_ranges(problem, found.ranges, found.lines, found.choices)
    for piece in found.pieces:
        with np.errstate(all="ignore"):
            check_piece(problem, piece)
    if mp.mpf(found.bound) * ROUNDED < truth:
        raise Verdict(f"a certificate is accepted for {found.bound!r}, attained {mp.nstr(truth, 17)}")
    return "certificate"


def check_seed(seed: int, family: str) -> str:
    """The kind of answer; Verdict where it is wrong."""
    bounded = family == "steep" or seed % 5 > 1
    graph = extreme_graph(seed, family, bounded)
    torch.manual_seed(seed)
    graph_ = captured(graph, (graph.size,))
    request = drawn_request(seed, graph, math.prod(graph_.outputs[0].shape), bounded)
    try:
        problem = make_problem(graph_, request, Deadline.after(request.budget_s), lambda _: None)
        estimates, records = run_methods(problem, request)
        record = result_record(request, problem, estimates, records=records, radii=Certificates())
    except BracketViolation as error:
        raise Verdict(f"withheld: {error.detail}") from error
    except LipschitzError as error:
        return error.slug
    record.model_dump_json()
    draw = Draw(random.Random(seed + 2))
    truth = max(steepest(graph, request, problem, draw, bounded), check_witnesses(graph, request, problem, estimates))
    check_bounds(graph, request, problem, estimates, truth)
    kind = check_certificate(problem, request, estimates, truth)
    for estimate in estimates:
        if estimate.status == "failed":
            raise Verdict(f"{estimate.method} failed: {estimate.reason}")
        if estimate.method in CERTIFIED and estimate.value is None and estimate.status == "ok":
            raise Verdict(f"{estimate.method} gives neither a value nor a reason")
    overflows = next(e.value for e in estimates if e.method == "autolip") == math.inf
    if kind == "no certificate" and record.upper and request.target.kind != "margins" and not overflows:
        raise Verdict(f"no certificate of {record.upper}")
    return kind if record.upper else "no upper"


def run_seeds(family: str, seeds: range) -> Counter[str]:
    """How often each kind of answer came; all that are wrong fail together."""
    kinds: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        try:
            kinds[check_seed(seed, family)] += 1
        except Verdict as verdict:
            wrong.append(f"seed {seed}, {family}: {verdict}")
        except Exception as error:
            wrong.append(f"seed {seed}, {family}: {type(error).__name__}: {error}")
    assert not wrong, f"{len(wrong)} of {len(seeds)}:\n" + "\n".join(wrong)
    return kinds


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 20), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("family", ["piecewise", "smooth", "steep"])
def test_answers_to_extreme_graphs_are_right(family: str, seeds: range) -> None:
    run_seeds(family, seeds)


def test_a_layer_whose_neurons_are_all_known_has_no_multipliers() -> None:
    """`lipsdp` failed of it in the norms inf and 1."""
    assert check_seed(1300, "steep") == "certificate"


def test_a_walk_on_a_domain_is_granted_by_its_check() -> None:
    """Ranges between those that are stated came out 1e-12 wider there."""
    assert check_seed(1405, "steep") == "certificate"


def test_the_check_may_know_narrower_ranges_than_the_job() -> None:
    """A difference that cancels exactly; the certificate is checked on the ranges that it states, as `verify` does."""
    assert check_seed(1747, "smooth") == "certificate"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1900, 100))
@pytest.mark.parametrize("family", ["piecewise", "smooth", "steep"])
def test_answers_to_many_extreme_graphs_are_right(family: str, first: int) -> None:
    run_seeds(family, range(first, first + 75))
