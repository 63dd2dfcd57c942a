"""Networks whose weights, biases or products vanish in float64 and not in real arithmetic: nothing certified is 0, or
below the truth, by any method, in any certificate, in any radius.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from app.lipschitz.analysis import run_methods
from app.lipschitz.certificate.check import check_piece
from app.lipschitz.certificate.export import certificate
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box
from app.lipschitz.errors import InvalidModel, LipschitzError
from app.lipschitz.exact.phases.bounds import lost
from app.lipschitz.exact.phases.model import stacked
from app.lipschitz.formulation import make_problem
from app.lipschitz.network import constants
from app.lipschitz.network.constants import exact
from app.lipschitz.network.propagation import propagate
from app.lipschitz.operators import algebra
from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.composite import Composed, Sum
from app.lipschitz.operators.dense import Dense
from app.lipschitz.operators.diagonal import Diagonal
from app.lipschitz.operators.norm import Norm, norm
from app.lipschitz.operators.scaling import raised, safe_norm, times
from app.lipschitz.operators.support import reached
from app.lipschitz.problem import Estimate, Problem
from app.lipschitz.request import Request
from app.lipschitz.robustness.certificates import certificates
from app.lipschitz.robustness.radii import radii_of
from app.lipschitz.robustness.record import records
from app.lipschitz.seqlip.pairs.pair import Pair
from app.lipschitz.walk.margins import after_last
from tests.effort import sampled
from tests.lipschitz.helpers import captured, network_of

Function = Callable[[Tensor], Tensor]
CERTIFIED = ("frobenius", "autolip", "lipsdp", "seqlip", "exact")


def matrix(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def linear(rows: Sequence[Sequence[float]], bias: Sequence[float] | None = None) -> Function:
    weight, offset = matrix(rows), None if bias is None else torch.tensor(bias, dtype=torch.float64)
    return lambda x: F.linear(x, weight, offset)


def chain(*steps: Function) -> Function:
    def run(x: Tensor) -> Tensor:
        for step in steps:
            x = step(x)
        return x

    return run


EPS = 2.0**-30
CANCELLING = linear([[1 + EPS], [1.0]]), linear([[1 + EPS, -(1 + 2 * EPS)]])
"""Their product is 2^-60; in float64 it is 0."""
HIDDEN = linear([[0.0], [1e-200], [1.0]]), linear([[1.0, 1e-200, 0.0]])
"""Their product is 1e-400, between factors of size one."""
SMALL, LARGE = linear([[1e-200]]), linear([[1e300]])

VANISHING: dict[str, tuple[Function, float]] = {
    "weights that cancel": (chain(*CANCELLING, F.relu, linear([[1e18]])), 1e18 * 2.0**-60),
    "weights that underflow": (chain(SMALL, SMALL, F.relu, LARGE, F.relu, LARGE), 1e200),
    "factors that underflow": (lambda x: 1e300 * F.relu(1e300 * F.relu(1e-200 * (1e-200 * x))), 1e200),
    "layers that underflow": (chain(SMALL, F.relu, SMALL, F.relu, LARGE, F.relu, LARGE), 1e200),
    "an entry that underflows": (chain(*HIDDEN, F.relu, LARGE, F.relu, linear([[1e100]])), 1.0),
    "a neuron that underflows": (chain(HIDDEN[0], F.relu, HIDDEN[1], F.relu, LARGE, F.relu, linear([[1e100]])), 1.0),
    "a quotient that underflows": (lambda x: 1e300 * F.relu(1e300 * F.relu(x / 1e200 / 1e200)), 1e200),
    "a mean that underflows": (chain(lambda x: 1e-200 * (1e-200 * x).mean(1, True), F.relu, LARGE, F.relu, LARGE),
                               1e200),
}  # fmt: skip


def problem_of(function: Function, fields: dict[str, Any], size: int = 1) -> tuple[Problem, Request]:
    request = Request.parse({"budget_s": 60.0, **fields})
    problem = make_problem(captured(function, (1, size)), request, Deadline.after(60.0), lambda _: None)
    return problem, request


def answered(function: Function, fields: dict[str, Any], size: int = 1) -> tuple[Problem, Request, list[Estimate]]:
    problem, request = problem_of(function, fields, size)
    return problem, request, run_methods(problem, request)[0]


@pytest.mark.parametrize(
    "domain", [{"kind": "all"}, {"kind": "box", "lower": [1.0], "upper": [2.0]}], ids=["all", "box"]
)
@pytest.mark.parametrize(("name", "p"), sampled(VANISHING, ["1", "2", "inf"], every=3))
def test_no_method_certifies_less_than_the_truth(name: str, p: str, domain: dict[str, Any]) -> None:
    function, truth = VANISHING[name]
    options = {"seqlip": {"seconds": 0.5}, "exact": {"seconds": 0.5}}
    problem, request, found = answered(
        function, {"methods": list(CERTIFIED), "norm": p, "domain": domain, "options": options}
    )
    for estimate in found:
        assert estimate.status == "skipped" or estimate.value >= truth * (1 - 1e-15), (
            f"{estimate.method}: {estimate.value}"
        )
    proved = certificate(problem, request, "0" * 64, found)
    if proved is not None:
        json.dumps(proved.fields(), allow_nan=False)
        assert proved.bound >= truth * (1 - 1e-15)
        with np.errstate(all="ignore"):
            assert {check_piece(problem, piece) for piece in proved.pieces} <= {"independent", "recomputed"}


@pytest.mark.parametrize("name", VANISHING)
def test_no_radius_says_that_nothing_changes_the_prediction(name: str) -> None:
    """At 1.5 the first output leads by half the constant, so half a unit on it leads no more."""
    function, truth = VANISHING[name]
    rows = Dataset(matrix([[1.5]]), None)
    graph = captured(lambda x: torch.cat([function(x), 0 * x + truth], 1), (1, 1))
    for methods in (["autolip"], ["autolip", "lipsdp"]):
        request = Request.parse({"methods": methods, "certify": True, "budget_s": 60.0})
        problem = make_problem(graph, request, Deadline.after(60.0), lambda _: None, rows)
        (record,) = records(certificates(problem, run_methods(problem, request)[0]))
        assert record.radius is not None
        assert record.radius <= 0.5 * (1 + 1e-9)


def test_a_bias_that_cancels_is_known_to_within_its_rounding() -> None:
    """(x + 1e20) + 1 - 1e20 - 1/2 is x + 1/2; in float64 it is x - 1/2, and its ReLU dead."""
    function = lambda x: F.relu(((x + 1e20) + 1.0) - 1e20 - 0.5)  # noqa: E731
    box = {"kind": "box", "lower": [-0.25], "upper": [0.25]}
    _, _, found = answered(function, {"methods": ["autolip", "lipsdp", "exact"], "domain": box})
    assert all(estimate.status == "skipped" or estimate.value >= 1.0 for estimate in found)


@pytest.mark.parametrize("prepare", [chain(linear([[1e20]], [1.0]), linear([[1.0]], [-1.0])),
                                     chain(linear([[3.0]], [0.1]), lambda x: x * 0.7 - 0.07)])  # fmt: skip
def test_computed_biases_lie_within_their_radius(prepare: Function) -> None:
    network = network_of(lambda x: F.relu(prepare(x)), (1, 1))
    node = network.nodes[1]
    assert node.bias_radius is not None
    reference = prepare(torch.zeros(1, 1, dtype=torch.float64))
    assert bool((node.bias_radius <= 1e-11 * (1.0 + reference.abs()) * 10).all())


def test_stored_biases_have_no_radius() -> None:
    network = network_of(chain(linear([[2.0]], [1.5]), F.relu, linear([[0.3]], [0.1]), lambda x: x + 0.0), (1, 1))
    assert network.nodes[1].bias_radius is None


VECTOR = Diagonal((2,), (2,), torch.tensor([1e-200, 1.0], dtype=torch.float64))
FOLDS: dict[str, tuple[LinearOperator, Tensor]] = {
    "cancelling": (algebra.compose(Dense((2,), (1,), matrix([[1 + EPS, -(1 + 2 * EPS)]])),
                                   Dense((1,), (2,), matrix([[1 + EPS], [1.0]]))), matrix([[1]])),
    "underflowing": (algebra.compose(Dense((2,), (2,), matrix([[1e-200, 0.0], [0.0, 1.0]])), VECTOR), torch.eye(2)),
    "underflowing beside zeros": (algebra.compose(VECTOR, Dense((1,), (2,), matrix([[1e-200], [0.0]]))),
                                  matrix([[1], [0]])),
    "product of three": (Composed(tuple(Dense((1,), (1,), matrix([[1e-200]])) for _ in range(3))), matrix([[1]])),
    "sum of opposites": (algebra.add(Dense((1,), (1,), matrix([[1.0]])), Dense((1,), (1,), matrix([[-1.0]]))),
                         matrix([[0]])),
    "sum of uncertain opposites": (algebra.add(Dense((1,), (1,), matrix([[1.0]]), 1e-16),
                                               Dense((1,), (1,), matrix([[-1.0]]))), matrix([[1]])),
    "sum of underflowing parts": (Sum((Dense((1,), (1,), matrix([[0.0]])), Composed(
        (Dense((1,), (1,), matrix([[1e-200]])), Dense((1,), (1,), matrix([[1e-200]])))))), matrix([[1]])),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDS)
def test_patterns_know_what_an_exact_operator_reads(name: str) -> None:
    operator, reads = FOLDS[name]
    columns = [reached(operator, unit > 0) for unit in torch.eye(operator.in_size)]
    assert torch.equal(torch.stack(columns, 1), reads.bool())


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_norms_of_products_that_underflow_inside_are_not_zero(p: Norm) -> None:
    outer, inner = Dense((3,), (1,), matrix([[1.0, 1e-200, 0.0]])), Dense((1,), (3,), matrix([[0.0], [1e-200], [1.0]]))
    assert norm(Composed((outer, inner)), p).upper > 0.0
    assert norm(algebra.compose(outer, inner), p).upper > 0.0


def test_pairs_count_what_underflows() -> None:
    pair = Pair(
        matrix([[1.0, 1e-200, 0.0]]), matrix([[0.0], [1e-200], [1.0]]), torch.zeros(3).double(), torch.ones(3).double()
    )
    assert pair.bracket(torch.ones(1, 3).double()).upper > 0.0


def test_jacobians_of_phases_count_what_underflows() -> None:
    model = stacked(network_of(chain(SMALL, F.relu, SMALL, F.relu, LARGE, F.relu, linear([[1e99]])), (1, 1)))
    assert lost(model, "2") >= 0.1


def test_rows_that_differ_by_less_than_the_largest_entry_shows_are_told_apart() -> None:
    weight = [[1e-300, 0.0], [2e-300, 0.0], [1e300, 1.0]]
    problem, _ = problem_of(linear(weight), {"methods": ["autolip"], "target": {"kind": "margins"}}, 2)
    found = after_last(
        problem, problem.network.output, {problem.network.input: 1.0} | dict.fromkeys(problem.network.nodes, 1e301)
    )
    assert float(found[0, 1]) >= 1e-300


def test_constants_carry_what_their_products_lose() -> None:
    tiny = exact(torch.tensor([1e-200, 0.0, 5e-324], dtype=torch.float64))
    product = constants.multiply(tiny, tiny)
    assert product.value.tolist() == [0.0, 0.0, 0.0]
    assert (product.radius > 0).tolist() == [True, False, True]
    assert (constants.without_doubtful_zeros(product).value != 0).tolist() == [True, False, True]
    ratio = constants.divide(tiny, exact(1e200))
    assert (ratio.radius > 0).tolist() == [True, False, True]
    inner = constants.matrix_product(exact(matrix([[1e-200, 1.0]])), exact(matrix([[1e-200], [0.0]])))
    assert float(inner.radius) > 0.0


def test_an_image_varies_wherever_its_source_does() -> None:
    network = network_of(chain(linear([[1e-200]]), F.relu, linear([[1e-200]])), (1, 1))
    intervals = propagate(network, Box(torch.zeros(1).double(), torch.ones(1).double()))
    assert all(bool(intervals[node].varying.all()) for node in network.nodes)


def test_rows_of_zeros_do_not_vary() -> None:
    network = network_of(chain(linear([[0.0], [1.0]], [0.5, 0.0]), F.relu), (1, 1))
    intervals = propagate(network, Box(-torch.ones(1).double(), torch.ones(1).double()))
    assert intervals[network.nodes[1]].varying.tolist() == [False, True]


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_points_stay_in_a_small_ball_far_from_the_origin(p: Norm) -> None:
    ball = Ball(torch.tensor([1.0, -1.0], dtype=torch.float64), 1.5e-16, p)
    points = ball.sample(50, 2, 1.0, torch.Generator().manual_seed(0))
    away = (ball.project(points) - ball.center).tolist()
    order = {"1": 1, "2": 2, "inf": math.inf}[p]
    assert all(np.linalg.norm(row, order) <= ball.radius for row in away)


def test_weights_that_overflow_are_refused_by_name() -> None:
    with pytest.raises(LipschitzError) as refusal:
        problem_of(lambda x: x * (torch.full((1,), 1e300, dtype=torch.float64) * 1e300), {"methods": ["autolip"]})
    assert isinstance(refusal.value, InvalidModel)


def test_numbers_are_scaled_and_multiplied_upwards() -> None:
    x = torch.tensor([0.0, 5e-324, 1.0, 1e300], dtype=torch.float64)
    assert raised(x, -1200).tolist()[0] == 0.0
    assert all(value > 0.0 for value in raised(x, -1200).tolist()[1:])
    assert raised(x, 1100).tolist()[2:] == [math.inf, math.inf]
    assert raised(x, 10).tolist() == [0.0, 5e-324 * 1024, 1024.0, 1e300 * 1024]
    assert times(x, 1e-300).tolist()[0] == 0.0
    assert all(value > 0.0 for value in times(x, 1e-300).tolist()[1:])
    assert times(x, math.inf).tolist()[0] == 0.0
    tiny = torch.tensor([[3e-200, 4e-200], [3e200, 4e200], [0.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(
        safe_norm(tiny, 2.0), torch.tensor([5e-200, 5e200, 0.0], dtype=torch.float64), rtol=1e-15, atol=0
    )


def test_a_radius_that_overflows_is_a_number() -> None:
    margins, least = matrix([[math.inf, 1e10], [math.inf, 1.0], [math.inf, 1e-320]]), matrix([[0.0, 1e-310]])
    assert radii_of(margins, least.expand(3, 2)).radius.tolist()[0] == torch.finfo(torch.float64).max
    assert radii_of(margins, 0 * least.expand(3, 2)).radius.tolist() == [math.inf] * 3
