"""`auto` goes from cheap to tight, and stops when nothing is left to gain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.lipschitz.analysis import run_method
from app.lipschitz.artifact import from_bytes
from app.lipschitz.deadline import NEVER
from app.lipschitz.files import analyze
from app.lipschitz.formulation import make_problem
from app.lipschitz.ingest.pipeline import capture_artifact
from app.lipschitz.portfolio import DEEP_SEARCH, to_come
from app.lipschitz.request import Request
from tests.lipschitz.onnx_networks import mlp, published


def auto(data: bytes, **fields: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    result = analyze(data, fields)["result"]
    return result, {record["method"]: record for record in result["estimates"]}


def test_a_small_network_closes() -> None:
    result, records = auto(mlp(*published("exlipbab_iris")))
    assert result["upper"]["method"] == "exact"
    assert result["ratio"] <= 1.0002
    assert records["seqlip"]["status"] == "skipped"


def test_it_stops_when_the_bracket_is_closed() -> None:
    """Weights above zero: LipSDP meets the witness, and branch and bound has nothing to do."""
    result, records = auto(mlp(*published("lipsdp_random")))
    assert result["ratio"] == pytest.approx(1.0, abs=1e-6)
    assert "closed" in records["exact"]["reason"]


def test_it_stops_when_the_budget_is_spent() -> None:
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=(200, 200)) / 14 for _ in range(3)]
    _, records = auto(mlp(weights), budget_s=1e-6)
    assert records["autolip"]["status"] == "ok"
    assert all("budget" in records[name]["reason"] for name in ("lipsdp", "seqlip", "exact"))


def test_exact_is_left_to_small_networks() -> None:
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=shape) for shape in ((8, 100), (8, 8), (3, 8))]
    _, records = auto(mlp(weights))
    assert "ask for it by name" in records["exact"]["reason"]


def test_methods_that_will_not_run_have_no_share_of_the_time() -> None:
    data, fields = mlp(*published("exlipbab_iris")), {"domain": {"kind": "box", "lower": 0.0, "upper": 1.0}}
    request = Request.parse(fields | {"norm": "inf"})
    problem = make_problem(from_bytes(capture_artifact(data, None)), request, NEVER, lambda _: None)
    autolip = run_method(problem, request, "autolip")
    ends = [to_come(problem, request, position, [autolip]) for position in range(1, len(request.methods))]
    assert all("seqlip" not in rest[1:] and rest[-1] == DEEP_SEARCH for rest in ends)
    assert any("lipsdp" in rest[1:] for rest in ends)
    asked = Request.parse(fields | {"norm": "inf", "methods": ["autolip", "seqlip"]})
    assert list(to_come(problem, asked, 0, [])) == ["autolip", "seqlip"]
