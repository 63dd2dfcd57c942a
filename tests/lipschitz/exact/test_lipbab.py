"""Local constants of small random networks of LipBaB's shapes on its boxes: brackets, the smallest network closed.

Shapes and boxes as in Bhowmick et al., LipBaB (2021): [0, 0.1]^10 and [0, 1]^4.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from app.lipschitz.files import analyze
from tests.lipschitz.onnx_networks import mlp

CASES = [((10, 20, 15, 10, 3), 0.1), ((10, 30, 30, 3), 0.1), ((4, 5, 5, 2), 1.0), ((4, 10, 8, 2), 1.0)]
"""Widths, and the box's upper end."""


def network(widths: tuple[int, ...], seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases of numpy's normal distribution, of variance 2 over the fan-in."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(o, i)) * np.sqrt(2.0 / i) for i, o in itertools.pairwise(widths)]
    return weights, [0.1 * rng.normal(size=o) for o in widths[1:]]


def largest_norm(weights: list[np.ndarray], biases: list[np.ndarray], points: np.ndarray, order: float) -> float:
    """Of the derivatives at `(B, n)` points, in dense matrices."""
    norms = []
    for x in points:
        matrix = np.eye(len(x))
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = weight @ x + bias
            matrix = (x > 0.0)[:, None] * (weight @ matrix)
            x = np.maximum(x, 0.0)
        norms.append(np.linalg.norm(weights[-1] @ matrix, order))
    return float(max(norms))


def check(widths: tuple[int, ...], upper: float, seed: int, norm: str, *, widest: float = 1.0 + 1.1e-4) -> None:
    """The bracket is no wider, and no derivative at a point of the box is above it."""
    weights, biases = network(widths, seed)
    model = mlp(weights, biases)
    domain = {"kind": "box", "lower": 0.0, "upper": upper}
    result: dict[str, Any] = analyze(
        model, {"methods": ["autolip", "exact"], "norm": norm, "domain": domain, "budget_s": 60.0}
    )["result"]
    assert result["lower"]["value"] <= result["upper"]["value"] <= result["lower"]["value"] * widest
    points = upper * np.random.default_rng(seed).random((300, widths[0]))
    order = {"1": 1.0, "2": 2.0, "inf": np.inf}[norm]
    assert largest_norm(weights, biases, points, order) <= result["upper"]["value"] * (1.0 + 1e-9)


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_a_small_network_is_closed(norm: str) -> None:
    check((4, 5, 5, 2), 1.0, 0, norm)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["1", "2", "inf"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("widths", "upper"), CASES)
def test_networks_of_its_shapes_are_bracketed(widths: tuple[int, ...], upper: float, seed: int, norm: str) -> None:
    """Not all are closed in this time: 10-20-15-10-3 on [0, 0.1]^10 in the 1-norm stays at 1.3."""
    check(widths, upper, seed, norm, widest=2.0)
