"""Block tridiagonal algebra against dense matrices."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
from torch import Tensor

from app.lipschitz.lipsdp.deep.chain_schur import schur
from app.lipschitz.lipsdp.deep.plain_chain import PlainChain
from app.lipschitz.lipsdp.deep.tridiagonal import Semiseparable, Tridiagonal, completion, inverse, is_positive, sandwich
from app.lipschitz.lipsdp.dense.forms import Forms
from app.lipschitz.lipsdp.start import closed_form
from tests.lipschitz.lipsdp.systems import chain, random_weights

WIDTHS = [3, 5, 1, 2, 6]
ENDS = [0, *accumulate(WIDTHS)]
PLACES = [slice(a, b) for a, b in pairwise(ENDS)]


def blocks_of(dense: Tensor) -> Tridiagonal:
    below = tuple(dense[after, before] for before, after in pairwise(PLACES))
    return Tridiagonal(tuple(dense[place, place] for place in PLACES), below)


def dense_of(blocks: Tridiagonal) -> Tensor:
    found = torch.block_diag(*blocks.diagonal)
    for (before, after), below in zip(pairwise(PLACES), blocks.below, strict=True):
        found[after, before], found[before, after] = below, below.T
    return found


def drawn(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(ENDS[-1], ENDS[-1], dtype=torch.float64, generator=generator)
    return dense_of(blocks_of(root @ root.T)) + 5.0 * ENDS[-1] * torch.eye(ENDS[-1], dtype=torch.float64)


def known(found: Semiseparable | None) -> Semiseparable:
    assert found is not None
    return found


def test_inverse_and_completion_are_those_of_dense_matrices() -> None:
    matrix = drawn(0)
    dense = torch.linalg.inv(matrix)
    near = known(inverse(blocks_of(matrix))).near
    torch.testing.assert_close(dense_of(near), dense_of(blocks_of(dense)))
    torch.testing.assert_close(dense_of(known(completion(near)).near), dense_of(near))
    assert float((dense - dense_of(near)).abs().max()) > 1e-6


@pytest.mark.parametrize("share", [1.1, 0.9])
def test_positivity_is_that_of_dense_matrices(share: float) -> None:
    matrix = drawn(1)
    lowered = matrix - share * torch.linalg.eigvalsh(matrix)[0] * torch.eye(ENDS[-1], dtype=torch.float64)
    assert is_positive(blocks_of(lowered)) == (inverse(blocks_of(lowered)) is not None) == (share < 1.0)


def test_a_completion_needs_positive_neighbours() -> None:
    near = known(inverse(blocks_of(drawn(1)))).near
    worse = Tridiagonal(near.diagonal, (near.below[0] * 1e3, *near.below[1:]))
    assert completion(worse) is None


def test_the_sandwich_is_that_of_dense_matrices() -> None:
    z, x, middle = torch.linalg.inv(drawn(2)), torch.linalg.inv(drawn(3)), drawn(4) - drawn(5)
    found = sandwich(known(completion(blocks_of(z))), blocks_of(middle), known(inverse(blocks_of(drawn(3)))))
    product = z @ middle @ x
    torch.testing.assert_close(dense_of(found), dense_of(blocks_of((product + product.T) / 2.0)))


@pytest.mark.parametrize("slope", [(0.0, 1.0), (-0.129, 1.129)])
def test_the_schur_matrix_is_that_of_dense_forms(slope: tuple[float, float]) -> None:
    system, layers = chain(random_weights([6, 7, 5, 8, 6, 4], 1), slope)
    plain = PlainChain.of(system, layers)
    assert plain is not None
    rho, t = closed_form(system, layers)
    x = known(inverse(plain.slack(float(rho), t[0])))
    z = known(inverse(plain.slack(3.0 * float(rho), 2.0 * t[0])))
    of_x = Forms.of(system, torch.linalg.inv(system.slack(rho, t)))
    of_z = Forms.of(system, torch.linalg.inv(system.slack(3.0 * rho, 2.0 * t)))
    expected = of_z.uw.mT * of_x.uw + of_z.ww * of_x.uu + of_z.uu * of_x.ww + of_z.uw * of_x.uw.mT
    border = (of_x.xw * of_z.xu + of_x.xu * of_z.xw).sum(2)
    found = schur(plain, x, z)
    torch.testing.assert_close(found[1:, 1:].triu(), expected[0].triu())
    torch.testing.assert_close(found[0, 1:], border[0])
    torch.testing.assert_close(found[0, 0], (of_x.xx * of_z.xx).sum())
