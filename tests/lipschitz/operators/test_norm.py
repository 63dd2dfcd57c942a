"""The strategies for products, sums and stacks: certified against dense products, exact where promised."""

import numpy as np
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
    Stack,
    Sum,
    compose,
    norm,
)
from app.lipschitz.operators import norm as norm_function
from app.lipschitz.operators.bottleneck import bottleneck_norm
from tests.effort import examples
from tests.lipschitz.operators.convolutions import convolution, convolutions
from tests.lipschitz.operators.operator_battery import check_norms, dense_norms


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(o: int, i: int, seed: int = 0) -> Dense:
    return Dense((i,), (o,), randn(o, i, seed=seed))


@given(convolutions(2), st.integers(1, 5), st.booleans(), st.integers(0, 1000))
@examples(30)
def test_products_with_convolutions(c: Convolution, rows: int, transposed: bool, seed: int) -> None:
    middle: LinearOperator = Adjoint(c) if transposed else c
    head = dense(rows, middle.out_size, seed)
    scaling = Diagonal(middle.in_shape, middle.in_shape, randn(*middle.in_shape, seed=seed))
    reference = head.as_matrix() @ middle.as_matrix() @ scaling.as_matrix()
    check_norms(compose(head, compose(middle, scaling)), reference)


def test_isometries_at_the_ends_are_exact_factors() -> None:
    matrix = dense(30, 20)
    repeat = Gather((30,), (90,), torch.arange(30).repeat(3))
    pool = Composed((Diagonal((20,), (20,), randn()), Adjoint(Gather((20,), (80,), torch.arange(80) // 4))))
    want = norm(matrix, "2").upper * 3**0.5 * 2.0 * abs(float(randn()))
    bound = norm(Composed((repeat, matrix, *pool.parts)), "2")
    assert bound.upper == pytest.approx(want, rel=1e-14)
    assert bound.lower <= want * (1 + 1e-14)
    assert bound.method == "gram"


def test_a_narrow_middle_is_computed_there() -> None:
    parts = (dense(70, 3), dense(3, 90, seed=1))
    reference = randn(70, 3) @ randn(3, 90, seed=1)
    want = dense_norms(reference)["2"]
    value = bottleneck_norm(parts)
    assert value is not None
    assert want * (1 - 1e-13) <= value <= want * (1 + 1e-9)
    assert bottleneck_norm((dense(3, 70), dense(70, 90, seed=1))) is None


def test_a_low_rank_product_of_large_layers() -> None:
    left, right = randn(4000, 3), randn(3, 5000, seed=1)
    product = Composed((Dense((3,), (4000,), left), Dense((5000,), (3,), right)))
    core = np.linalg.qr(left.numpy())[1] @ right.numpy()
    want = float(np.linalg.svd(core, compute_uv=False)[0])
    bound = norm(product, "2")
    assert bound.method == "bottleneck"
    assert want * (1 - 1e-13) <= bound.upper <= want * (1 + 1e-9)
    assert want * (1 - 1e-5) <= bound.lower <= want * (1 + 1e-13)


def test_large_sums_and_stacks_follow_their_parts() -> None:
    parts = tuple(convolution((64, 64), randn(2, 1, 3, 3, seed=s), padding=((1, 1), (1, 1))) for s in (1, 2))
    bounds = [norm(part, "2") for part in parts]
    total = norm(Sum(parts), "2")
    assert total.method == "sum"
    assert total.upper == pytest.approx(sum(b.upper for b in bounds), rel=1e-14)
    stacked = norm(Stack(parts), "2")
    assert stacked.method == "stack"
    assert stacked.upper == pytest.approx(np.hypot(bounds[0].upper, bounds[1].upper), rel=1e-14)
    assert max(b.lower for b in bounds) <= stacked.lower <= stacked.upper


def test_cancellation_in_small_sums_is_seen() -> None:
    a = dense(12, 9)
    total = Sum((a, Dense((9,), (12,), -a.matrix + 1e-3)))
    want = 1e-3 * (12 * 9) ** 0.5
    assert want * (1 - 1e-10) <= norm(total, "2").upper <= want * (1 + 1e-9)
    assert norm(total, "inf").upper == pytest.approx(9e-3, rel=1e-9)
    assert norm(total, "1").upper == pytest.approx(12e-3, rel=1e-9)


def test_extreme_scales_in_a_product_stay_certified() -> None:
    tiny = Dense((3,), (3,), torch.eye(3, dtype=torch.float64) * 1e-200)
    huge = Dense((3,), (3,), torch.eye(3, dtype=torch.float64) * 1e200)
    for p in ("1", "2", "inf"):
        assert norm(Composed((huge, huge, tiny, tiny)), p).upper >= 1.0 - 1e-12
        bound = norm(Composed((huge, tiny, tiny, huge)), p)
        assert bound.upper >= 1.0 - 1e-12
        assert bound.lower <= 1.0 + 1e-12


def test_empty_operators_have_norm_zero() -> None:
    empty = Gather((0,), (3,), torch.full((3,), -1))
    assert norm(empty, "2").upper == 0.0


def test_an_unknown_operator_is_refused() -> None:
    class Foreign(LinearOperator):
        def mv(self, x: torch.Tensor) -> torch.Tensor:
            return x

        def majorant(self) -> LinearOperator:
            return self

    for p in ("1", "2", "inf"):
        with pytest.raises(NotImplementedError, match="Foreign"):
            norm_function(Foreign((2,), (2,)), p)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device() -> None:
    c = convolution((12, 12), randn(16, 8, 3, 3), padding=((1, 1), (1, 1)), stride=(2, 1))
    matrix = dense(300, 250)
    on_device = convolution((12, 12), c.kernel.cuda(), padding=c.padding, stride=c.stride)
    for here, there in ((c, on_device), (matrix, Dense((250,), (300,), matrix.matrix.cuda()))):
        for p in ("1", "2", "inf"):
            want, got = norm(here, p), norm(there, p)
            assert got.upper == pytest.approx(want.upper, rel=1e-9)
            assert got.upper >= dense_norms(here.as_matrix())[p] * (1 - 1e-13)
            assert got.lower == pytest.approx(want.lower, rel=1e-6)
