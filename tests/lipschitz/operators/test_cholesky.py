"""A factor is believed where its residual is that of substitution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from app.lipschitz.operators.cholesky import factorises, is_factor


def definite(dtype: torch.dtype, n: int, shift: float = 1e-8) -> Tensor:
    a = torch.randn(3, n, n, dtype=dtype, generator=torch.Generator().manual_seed(n))
    half = (a @ a.mH / n).tril(-1)
    return half + half.mH + torch.diag_embed((a.abs().square().sum(2) / n + shift).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("n", [1, 2, 30, 150])
def test_substitution_passes_and_less_precision_does_not(dtype: torch.dtype, n: int) -> None:
    matrix = definite(dtype, n)
    factor = torch.linalg.cholesky(matrix)
    assert is_factor(matrix, factor).all()
    assert is_factor(1e-120 * matrix, 1e-60 * factor).all()
    single = torch.complex64 if dtype.is_complex else torch.float32
    assert not is_factor(matrix, torch.linalg.cholesky(definite(dtype, n, 1e-3)).to(single).to(dtype)).any()


def test_one_entry_of_one_matrix_is_enough() -> None:
    matrix = definite(torch.float64, 30)
    factor = torch.linalg.cholesky(matrix)
    factor[1, 29, 3] += 1e-12
    factor[2, 5, 5] = torch.nan
    assert is_factor(matrix, factor).tolist() == [True, False, False]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_definite_matrices_have_one(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    matrix = definite(torch.float64, 200).to(device)
    matrix[1] -= 10.0 * torch.eye(200, dtype=torch.float64, device=device)
    assert factorises(matrix).tolist() == [True, False, True]
