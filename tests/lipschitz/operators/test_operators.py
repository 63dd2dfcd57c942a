"""Every operator class against its dense matrix."""

import numpy as np
import pytest
import torch

from app.lipschitz.operators import (
    Adjoint,
    Composed,
    Dense,
    Diagonal,
    Gather,
    Reshape,
    Stack,
    Sum,
    frobenius,
    norm,
    power_method,
)
from tests.lipschitz.operators.operator_battery import check


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_reshape() -> None:
    check(Reshape((2, 3), (6,)), torch.eye(6, dtype=torch.float64), excess=0.0, sum_excess=1e-15)
    with pytest.raises(ValueError, match="reshape"):
        Reshape((2, 3), (5,))


@pytest.mark.parametrize(("o", "i"), [(1, 1), (1, 7), (7, 1), (5, 9), (30, 12), (60, 60)])
def test_dense_on_the_last_dimension(o: int, i: int) -> None:
    matrix = randn(o, i)
    check(Dense((i,), (o,), matrix), matrix)
    repeated = torch.kron(torch.eye(3, dtype=torch.float64), matrix)
    check(Dense((1, 3, i), (1, 3, o), matrix), repeated)


def test_dense_with_one_matrix_per_block() -> None:
    matrix = randn(3, 4, 5)
    blocks = [torch.kron(torch.eye(2, dtype=torch.float64), block) for block in matrix]
    check(Dense((3, 2, 5), (3, 2, 4), matrix), torch.block_diag(*blocks))


@pytest.mark.parametrize(
    ("rows", "stacked"),
    [((), False), ((1,), False), ((1, 1), False), ((3,), False), ((1,), True), ((1, 1), True), ((3,), True)],
)
def test_a_dense_matrix_is_its_matrix(rows: tuple[int, ...], stacked: bool) -> None:
    matrix = torch.randn(*(rows[:1] if stacked else ()), 4, 5, dtype=torch.float64)
    operator = Dense((*rows, 5), (*rows, 4), matrix)
    units = torch.eye(operator.in_size, dtype=torch.float64)
    assert torch.equal(operator.as_matrix(), operator.mv(units).T)


@pytest.mark.parametrize(
    ("index", "size"),
    [([2, 0, 1], 3), ([0, 0, 0, 1], 2), ([-1, 1, -1], 3), ([-1, -1], 2), ([1, 1, -1, 0], 4)],
)
def test_gather(index: list[int], size: int) -> None:
    matrix = torch.zeros(len(index), size, dtype=torch.float64)
    for row, column in enumerate(index):
        if column >= 0:
            matrix[row, column] = 1.0
    gather = Gather((size,), (len(index),), torch.tensor(index))
    check(gather, matrix)
    check(Adjoint(gather), matrix.T)


def test_gather_norm_is_the_root_of_the_multiplicity() -> None:
    gather = Gather((2,), (5,), torch.tensor([0, 0, 0, 0, 1]))
    assert norm(gather, "2").upper == 2.0
    assert norm(gather, "inf").upper == 1.0
    assert norm(gather, "1").upper == pytest.approx(4.0, rel=1e-14)


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 1), (4,), ()])
def test_diagonal(shape: tuple[int, ...]) -> None:
    weight = randn(*shape)
    entries = weight.expand(2, 3, 4).flatten()
    check(Diagonal((2, 3, 4), (2, 3, 4), weight), torch.diag(entries))


def test_composites() -> None:
    a, b, c = randn(6, 8), randn(8, 5, seed=1), randn(6, 5, seed=2)
    product = Composed((Dense((8,), (6,), a), Dense((5,), (8,), b)))
    check(product, a @ b)
    check(Sum((product, Dense((5,), (6,), c))), a @ b + c)
    check(Stack((product, Dense((5,), (6,), c))), torch.cat([a @ b, c]))
    check(Adjoint(Stack((product, Dense((5,), (6,), c)))), torch.cat([a @ b, c]).T)


def test_errors_of_the_parts_reach_every_norm() -> None:
    a, b = randn(4, 4), randn(4, 4, seed=1)
    exact = Composed((Dense((4,), (4,), a), Dense((4,), (4,), b)))
    vague = Composed((Dense((4,), (4,), a, 1e-3), Dense((4,), (4,), b, 1e-3)))
    for p in ("1", "2", "inf"):
        sizes = [float(torch.linalg.matrix_norm(m, {"1": 1, "2": 2, "inf": torch.inf}[p])) for m in (a, b)]
        change = 1e-3 * sum(sizes)
        assert norm(vague, p).upper >= min(norm(exact, p).upper + change, (sizes[0] + 1e-3) * (sizes[1] + 1e-3))
        assert norm(vague, p).lower <= norm(exact, p).lower - change
    assert exact.error == 0.0


def test_wrong_shapes_and_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="matrix"):
        Dense((3,), (4,), randn(3, 4))
    with pytest.raises(ValueError, match="float64"):
        Dense((3,), (4,), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="finite"):
        Dense((1,), (1,), torch.full((1, 1), float("nan"), dtype=torch.float64))
    with pytest.raises(ValueError, match="finite"):
        Diagonal((2,), (2,), torch.tensor([1.0, float("inf")], dtype=torch.float64))
    with pytest.raises(ValueError, match="outside"):
        Gather((2,), (1,), torch.tensor([2]))
    with pytest.raises(ValueError, match="broadcast"):
        Diagonal((2,), (2,), randn(3))
    with pytest.raises(ValueError, match="compose"):
        Composed((Dense((3,), (4,), randn(4, 3)), Dense((3,), (4,), randn(4, 3))))


def test_frobenius_of_single_layers_is_exact() -> None:
    matrix = randn(3, 4, 5)
    dense = Dense((3, 2, 5), (3, 2, 4), matrix)
    want = float(np.linalg.norm(dense.as_matrix().numpy()))
    assert want * (1 - 1e-14) <= frobenius(dense) <= want * (1 + 1e-12)
    diagonal = Diagonal((2, 3), (2, 3), randn(3))
    want = float(np.linalg.norm(diagonal.as_matrix().numpy()))
    assert want * (1 - 1e-14) <= frobenius(diagonal) <= want * (1 + 1e-12)


def test_the_power_method_underestimates_and_converges() -> None:
    matrix = randn(40, 30)
    dense = Dense((30,), (40,), matrix)
    want = float(np.linalg.svd(matrix.numpy(), compute_uv=False)[0])
    assert power_method(dense, 3) < want
    assert power_method(dense, 500) == pytest.approx(want, rel=1e-9)
    assert power_method(Dense((2,), (2,), torch.zeros(2, 2, dtype=torch.float64)), 5) == 0.0
