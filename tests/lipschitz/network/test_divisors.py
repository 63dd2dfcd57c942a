"""Constants of what divides by its own size, at scales from 1e-300 to 1e300, against Jacobians in 60 digits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mpmath import mp

from app.lipschitz.network.rules.normalization import Normalizer
from app.lipschitz.network.rules.scaling import RootMeanSquare, UnitVector

INDEX = torch.arange(3)[None]
ONES = torch.ones(3, dtype=torch.float64)
POINT = (1.0, -2.0, 0.5)
SCALES = [10.0**k for k in (-300, -200, -155, -100, 0, 100, 150, 154, 155, 160, 200, 300)]

LAYERS: dict[str, tuple[Any, Any]] = {
    "normalize": (UnitVector(INDEX, 0.0), lambda x: mp.sqrt(sum(a * a for a in x))),
    "rms": (RootMeanSquare(INDEX, 0.0), lambda x: mp.sqrt(sum(a * a for a in x) / 3)),
    "layer": (Normalizer(INDEX, 0.0, ONES, 0.0 * ONES), lambda x: mp.sqrt(sum((a - sum(x) / 3) ** 2 for a in x) / 3)),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", LAYERS)
def test_the_constant_is_no_less_than_the_jacobian(name: str, scale: float) -> None:
    layer, divisor = LAYERS[name]
    low = torch.tensor([a * scale for a in POINT], dtype=torch.float64)
    high = low + low.abs() * 1e-3
    with mp.workdps(60):
        x = [mp.mpf(float(a)) for a in low]
        s = divisor(x)
        found = layer.local(low, high)
        # Across the vector the map is the division alone: a direction orthogonal to x and to (1, 1, 1).
        across = [x[1] - x[2], x[2] - x[0], x[0] - x[1]]
        for p, length in (("1", sum), ("2", lambda v: mp.sqrt(sum(a * a for a in v))), ("inf", max)):
            steep = length([abs(a / s) for a in across]) / length([abs(a) for a in across])
            assert found[p] >= steep * (1 - mp.mpf(10) ** -15)
        middle = sum(x) / 3 if name == "layer" else 0
        least, most = layer.range(None, low, high)
        assert all(lo <= (a - middle) / s <= hi for lo, a, hi in zip(least.tolist(), x, most.tolist(), strict=True))
