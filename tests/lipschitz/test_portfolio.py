"""`auto` goes from cheap to tight, and stops when nothing is left to gain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.lipschitz.files import analyze
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
