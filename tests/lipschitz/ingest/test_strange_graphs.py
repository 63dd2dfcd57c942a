"""Valid graphs of strange shapes: a bracket, or a refusal or reason by name; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.lipschitz.errors import ConversionMismatch, LipschitzError
from app.lipschitz.files import analyze
from tests.lipschitz.ingest.strange_graphs import strange

FIELDS = {
    "methods": ["autolip", "seqlip", "lipsdp", "exact", "gradient"],
    "options": {"gradient": {"seconds": 0.02}, "exact": {"seconds": 0.1}},
    "budget_s": 2,
}


def require_a_word(seed: int) -> bool:
    """Whether a bracket came out."""
    model, steps = strange(seed)
    try:
        result = analyze(model, FIELDS)["result"]
    except LipschitzError as error:
        refusal = error
    else:
        return require_reasons(result, f"{seed}: {steps}")
    assert not isinstance(refusal, ConversionMismatch), f"{seed}: {steps}: {refusal.detail}"
    assert refusal.detail
    assert "a defect of Lipserve" not in refusal.detail, f"{seed}: {steps}: {refusal.detail}"
    return False


def require_reasons(result: dict[str, Any], name: str) -> bool:
    """The same of an answer."""
    for record in result["estimates"]:
        assert record["status"] in ("ok", "skipped"), f"{name}: {record['reason']}"
        assert record["status"] == "ok" or record["reason"]
        assert record["value"] is not None or record["reason"]
    assert result["upper"] is not None or result["warnings"], name
    return result["upper"] is not None


FAILED_ONCE = [7, 32, 61, 69, 120, 134, 147]
"""Averages of padding, no dimensions, constants alone."""


@pytest.mark.parametrize(
    "seeds", [[*FAILED_ONCE, *range(200, 207)], pytest.param(range(207, 233), marks=pytest.mark.slow)]
)
def test_strange_graphs(seeds: Sequence[int]) -> None:
    assert sum(require_a_word(seed) for seed in seeds) > 0.75 * len(seeds)


@pytest.mark.slow
def test_many_strange_graphs() -> None:
    assert sum(require_a_word(seed) for seed in range(300)) > 240
