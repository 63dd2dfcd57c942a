"""What products of sparse maps are off by, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from app.lipschitz.certificate.sparse_maps import Map

WIDTH, LAYERS = 10, 7
Exact = list[list[Fraction]]


def exact(matrix: np.ndarray) -> Exact:
    return [[Fraction(float(entry)) for entry in row] for row in matrix]


def times(left: Exact, right: Exact) -> Exact:
    columns = list(zip(*right, strict=True))
    return [[sum((a * b for a, b in zip(row, c, strict=True)), Fraction(0)) for c in columns] for row in left]


def apart(matrix: np.ndarray, truth: Exact) -> float:
    off = [
        [float(Fraction(float(a)) - b) for a, b in zip(x, y, strict=True)] for x, y in zip(matrix, truth, strict=True)
    ]
    return float(np.linalg.norm(np.array(off), 2))


@pytest.mark.parametrize("off", [0.0, 1e-9])
@pytest.mark.parametrize("seed", range(6))
def test_a_product_is_off_by_no_more_than_its_factors_tell(seed: int, off: float) -> None:
    """Layers, slopes between them that are known up to a little, and some rows in the end."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(WIDTH, WIDTH)) / 3.0
    found, truth = Map(sp.csr_array(first)), exact(first)
    crude = 0.0
    for _ in range(LAYERS):
        lower = np.where(rng.random(WIDTH) < 0.5, 0.1, 1.0)
        slopes = lower + off * rng.random(WIDTH)
        found = found.times_range(lower, lower + off)
        truth = times(exact(np.diag(slopes)), truth)
        stored = rng.normal(size=(WIDTH, WIDTH)) / 3.0
        wrong = rng.normal(size=(WIDTH, WIDTH))
        wrong *= off / np.linalg.norm(wrong, 2)
        layer = Map(sp.csr_array(stored), 1.001 * off)
        crude = layer.norm * (crude + found.norm * 1e-15 + off * found.norm)
        found = layer @ found
        truth = times(
            [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(exact(stored), exact(wrong), strict=True)],
            truth,
        )
    chosen = np.array([7, 2, 2])
    found, truth = found.rows(chosen), [truth[i] for i in chosen]
    assert 0.0 < apart(found.matrix.toarray(), truth) <= found.error
    assert found.error < 0.1 * crude, "products of norms say less"
