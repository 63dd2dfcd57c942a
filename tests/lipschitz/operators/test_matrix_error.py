"""What a product of layers is off by, against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from app.lipschitz.operators import algebra
from app.lipschitz.operators.base import LinearOperator
from app.lipschitz.operators.dense import Dense
from app.lipschitz.operators.diagonal import Diagonal
from app.lipschitz.operators.materialise import explicit_matrix, matrix_with_error
from app.lipschitz.operators.rounding import gamma

LAYERS = 7
WIDTH = 12


def chain(seed: int) -> list[LinearOperator]:
    """Layers with slopes between, as a network of settled neurons has them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    parts: list[LinearOperator] = []
    for _ in range(LAYERS):
        parts.append(Dense((WIDTH,), (WIDTH,), draw(WIDTH, WIDTH) / 3.0))
        slopes = torch.where(draw(WIDTH) > 0.0, 1.0, 0.1).double()
        parts.append(Diagonal((WIDTH,), (WIDTH,), slopes))
    return parts


def exact(parts: list[LinearOperator]) -> list[list[Fraction]]:
    product = [[Fraction(int(i == j)) for j in range(WIDTH)] for i in range(WIDTH)]
    for part in reversed(parts):
        rows = [[Fraction(float(entry)) for entry in row] for row in part.as_matrix().tolist()]
        product = [[sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0)) for column in zip(*product)]  # noqa: B905
                   for row in rows]  # fmt: skip
    return product


def apart(matrix: Tensor, truth: list[list[Fraction]]) -> float:
    """In the Frobenius norm, which is at least the 2-norm."""
    off = [[float(Fraction(float(a)) - b) for a, b in zip(row, own, strict=True)]
           for row, own in zip(matrix.tolist(), truth, strict=True)]  # fmt: skip
    return float(np.linalg.norm(np.array(off), 2))


def chained(parts: list[LinearOperator]) -> LinearOperator:
    whole = parts[-1]
    for part in reversed(parts[:-1]):
        whole = algebra.chain(part, whole)
    return whole


@pytest.mark.parametrize("seed", range(8))
def test_the_rounding_of_a_chain_is_followed(seed: int) -> None:
    parts = chain(seed)
    matrix, error = matrix_with_error(chained(parts))
    off = apart(matrix, exact(parts))
    assert 0.0 < off <= error
    columns, rows = chained(parts).absolute_sums()
    assert error < 1e-2 * gamma(chained(parts).depth) * (columns * rows) ** 0.5, "absolute sums say less"
    assert error < 1e-10 * float(torch.linalg.matrix_norm(matrix, 2))


@pytest.mark.parametrize("seed", range(4))
def test_sums_of_chains(seed: int) -> None:
    one, other = chain(seed), chain(seed + 100)
    matrix, error = matrix_with_error(algebra.add(chained(one), chained(other)))
    total = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(exact(one), exact(other), strict=True)]
    assert apart(matrix, total) <= error < 1e-10


def test_a_chain_is_the_product() -> None:
    parts = chain(0)
    folded = parts[-1]
    for part in reversed(parts[:-1]):
        folded = algebra.compose(part, folded)
    torch.testing.assert_close(explicit_matrix(chained(parts)), explicit_matrix(folded), rtol=0.0, atol=1e-12)
    assert chained(parts).error == 0.0 < folded.error
