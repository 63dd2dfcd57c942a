"""Simplification: what fuses, what stays apart, and that no rule changes the operator or its certainty."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.operators import (
    Adjoint,
    Composed,
    Convolution,
    Dense,
    Diagonal,
    Gather,
    LinearOperator,
    Reshape,
    Stack,
    Sum,
    add,
    adjoint,
    compose,
    norm,
    scale,
    stack,
)
from tests.effort import examples
from tests.lipschitz.operators.convolutions import convolution
from tests.lipschitz.operators.operator_battery import check


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(o: int, i: int, *batch: int, seed: int = 0) -> Dense:
    return Dense((*batch, i), (*batch, o), randn(o, i, seed=seed))


def diagonal(shape: tuple[int, ...], *weight: int, seed: int = 5) -> Diagonal:
    return Diagonal(shape, shape, randn(*weight, seed=seed))


def gather(n: int, index: list[int]) -> Gather:
    return Gather((n,), (len(index),), torch.tensor(index))


CONV = convolution((5, 4), randn(6, 2, 3, 3), padding=((1, 1), (1, 1)), groups=2)
PLAIN = convolution((5, 4), randn(6, 4, 3, 3), padding=((1, 1), (0, 1)), stride=(2, 1))


def fused(outer: LinearOperator, inner: LinearOperator, kind: type) -> LinearOperator:
    result = compose(outer, inner)
    assert type(result) is kind, result
    assert (result.in_shape, result.out_shape) == (inner.in_shape, outer.out_shape)
    check(result, outer.as_matrix() @ inner.as_matrix())
    return result


def test_dense_chains_fuse_unless_the_rank_is_low() -> None:
    fused(dense(4, 9), dense(9, 5, seed=1), Dense)
    fused(dense(4, 9, 1, 3), dense(9, 5, 1, 3, seed=1), Dense)
    fused(dense(20, 3), dense(3, 20, seed=1), Composed)


def test_diagonals_fold_into_matrices() -> None:
    fused(diagonal((3, 4), 4), dense(4, 5, 3), Dense)
    fused(dense(5, 4, 3), diagonal((3, 4), 1, 4), Dense)
    fused(diagonal((3, 4)), dense(4, 5, 3), Dense)
    fused(diagonal((3, 4), 3, 1), dense(4, 5, 3), Composed)
    fused(diagonal((3, 4), 3, 1), diagonal((3, 4), 4), Diagonal)


def test_batch_norm_folds_into_convolutions_on_either_side() -> None:
    fused(diagonal(CONV.out_shape, 6, 1, 1), CONV, Convolution)
    fused(CONV, diagonal(CONV.in_shape, 1, 4, 1, 1), Convolution)
    fused(diagonal(PLAIN.out_shape), PLAIN, Convolution)
    fused(diagonal(CONV.out_shape, 5, 4), CONV, Composed)


def test_batch_norm_folds_into_transposed_convolutions() -> None:
    for conv in (CONV, PLAIN):
        up = Adjoint(conv)
        fused(diagonal(up.out_shape, 4, 1, 1), up, Adjoint)
        fused(up, diagonal(up.in_shape, 6, 1, 1), Adjoint)


def test_pointwise_convolutions_fold_into_their_neighbours() -> None:
    after = convolution(PLAIN.out_shape[2:], randn(3, 6, 1, 1, seed=2))
    fused(after, PLAIN, Convolution)
    before = convolution((5, 4), randn(4, 3, 1, 1, seed=3))
    fused(PLAIN, before, Convolution)
    fused(convolution(CONV.out_shape[2:], randn(3, 6, 1, 1)), CONV, Composed)
    fused(PLAIN, convolution((5, 4), randn(4, 9, 1, 1)), Composed)
    fused(Adjoint(before), Adjoint(PLAIN), Adjoint)


def test_gathers_merge_and_identities_vanish() -> None:
    fused(gather(3, [2, -1, 0, 0]), gather(4, [1, 3, -1]), Gather)
    permutation = gather(3, [2, 0, 1])
    assert isinstance(compose(gather(3, [1, 2, 0]), permutation), Reshape)
    fused(Adjoint(gather(4, [0, 0, 1, 3])), Adjoint(gather(4, [1, 1, 2, -1])), Adjoint)


def test_reshapes_between_layers_vanish_and_at_the_ends_stay() -> None:
    flat = Reshape((1, 3, 4), (1, 12))
    composite = compose(dense(5, 12, 1), compose(flat, diagonal((1, 3, 4), 3, 1)))
    assert isinstance(composite, Composed)
    assert [type(part) for part in composite.parts] == [Dense, Diagonal]
    assert compose(Reshape((12,), (3, 4)), Reshape((1, 12), (12,))).out_shape == (3, 4)
    ends = compose(Reshape((1, 5), (5,)), compose(dense(5, 12, 1), flat))
    assert (ends.in_shape, ends.out_shape) == ((1, 3, 4), (5,))
    assert norm(ends, "2").upper == norm(dense(5, 12, 1), "2").upper


def test_constants_move_outwards_past_gathers() -> None:
    pool = compose(diagonal((2,)), Adjoint(gather(2, [0, 0, 1, 1])))
    merged = compose(gather(2, [1, 0]), pool)
    assert isinstance(merged, Composed)
    assert [type(part) for part in merged.parts] == [Diagonal, Gather, Adjoint]
    check(merged, gather(2, [1, 0]).as_matrix() @ pool.as_matrix())
    assert norm(merged, "2").method == "exact"
    fused(dense(3, 2), pool, Composed)


@pytest.mark.parametrize("c", [-1.0, 0.5, 0.3, 0.0])
def test_scaling(c: float) -> None:
    for operator in (dense(3, 4), CONV, Adjoint(PLAIN), gather(3, [0, 0]), Stack((dense(2, 4), dense(3, 4)))):
        check(scale(operator, c), c * operator.as_matrix())
    assert scale(dense(3, 4), -1.0).error == 0.0
    assert scale(dense(3, 4), 0.3).error > 0.0


def test_sums() -> None:
    total = add(dense(3, 4), dense(3, 4, seed=1), -1.0)
    assert isinstance(total, Dense)
    check(total, randn(3, 4) - randn(3, 4, seed=1))
    other = compose(dense(3, 1), dense(1, 4, seed=3))
    mixed = add(add(dense(3, 4), other), dense(3, 4, seed=2))
    assert isinstance(mixed, Sum)
    assert len(mixed.parts) == 2
    check(mixed, randn(3, 4) + other.as_matrix() + randn(3, 4, seed=2))
    kernels = add(CONV, scale(CONV, 2.0))
    assert isinstance(kernels, Convolution)
    check(kernels, 3.0 * CONV.as_matrix())
    with pytest.raises(ValueError, match="add"):
        add(dense(3, 4), dense(4, 3))


def test_sums_of_diagonals_are_diagonals() -> None:
    """The identity is one of them; a sum that is not rounded is exact, one that cancels is zero."""
    identity, scalar = Reshape((2, 3), (2, 3)), torch.tensor(0.5, dtype=torch.float64)
    none = add(identity, identity, -1.0)
    assert (type(none), none.error, float(none.as_matrix().abs().max())) == (Diagonal, 0.0, 0.0)
    row = Diagonal((2, 3), (2, 3), randn(3))
    total = add(add(identity, row), Diagonal((2, 3), (2, 3), scalar))
    assert isinstance(total, Diagonal)
    check(total, 1.5 * torch.eye(6, dtype=torch.float64) + row.as_matrix())
    assert total.error > 0.0
    assert add(identity, Diagonal((2, 3), (2, 3), scalar)).error == 0.0
    small = add(identity, Diagonal((2, 3), (2, 3), torch.tensor(2.0**-60, dtype=torch.float64)))
    assert small.error >= 2.0**-60


def test_stacks() -> None:
    merged = stack([dense(3, 4, 1), dense(2, 4, 1, seed=1)])
    check(merged, torch.cat([randn(3, 4), randn(2, 4, seed=1)]))
    assert not isinstance(merged, Stack)
    assert merged.in_shape == (1, 4)
    kept = stack([dense(3, 4), gather(4, [0, 1])])
    assert isinstance(kept, Stack)
    check(kept, torch.cat([randn(3, 4), gather(4, [0, 1]).as_matrix()]))
    assert stack([dense(3, 4, 2)]).out_shape == (6,)


def test_adjoints() -> None:
    operators = (
        dense(3, 4),
        CONV,
        diagonal((3,), 3),
        Reshape((2, 3), (6,)),
        compose(dense(20, 2), dense(2, 20)),
    )
    for operator in operators:
        transposed = adjoint(operator)
        assert (transposed.in_shape, transposed.out_shape) == (operator.out_shape, operator.in_shape)
        check(transposed, operator.as_matrix().T)
        check(adjoint(transposed), operator.as_matrix())


def rational(matrix: torch.Tensor) -> list[list[Fraction]]:
    return [[Fraction(float(entry)) for entry in row] for row in matrix]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31), st.integers(-520, 400))
@examples(60)
def test_the_error_of_a_fold_covers_its_rounding(o: int, k: int, i: int, seed: int, exponent: int) -> None:
    """Exact rational products: the 1- and inf-norms of folded - exact stay within `error`."""
    left = torch.randn(o, k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2.0**exponent
    right = randn(k, i, seed=seed % 1000) * 2.0 ** min(exponent, 0)
    weight = randn(k, seed=7)
    product = compose(
        Dense((k,), (o,), left),
        compose(Diagonal((k,), (k,), weight), Dense((i,), (k,), right)),
    )
    if not isinstance(product, Dense):
        return
    a, b, w, folded = (
        rational(left),
        rational(right),
        [Fraction(float(x)) for x in weight],
        rational(product.matrix),
    )
    exact = [[sum(a[r][j] * w[j] * b[j][c] for j in range(k)) for c in range(i)] for r in range(o)]
    gaps = [[abs(folded[r][c] - exact[r][c]) for c in range(i)] for r in range(o)]
    assert max(sum(row) for row in gaps) <= Fraction(product.error)
    assert max(sum(column) for column in zip(*gaps, strict=True)) <= Fraction(product.error)


def test_a_fold_that_would_overflow_is_given_up() -> None:
    huge = Dense((2,), (2,), torch.full((2, 2), 1e200, dtype=torch.float64))
    assert isinstance(compose(huge, huge), Composed)
    assert norm(compose(huge, huge), "2").upper >= 4e300


def test_sizes_must_match() -> None:
    with pytest.raises(ValueError, match="compose"):
        compose(dense(3, 4), dense(3, 4))


def test_stacks_of_gathers_become_one_gather() -> None:
    first, second = Gather((4,), (2,), torch.tensor([3, -1])), Reshape((4,), (2, 2))
    stacked = stack([first, second])
    assert isinstance(stacked, Gather)
    assert stacked.index.tolist() == [3, -1, 0, 1, 2, 3]


def test_stacks_share_their_inner_factor() -> None:
    shared = Dense((5,), (4,), torch.randn(4, 5, dtype=torch.float64))
    halves = [compose(Gather((4,), (2,), torch.tensor(index)), shared) for index in ([0, 1], [2, 3])]
    stacked = stack(halves)
    assert torch.allclose(stacked.as_matrix(), shared.matrix)
    assert norm(stacked, "2").upper <= norm(shared, "2").upper
