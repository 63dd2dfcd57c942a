"""What every linear operator must satisfy, checked from the operator and a dense reference."""

import math

import numpy as np
import torch

from app.lipschitz.operators import LinearOperator, frobenius, norm

# What the reference itself may be off by: LAPACK's singular values and sums of a few hundred terms.
REFERENCE = 1e-13


def dense_norms(matrix: torch.Tensor) -> dict[str, float]:
    absolute = matrix.abs()
    return {
        "1": float(absolute.sum(0).max()),
        "2": float(np.linalg.svd(matrix.cpu().numpy(), compute_uv=False)[0]),
        "inf": float(absolute.sum(1).max()),
    }


def check_linear_algebra(operator: LinearOperator, reference: torch.Tensor) -> None:
    """mv, rmv, as_matrix and majorant against the matrix `(m, n)`."""
    assert (operator.out_size, operator.in_size) == tuple(reference.shape)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, operator.in_size, dtype=torch.float64, generator=generator)
    y = torch.randn(3, operator.out_size, dtype=torch.float64, generator=generator)
    size = max(1e-300, float(reference.abs().max()))
    torch.testing.assert_close(operator.mv(x) / size, x @ reference.T / size, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(operator.rmv(y) / size, y @ reference / size, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(operator.as_matrix() / size, reference / size, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(LinearOperator.rmv(operator, y) / size, operator.rmv(y) / size)
    majorant = operator.majorant().as_matrix()
    assert bool((majorant >= reference.abs() * (1 - 1e-12)).all())
    columns, rows = operator.absolute_sums()
    assert columns >= float(majorant.sum(0).max()) * (1 - REFERENCE)
    assert rows >= float(majorant.sum(1).max()) * (1 - REFERENCE)


def check_norms(
    operator: LinearOperator,
    reference: torch.Tensor,
    *,
    excess: float = 1e-9,
    gap: float = 1e-6,
    sum_excess: float = 1e-12,
) -> None:
    """Upper bounds never below the dense norms and within `excess`; lower bounds within `gap` below."""
    # What rounding may leave where entries cancel.
    slack = 1e-12 * max(operator.absolute_sums()) + 1e-300
    for p, want in dense_norms(reference).items():
        bound = norm(operator, p)
        allowed, short = (excess, gap) if p == "2" else (sum_excess, 1e-12)
        assert bound.upper >= want * (1 - REFERENCE), (p, bound, want)
        assert bound.lower <= want * (1 + REFERENCE), (p, bound, want)
        assert bound.lower <= bound.upper
        assert bound.upper <= want * (1 + allowed) + slack, (p, bound, want)
        if math.isfinite(short):
            assert bound.lower >= want * (1 - short) - slack, (p, bound, want)
    entries = float(torch.linalg.matrix_norm(reference / max(1e-300, float(reference.abs().max()))))
    assert frobenius(operator) >= entries * float(reference.abs().max()) * (1 - REFERENCE)


def check(operator: LinearOperator, reference: torch.Tensor, **tolerances: float) -> None:
    check_linear_algebra(operator, reference)
    check_norms(operator, reference, **tolerances)
