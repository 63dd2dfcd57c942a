"""Signs that are told without rounding."""

from __future__ import annotations

import torch

from app.lipschitz.jacobian.signs import Signs
from app.lipschitz.network.intervals import Interval


def test_an_end_that_is_no_number_rules_no_sign_out() -> None:
    lower, upper = torch.tensor([torch.nan, 0.0, -1.0]), torch.tensor([1.0, torch.nan, 0.0])
    found = Signs.of(Interval(lower.double(), upper.double()))
    assert found.above.tolist() == [True, True, False]
    assert found.below.tolist() == [True, False, True]
