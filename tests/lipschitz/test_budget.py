"""Budgets are kept: every loop asks one deadline, and what a method has when it is over is certified or nothing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.lipschitz import analysis
from app.lipschitz.analysis import run_method, run_methods
from app.lipschitz.bounds.local import Local
from app.lipschitz.certificate.forms import Slopes
from app.lipschitz.certificate.sparse_system import sparse_system
from app.lipschitz.dataset import Dataset
from app.lipschitz.deadline import NEVER, SPENT, Deadline, Laps, OutOfTime
from app.lipschitz.domain import WholeSpace
from app.lipschitz.files import analyze
from app.lipschitz.lipsdp.primal.bound import parts_of_piece
from app.lipschitz.lower import pairs
from app.lipschitz.lower.attained import Attained
from app.lipschitz.lower.hops import deepened
from app.lipschitz.lower.search import evaluated, generator
from app.lipschitz.methods import IMPLEMENTATIONS
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Activation, Network
from app.lipschitz.operators.convolution import Convolution
from app.lipschitz.operators.convolution_norm import torus_norm
from app.lipschitz.operators.dense import Dense
from app.lipschitz.operators.norm import norm
from app.lipschitz.operators.quick_norm import quick_norm
from app.lipschitz.pace import Pace
from app.lipschitz.portfolio import allotted
from app.lipschitz.problem import Problem
from app.lipschitz.request import Request
from app.lipschitz.walk.autolip import autolip
from app.lipschitz.walk.pieces import Piece
from tests.lipschitz.certificate.models import chain, verdict
from tests.lipschitz.helpers import captured

MOST_S = 1.0
"""Of processor time that a method may take after its deadline on a network of a few hundred thousand weights."""


class FakeClock:
    """Every look at it takes `tick` seconds."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class Mixed(nn.Module):
    """Convolutions, pooling, two wide layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Linear(512, 300), nn.ReLU(), nn.Linear(300, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x.reshape(1, 3, 32, 32)))  # type: ignore[no-any-return]


def problem(module: Any, size: int, deadline: Deadline = NEVER) -> Problem:
    torch.manual_seed(0)
    graph = captured(module, (1, size))
    rows = Dataset(torch.randn(50, size, dtype=torch.float64), None)
    return Problem(graph, build(graph, [0]), "2", WholeSpace(), 1, deadline, lambda _: None, rows)


@pytest.fixture(scope="module")
def mixed() -> Problem:
    return problem(Mixed(), 3072)


@pytest.fixture(scope="module")
def wide() -> Problem:
    return problem(nn.Sequential(nn.Linear(64, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, 5)), 64)


@pytest.fixture(scope="module")
def small() -> Problem:
    return problem(nn.Sequential(nn.Linear(2, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 2)), 2)


def test_deadlines() -> None:
    clock = FakeClock()
    deadline = Deadline(10.0, clock, Pace(rate=100.0))
    assert deadline.left == 10.0
    assert deadline.within(3.0).end == 3.0
    assert deadline.within(30.0).end == 10.0
    assert deadline.share(0.25).end == 2.5
    assert deadline.before(4.0).end == 6.0
    assert deadline.fits(1000.0)
    assert not deadline.fits(1001.0)
    with pytest.raises(OutOfTime):
        deadline.begin(1001.0)
    clock.now = 11.0
    assert (deadline.left, deadline.passed, deadline.fits(0.0)) == (0.0, True, False)
    with pytest.raises(OutOfTime):
        deadline.check()
    NEVER.begin(1e300)
    assert not SPENT.left


def test_no_round_is_begun_that_would_end_too_late() -> None:
    clock = FakeClock()
    laps = Laps(Deadline(10.0, clock, Pace(rate=1.0)), reserve=1.0)
    told = []
    for _ in range(4):
        clock.now += 2.5
        told.append(laps.is_last())
    assert told == [False, False, True, True]  # a fourth would end at 10, and a second is kept


@pytest.fixture(scope="module")
def attained(small: Problem) -> float:
    """By the small network, wherever it is asked."""
    value = run_method(small, Request.parse({"methods": ["gradient"]}), "gradient").value
    assert value
    return value


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
@pytest.mark.parametrize("kind", ["mixed", "wide", "small"])
def test_a_method_whose_time_is_over_ends_at_once(
    kind: str, name: str, attained: float, request: pytest.FixtureRequest
) -> None:
    """With a certified bound or a witness, or with the reason why it has none."""
    asked = request.getfixturevalue(kind).until(SPENT)
    fields = Request.parse({"methods": [name]})
    begun = time.thread_time()
    estimate = run_method(asked, fields, name)
    assert time.thread_time() - begun < MOST_S
    assert estimate.status in ("ok", "skipped"), estimate.reason
    if estimate.status == "ok" and name in ("frobenius", "autolip", "lipsdp", "seqlip", "exact"):
        assert estimate.value is not None
        assert kind != "small" or attained <= estimate.value


def test_autolip_proves_norms_one_after_another_until_time_is_over() -> None:
    layers = [layer for _ in range(12) for layer in (nn.Linear(30, 30), nn.ReLU())]
    bounds, quick = [], []
    for seconds in (0.0, 40.0, 150.0, 1e6):
        deadline = Deadline(seconds, FakeClock(1.0), Pace(rate=1e30))
        estimate = autolip(problem(nn.Sequential(*layers), 30, deadline), {})
        bounds.append(estimate.value or 0.0)
        quick.append(estimate.details.get("norms_left_quick", 0))
    assert quick[0] == 12
    assert quick == sorted(quick, reverse=True)
    assert 0 < quick[1] < 12
    assert quick[-1] == 0
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > 1e3 * bounds[-1]


def test_news_of_the_bound_come_from_the_first_look_on() -> None:
    news: list[dict[str, object]] = []
    asked = problem(nn.Sequential(*[nn.Linear(20, 20) if i % 2 else nn.ReLU() for i in range(1, 20)]), 20)
    deadline = Deadline(1e6, FakeClock(1.0), Pace(rate=1e30))
    told = Problem(asked.captured, asked.network, "2", WholeSpace(), 1, deadline, news.append)
    autolip(told, {})
    uppers = [one["upper"] for one in news]
    assert len(uppers) > 3
    assert uppers == sorted(uppers, reverse=True)  # type: ignore[type-var]
    assert uppers[0] > uppers[-1]  # type: ignore[operator]


def test_quick_norms_are_above_the_proved_ones() -> None:
    torch.manual_seed(0)
    for seed in range(20):
        a = torch.randn(3 + seed, 7, dtype=torch.float64)
        operator = Dense((7,), (3 + seed,), a)
        for p in ("1", "2", "inf"):
            assert quick_norm(operator, p) >= norm(operator, p).lower  # type: ignore[arg-type]


def test_a_proof_that_is_stopped_claims_nothing() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(8, 8, 3, 3, dtype=torch.float64)
    operator = Convolution((1, 8, 64, 64), (1, 8, 64, 64), kernel, (1, 1), ((1, 1), (1, 1)), (1, 1))
    with pytest.raises(OutOfTime):
        torus_norm(operator, Deadline(3.0, FakeClock(1.0), Pace(rate=1e30)))
    stopped = norm(operator, "2", Deadline(3.0, FakeClock(1.0), Pace(rate=1e30)))
    assert stopped.upper >= norm(operator).upper


def test_a_factorisation_that_would_take_too_long_is_not_begun() -> None:
    torch.manual_seed(0)
    operator = Dense((1500,), (1500,), torch.randn(1500, 1500, dtype=torch.float64))
    begun = time.thread_time()
    found = norm(operator, "2", Deadline(time.monotonic() + 9.0, pace=Pace(rate=1.0)))
    assert time.thread_time() - begun < MOST_S
    assert found.method in ("frobenius", "hoelder")


def test_methods_share_the_time(small: Problem) -> None:
    deadline = Deadline(100.0, FakeClock(), Pace(rate=1e30))
    asked = small.until(deadline)
    ends = [allotted(asked, rest, []).end for rest in (["lipsdp"], ["lipsdp", "exact"], ["gradient", "exact"])]
    assert ends[0] == pytest.approx(95.0)
    assert ends[1] == pytest.approx(47.5)
    assert ends[2] < 20.0


@pytest.mark.parametrize("domain", [{"kind": "all"}, {"kind": "box", "lower": -1.0, "upper": 1.0}])
@pytest.mark.parametrize("norm_", ["1", "2", "inf"])
def test_there_is_a_certificate_whatever_the_time(norm_: str, domain: dict[str, Any]) -> None:
    model = chain(3, depth=3, widest=24)
    answer = analyze(model, {"methods": "auto", "norm": norm_, "domain": domain, "budget_s": 1e-9})
    certificate = answer["certificate"]
    assert certificate is not None
    assert certificate["bound"] <= answer["result"]["upper"]["value"] * (1.0 + 1e-4)
    answer = verdict(model, certificate)
    assert answer["valid"], answer["reasons"]


def test_run_methods_answers_when_all_time_is_over(mixed: Problem) -> None:
    begun = time.thread_time()
    estimates, _ = run_methods(mixed.until(SPENT), Request.parse({"methods": "auto"}))
    assert estimates[0].status == "ok"
    assert time.thread_time() - begun < 2 * MOST_S


def test_autolip_goes_on_with_what_the_others_leave() -> None:
    layers = [layer for _ in range(12) for layer in (nn.Linear(30, 30), nn.ReLU())]
    asked = problem(nn.Sequential(*layers), 30, Deadline(300.0, FakeClock(1.0), Pace(rate=1e30)))
    early = autolip(asked.until(asked.deadline.share(0.15)), {})
    later = analysis._finished(asked, Request.parse({"methods": ["autolip"]}), early)
    assert later.details.get("norms_left_quick", 0) < early.details["norms_left_quick"]


def test_a_round_of_the_deep_search_ends_with_the_time(small: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that counts evaluations: lines and islands are given up between two of them."""
    count, plain = [0], Network.__call__

    def counted(network: Network, x: Tensor) -> Tensor:
        count[0] += 1
        return plain(network, x)

    monkeypatch.setattr(Network, "__call__", counted)
    known = evaluated(small, torch.ones(1, small.network.input.size, dtype=torch.float64))
    for more in (1, 3, 5, 9):
        deadline = Deadline(count[0] + more, lambda: float(count[0]))
        elite, done = deepened(small, known, 40, scale=1.0, deadline=deadline, random=generator(small))
        assert done == 1
        assert float(elite.norms.max()) >= float(known.norms.max())
        assert count[0] <= deadline.end + 1


def test_pairs_are_told_of_only_where_an_evaluation_has_time(small: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that ended without an answer took a third of a search of a tenth of a second."""
    asked: list[Deadline | None] = []
    monkeypatch.setattr(pairs, "attained", lambda *given: asked.append(given[3]) or Attained(0.0, 0.0))
    best = pairs.Best(small, "gradient")
    for slope in (1.0, 2.0, 3.0):
        time.sleep(0.002)
        ends = torch.zeros(1, small.network.input.size), torch.ones(1, small.network.input.size)
        best.offer(*ends, torch.tensor([slope]))
    assert asked == []
    best.witness()
    assert asked == [None]


def test_a_system_that_would_take_too_long_is_not_put_together(small: Problem) -> None:
    network = small.network
    slow = Deadline(1.0, FakeClock(), Pace(rate=1e3))
    nodes = [node for node in network.nodes if isinstance(node, Activation)]
    slopes = {node: Slopes(np.zeros(node.size), np.ones(node.size), np.arange(node.size)) for node in nodes}
    sparse_system(network.input, network.output, slopes)
    with pytest.raises(OutOfTime):
        sparse_system(network.input, network.output, slopes, slow)


def test_slopes_are_not_asked_for_once_time_is_over(mixed: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a million neurons took seconds, for a bound that had no time."""
    asked: list[Activation] = []
    monkeypatch.setattr(Local, "slopes", lambda _, node: asked.append(node))
    network = mixed.network
    assert parts_of_piece(mixed, Piece(network.input, network.nodes[1:]), SPENT) is None
    assert asked == []
