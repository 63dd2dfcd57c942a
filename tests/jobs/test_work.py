"""What is handed on from reading a model to bounding it."""

from __future__ import annotations

from app.jobs.work import LEAST_BUDGET_S, after_reading


def test_reading_counts_towards_the_budget() -> None:
    request = {"methods": "auto", "budget_s": 10.0}
    assert after_reading(request, 4.0) == {"methods": "auto", "budget_s": 6.0}
    assert after_reading(request, 40.0)["budget_s"] == LEAST_BUDGET_S
    assert request["budget_s"] == 10.0


def test_other_questions_have_no_budget() -> None:
    assert after_reading({"inputs": None}, 4.0) == {"inputs": None}
