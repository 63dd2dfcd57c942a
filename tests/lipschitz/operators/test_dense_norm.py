"""The certified spectral norm of matrices: never below, close above, whatever the spectrum or scale."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.operators.dense_norm import spectral_norm
from app.lipschitz.operators.gram import has_factor, lanczos_pairs, proved_eigenvalue, verified_level
from tests.effort import examples

RNG = np.random.default_rng(0)


def with_singular_values(values: np.ndarray, m: int, n: int) -> torch.Tensor:
    u = np.linalg.qr(RNG.standard_normal((m, len(values))))[0]
    v = np.linalg.qr(RNG.standard_normal((n, len(values))))[0]
    return torch.from_numpy(u * values @ v.T)


def check(matrix: torch.Tensor, *, excess: float = 1e-9) -> None:
    want = float(np.linalg.svd(matrix.numpy(), compute_uv=False)[0])
    upper, lower = spectral_norm(matrix.unsqueeze(0))
    assert want * (1 - 1e-13) <= upper <= want * (1 + excess)
    assert want * (1 - 1e-8) <= lower <= want * (1 + 1e-13)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (2, 50), (100, 100), (300, 250), (784, 100), (250, 1000)])
def test_random_matrices(m: int, n: int) -> None:
    check(torch.from_numpy(RNG.standard_normal((m, n))))


@pytest.mark.slow
@pytest.mark.parametrize("n", [1000, 1500])
def test_larger_random_matrices(n: int) -> None:
    check(torch.from_numpy(RNG.standard_normal((n, n))))


@pytest.mark.parametrize(
    "values",
    [
        np.ones(40),
        np.linspace(1.0, 1.0 + 1e-10, 40),
        np.concatenate([np.full(20, 3.0), np.geomspace(1e-12, 1.0, 20)]),
        np.array([5.0]),
        np.array([1.0, 1.0 - 1e-14]),
        np.geomspace(1e-200, 1.0, 30),
    ],
    ids=["orthogonal", "clustered", "plateau", "rank one", "double", "graded"],
)
@pytest.mark.parametrize("size", [60, 230])
def test_spectra(values: np.ndarray, size: int) -> None:
    check(with_singular_values(values, size, size + 7))


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e-20, 1e20, 1e150, 1e300])
def test_scales(scale: float) -> None:
    matrix = RNG.standard_normal((20, 30))
    want = float(np.linalg.svd(matrix, compute_uv=False)[0])
    upper, lower = spectral_norm(torch.from_numpy(matrix * scale).unsqueeze(0))
    assert lower / scale <= want * (1 + 1e-13)
    assert want * (1 - 1e-13) <= upper / scale <= want * (1 + 1e-9)


def test_zero_and_mixed_batches() -> None:
    assert spectral_norm(torch.zeros(2, 3, 4, dtype=torch.float64)) == (0.0, 0.0)
    batch = torch.zeros(3, 2, 2, dtype=torch.float64)
    batch[1] = torch.tensor([[3.0, 0.0], [0.0, -4.0]])
    upper, lower = spectral_norm(batch)
    assert 4.0 <= upper <= 4.0 * (1 + 1e-10)
    assert 4.0 * (1 - 1e-10) <= lower <= 4.0


def test_integer_matrices_with_known_norms_are_never_understated() -> None:
    # The all-ones matrix has norm sqrt(m n) exactly; Pythagorean columns give exact roots.
    for m, n in ((4, 9), (16, 25), (100, 100), (36, 400)):
        upper, lower = spectral_norm(torch.ones(1, m, n, dtype=torch.float64))
        assert lower <= math.isqrt(m * n) <= upper
    upper, lower = spectral_norm(torch.tensor([[[3.0], [4.0]]], dtype=torch.float64))
    assert lower <= 5.0 <= upper


@given(st.integers(1, 12), st.integers(1, 12), st.integers(-60, 60), st.integers(0, 2**31))
@examples(60)
def test_integer_entries_of_any_scale(m: int, n: int, exponent: int, seed: int) -> None:
    entries = np.random.default_rng(seed).integers(-3, 4, (m, n)).astype(float) * 2.0**exponent
    want = float(np.linalg.svd(entries, compute_uv=False)[0])
    upper, lower = spectral_norm(torch.from_numpy(entries).unsqueeze(0))
    assert want * (1 - 1e-13) <= upper <= want * (1 + 1e-9)
    assert lower <= want * (1 + 1e-13)


def test_lanczos_agrees_with_the_eigensolver() -> None:
    a = torch.from_numpy(RNG.standard_normal((3, 230, 240)))
    gram = a @ a.mT
    torch.testing.assert_close(lanczos_pairs(gram)[0], torch.linalg.eigvalsh(gram)[:, -1], rtol=1e-10, atol=0)


def test_a_level_below_the_spectrum_does_not_pass() -> None:
    gram = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).unsqueeze(0)
    assert not bool(has_factor(gram, 2.999))
    assert bool(has_factor(gram, 3.001))
    assert 3.0 <= verified_level(gram, 0.0) <= 3.0 * (1 + 1e-10)
    assert proved_eigenvalue(3.0, 3, 0.0, hermitian=False) > 3.0


def test_a_start_orthogonal_to_the_top_vector_cannot_lower_the_bound() -> None:
    from app.lipschitz.operators.gram import deterministic_start

    n = 220
    start = deterministic_start(n, torch.zeros(1, dtype=torch.float64)).numpy()
    hidden = RNG.standard_normal(n)
    hidden -= start * (hidden @ start) / (start @ start)
    hidden /= np.linalg.norm(hidden)
    check(torch.from_numpy(np.eye(n) + 9.0 * np.outer(hidden, hidden)))


@pytest.mark.parametrize(
    "matrix",
    [
        3.0 * np.eye(300),
        np.linalg.qr(np.random.default_rng(0).normal(size=(400, 300)))[0],
        np.diag([1.0] * 299 + [2.0]),
        np.ones((300, 300)),
        np.outer(np.ones(300), np.eye(300)[0]),
    ],
    ids=["identity", "orthonormal", "one above many", "rank one", "one column"],
)
def test_few_distinct_singular_values(matrix: np.ndarray) -> None:
    """Lanczos runs out of directions after as many steps as there are distinct values."""
    found, true = spectral_norm(torch.from_numpy(matrix)[None]), np.linalg.norm(matrix, 2)
    assert true * (1 - 1e-9) <= found.lower <= true * (1 + 1e-12)
    assert true * (1 - 1e-14) <= found.upper <= true * (1 + 1e-9)
