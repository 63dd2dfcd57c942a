"""What is reported as attained is attained: by the real function of the stored weights, every rounding counted."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from app.lipschitz import analysis, pace
from app.lipschitz.bracket import bracket, reconciled
from app.lipschitz.deadline import NEVER, Deadline
from app.lipschitz.domain import Ball, WholeSpace
from app.lipschitz.errors import BracketViolation
from app.lipschitz.files import analyze
from app.lipschitz.lower import attained as attained_module
from app.lipschitz.lower.attained import MANY, attained, distance
from app.lipschitz.network.build import build
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Estimate, Problem, Witness
from app.lipschitz.walk.autolip import autolip
from tests.effort import sampled
from tests.lipschitz.helpers import captured
from tests.lipschitz.onnx_networks import mlp

ONE = np.eye(1)
TINY_BOX = {"kind": "box", "lower": -1e-3, "upper": 1e-3}
LOWER = ["autolip", "annealing", "grid", "gradient", "exact"]
SHORT = {
    "annealing": {"seconds": 1.0, "steps": 20},
    "gradient": {"seconds": 1.0},
    "exact": {"seconds": 1.0},
    "grid": {"points": 99},
}


def shifted(bias: float, scale: float = 1.0) -> bytes:
    """relu(x + b) - b: the constant is 1, whatever float64 makes of it."""
    return mlp([ONE * scale, ONE / scale], [np.array([bias * scale]), np.array([-bias])])


@pytest.mark.parametrize(("bias", "domain"), sampled([1.0, 1e12, 1e300], [TINY_BOX, {"kind": "all"}], every=2))
def test_biases_that_cancel(bias: float, domain: dict[str, Any]) -> None:
    result = analyze(shifted(bias), {"methods": LOWER, "domain": domain, "options": SHORT})["result"]
    for record in result["estimates"]:
        assert record["status"] == "ok", record["reason"]
        if record["kind"] == "lower":
            assert 1.0 - 1e-9 <= record["value"] <= 1.0, record["method"]
    assert result["upper"]["value"] == pytest.approx(1.0, rel=1e-12)
    assert 1.0 - 1e-9 <= result["lower"]["value"] <= 1.0
    assert result["warnings"] == []


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_the_file_s_pair_attains_the_value(norm: Norm) -> None:
    """In fractions, from the stored weights, layers folded into one another included."""
    random = np.random.default_rng(int(norm == "2"))
    weights = [random.normal(size=shape) for shape in ((3, 2), (4, 3), (2, 4))]
    biases = [random.normal(size=len(weight)) * 1e6 for weight in weights]
    answer = analyze(mlp(weights, biases), {"methods": ["gradient"], "norm": norm, "options": SHORT | {}})
    stored = np.load(io.BytesIO(base64.b64decode(answer["witness"])))
    rise, apart = (
        [a - b for a, b in zip(*pair, strict=True)]
        for pair in (
            [network(weights, biases, stored[key].ravel().tolist()) for key in ("x.x", "y.x")],
            [[Fraction(v) for v in stored[key].ravel().tolist()] for key in ("x.x", "y.x")],
        )
    )
    value = Fraction(answer["result"]["lower"]["value"])
    if norm == "2":
        square = sum(v * v for v in rise) / sum(v * v for v in apart)
        assert value**2 <= square <= value**2 * (1 + Fraction(1, 2**50))
    else:
        size = max if norm == "inf" else sum
        slope = size(abs(v) for v in rise) / size(abs(v) for v in apart)
        assert value <= slope <= value * (1 + Fraction(1, 2**51))


def network(weights: list[np.ndarray], biases: list[np.ndarray], x: list[float]) -> list[Fraction]:
    values = [Fraction(v) for v in x]
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        values = [
            sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b))
            for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        values = values if i == len(weights) - 1 else [max(v, Fraction(0)) for v in values]
    return values


@pytest.mark.parametrize("target", [{"kind": "logit", "index": 1}, {"kind": "margin", "i": 0, "j": 1}])
def test_targets(target: dict[str, Any]) -> None:
    """f = (2 relu(x + b) - 2 b, -relu(x + b) + b)."""
    model = mlp([ONE, np.array([[2.0], [-1.0]])], [np.array([1e12]), np.array([-2e12, 1e12])])
    result = analyze(model, {"methods": ["gradient"], "target": target, "domain": TINY_BOX, "options": SHORT})["result"]
    assert result["lower"]["value"] == (1.0 if target["kind"] == "logit" else 3.0)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("radius", [1e-9, 1.0, 1e-200])
def test_projections_lie_in_the_ball(p: Norm, radius: float) -> None:
    """In exact arithmetic, far from the origin as well, where a coordinate's rounding is a share of the radius."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.tensor([1e6, -3.3, 0.1], dtype=torch.float64)
    ball = Ball(centre, radius, p)
    points = ball.project(centre + 10.0 * radius * torch.randn(200, 3, dtype=torch.float64, generator=generator))
    for point in points.tolist():
        away = [abs(Fraction(a) - Fraction(c)) for a, c in zip(point, centre.tolist(), strict=True)]
        if p == "2":
            assert sum(v * v for v in away) <= Fraction(radius) ** 2
        else:
            assert (max(away) if p == "inf" else sum(away)) <= Fraction(radius)


def pair(value: float, error: float) -> Estimate:
    zeros = torch.zeros(1)
    return Estimate("gradient", value, witness=Witness(zeros, zeros, value, error))


def test_a_witness_that_is_not_sharp_enough_costs_no_certified_bound() -> None:
    upper = Estimate("autolip", 1.0)
    kept, cut = reconciled([upper, pair(1.25, 0.5)])
    assert kept is upper
    assert cut.value == 1.0
    assert cut.reason is not None
    assert "error" not in cut.reason or "0.5" in cut.reason
    assert bracket([kept, cut]) == (kept, cut)


def test_one_that_is_stays_a_loud_failure() -> None:
    estimates = reconciled([Estimate("autolip", 1.0), pair(1.25, 0.125)])
    with pytest.raises(BracketViolation):
        bracket(estimates)


def test_the_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def blurred(problem: Any, options: Any) -> Estimate:
        found = autolip(problem, options)
        assert found.value is not None
        return replace(pair(1.5 * found.value, math.inf))

    monkeypatch.setitem(analysis.IMPLEMENTATIONS, "gradient", blurred)
    result = analyze(shifted(1.0), {"methods": ["gradient", "autolip"]})["result"]
    assert result["lower"]["value"] == result["upper"]["value"]
    assert result["ratio"] == 1.0
    (warning,) = result["warnings"]
    assert "gradient" in warning
    assert result["estimates"][0]["reason"] in warning


def test_entries_that_are_read_by_their_place_in_memory() -> None:
    """`as_strided` counts from the start of the memory, which a row of digits shares with the rows before it."""
    graph = captured(lambda x: torch.as_strided(x, (1, 4), (4, 1), 1), (1, 6))
    asked = Problem(graph, build(graph, [0]), "2", WholeSpace(), 0, NEVER, lambda _: None)
    x = torch.arange(6, dtype=torch.float64) / 3
    y = x + torch.tensor([0, 0.1, 0, 0, 0, 0], dtype=torch.float64)
    assert 1 - 1e-12 < attained(asked, x, y).value <= 1


@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_a_distance_of_many_entries_is_rounded_up(p: Norm, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(2, 3000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * scale
    y[::3] = x[::3]
    assert MANY > 3000
    exact = distance(x, y, p)
    monkeypatch.setattr("app.lipschitz.lower.attained.MANY", 100)
    assert exact <= distance(x, y, p) <= exact * (1 + Fraction(1, 10**14))


def test_nothing_is_begun_after_the_time_that_would_outlast_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector's pair took seconds beyond the budget, in long arithmetic and then by intervals."""
    asked: list[str] = []
    monkeypatch.setattr(attained_module, "values_at", lambda *_: asked.append("digits"))
    monkeypatch.setattr(attained_module, "propagate", lambda *_: asked.append("intervals"))
    monkeypatch.setattr(pace, "SMALL", 0.0)
    monkeypatch.setattr(pace, "_current", lambda: 1e-3)
    graph = captured(torch.nn.Linear(2, 2).double(), (1, 2))
    late = Problem(graph, build(graph, [0]), "2", WholeSpace(), 0, Deadline.after(-1.0), lambda _: None)
    x = torch.zeros(2, dtype=torch.float64)
    found = attained(late, x, x + 1.0)
    assert (found.value, asked) == (0.0, [])
