"""The front door for two models."""

import io
from typing import Any

import numpy as np
import pytest

from app.contract.comparison import ComparisonView, DecisionRow
from app.lipschitz.comparison import decisions
from app.lipschitz.comparison.compare import compare
from app.lipschitz.errors import LipschitzError
from app.lipschitz.ingest import capture_artifact
from tests.lipschitz.onnx_networks import mlp

BOX = {"kind": "box", "lower": -1, "upper": 1}


def artifacts(change: float = 1e-3) -> tuple[bytes, bytes]:
    draw = np.random.default_rng(0)
    weights = [draw.normal(size=(6, 3)), draw.normal(size=(3, 6))]
    changed = [weights[0], weights[1] + change * draw.normal(size=(3, 6))]
    return capture_artifact(mlp(weights), None), capture_artifact(mlp(changed), None)


def rows(count: int = 12) -> bytes:
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).normal(size=(count, 3)))
    return file.getvalue()


def compared(fields: dict[str, Any], change: float = 1e-3, dataset: bytes | None = None) -> ComparisonView:
    answer = compare(*artifacts(change), {"methods": ["autolip"], "budget_s": 20, **fields}, dataset=dataset)
    assert isinstance(answer.result, ComparisonView)
    return answer.result


def test_both_brackets_are_brackets() -> None:
    result = compared({"domain": BOX, "methods": ["autolip", "gradient"]})
    apart, constant = result.difference, result.lipschitz_of_difference
    assert None not in (apart.upper, apart.lower, constant.upper, constant.lower)
    assert 0 < apart.lower.value <= apart.upper.value < 0.1
    assert 0 < constant.lower.value <= constant.upper.value
    assert [layer.corresponds for layer in result.layers] == [True]
    assert not result.identical


def test_the_whole_space_has_a_reason_in_place_of_a_bound() -> None:
    result = compared({})
    assert result.difference.upper is None
    assert "box or a ball" in (result.difference.reason or "")
    assert result.lipschitz_of_difference.upper is not None


@pytest.mark.parametrize(
    ("gate", "verdict"),
    [({"max_difference": 1.0}, "pass"), ({"max_difference": 1e-9}, "fail"), ({"min_kept_share": 0.5}, "pass")],
)
def test_gates(gate: dict[str, float], verdict: str) -> None:
    assert compared({"domain": BOX, "gate": gate}, dataset=rows()).verdict == verdict


def test_a_gate_between_the_ends_is_inconclusive() -> None:
    result = compared({"domain": BOX})
    assert result.difference.upper
    assert result.difference.lower
    middle = (result.difference.upper.value + result.difference.lower.value) / 2
    assert compared({"domain": BOX, "gate": {"max_difference": middle}}).verdict == "inconclusive"


@pytest.mark.parametrize("radius", [None, 1e-3])
def test_decisions_are_counted(radius: float | None) -> None:
    told = compared({"radius": radius}, change=1e-4, dataset=rows()).decisions
    assert told is not None
    assert told.kept + told.changed + told.open == 12
    assert told.kept > 6


def test_a_decision_that_changes_is_witnessed_by_both_models() -> None:
    told = compared({}, change=3.0, dataset=rows(40)).decisions
    assert told is not None
    changed = [row for row in told.rows if row.decision == "changed"]
    assert changed
    assert all(row.a is not None and row.b is not None and row.a != row.b for row in changed)


def test_witnesses_of_rows_keep_the_result_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "MOST_NUMBERS", 7)
    found = [DecisionRow(index=i, decision="changed", a=0, b=0, witness=[0.0] * 3) for i in range(4)]
    assert [row.witness is not None for row in decisions._short(found)] == [True, True, False, False]


def test_one_function_is_identical_without_any_method() -> None:
    first, _ = artifacts()
    result = compare(first, first, {"gate": {"max_difference": 1e-300}}, dataset=rows()).result
    assert isinstance(result, ComparisonView)
    assert result.identical
    assert result.verdict == "pass"
    assert result.estimates == []
    assert result.decisions is not None
    assert result.decisions.kept == 12


def test_the_witness_attains_what_is_said() -> None:
    answer = compare(*artifacts(), {"domain": BOX, "methods": ["autolip"]})
    assert answer.witness is not None
    with np.load(io.BytesIO(answer.witness)) as file:
        assert set(file.files) == {"value", "x.x"}
        assert bool((np.abs(file["x.x"]) <= 1).all())
        assert float(file["value"]) == answer.result.lower.value  # type: ignore[union-attr]


def test_other_shapes_are_refused() -> None:
    other = capture_artifact(mlp([np.ones((3, 4))]), None)
    with pytest.raises(LipschitzError) as refusal:
        compare(artifacts()[0], other, {})
    assert refusal.value.slug == "incomparable-models"
