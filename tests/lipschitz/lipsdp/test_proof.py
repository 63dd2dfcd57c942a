"""What counts as proved is positive semidefinite in rational arithmetic, and what is not is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.lipsdp.dense.interior import minimise
from app.lipschitz.lipsdp.proof import is_proved, proved
from app.lipschitz.lipsdp.start import closed_form
from app.lipschitz.lipsdp.system import System
from tests.lipschitz.lipsdp.systems import chain, random_weights

SLOPES = [(0.0, 1.0), (0.1, 1.0), (-0.129, 1.129)]


def exact_slack(system: System, rho: float, t: list[float]) -> list[list[Fraction]]:
    """S(rho, t) of one problem in rational numbers."""
    n, size = system.inputs, system.size
    rows = [[Fraction(0)] * size for _ in range(system.neurons)]
    for block in system.blocks:
        for i, row in enumerate(block.matrix.tolist()):
            for j, entry in enumerate(row):
                rows[block.row + i][block.column + j] += Fraction(entry)
    s = [[Fraction(rho) if i == j < n else Fraction(0) for j in range(size)] for i in range(size)]
    for k, row in enumerate(rows):
        low, high = Fraction(system.lower[0, k].item()), Fraction(system.upper[0, k].item())
        u, w = [-low * x for x in row], [-high * x for x in row]
        u[n + k] += 1
        w[n + k] += 1
        for i in range(size):
            for j in range(size):
                s[i][j] += Fraction(t[k]) * (u[i] * w[j] + w[i] * u[j])
    for row in system.output.tolist():
        for i in range(size):
            for j in range(size):
                s[i][j] -= Fraction(row[i]) * Fraction(row[j])
    return s


def is_positive(matrix: list[list[Fraction]]) -> bool:
    """Positive definite, by elimination without rounding."""
    a = [row[:] for row in matrix]
    for k in range(len(a)):
        if a[k][k] <= 0:
            return False
        for i in range(k + 1, len(a)):
            factor = a[i][k] / a[k][k]
            for j in range(k, len(a)):
                a[i][j] -= factor * a[k][j]
    return True


@given(st.sampled_from(SLOPES), st.integers(0, 10**6))
def test_what_is_proved_holds_exactly(slope: tuple[float, float], seed: int) -> None:
    system, layers = chain(random_weights([2, 3, 2, 2], seed), slope)
    start = closed_form(system, layers)
    found = minimise(system, *start, gap=1e-9)
    rho, t = proved(system, found.rho, found.t, start)
    assert is_positive(exact_slack(system, float(rho), t[0].tolist()))
    assert float(rho) <= float(found.rho) * (1 + 1e-7)


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1e-9]))
def test_less_than_the_multipliers_support_is_refused(seed: int, less: float) -> None:
    system, layers = chain(random_weights([2, 3, 2, 2], seed))
    found = minimise(system, *closed_form(system, layers), gap=1e-12)
    low = found.optimum * (1 - less)
    assert not bool(is_proved(system, low, found.t))


@pytest.mark.parametrize("error", [1e-12, 1e-6])
def test_errors_of_the_maps_cost_accordingly(error: float) -> None:
    system, layers = chain(random_weights([3, 5, 4, 2], 0))
    blocks = tuple(type(block)(block.row, block.column, block.matrix, error) for block in system.blocks)
    off = System(system.inputs, blocks, system.output, system.lower, system.upper, output_error=error)
    start = closed_form(system, layers)
    found = minimise(system, *start, gap=1e-10)
    sure, unsure = (float(proved(s, found.rho, found.t, start)[0]) for s in (system, off))
    assert sure < unsure < sure * (1 + 1e4 * error + 1e-7)


def test_the_perturbed_network_keeps_the_bound() -> None:
    """Maps moved by their whole error still satisfy the constraint."""
    system, layers = chain(random_weights([3, 5, 4, 2], 0), (-0.1, 1.1))
    error = 1e-3
    blocks = tuple(type(block)(block.row, block.column, block.matrix, error) for block in system.blocks)
    off = System(system.inputs, blocks, system.output, system.lower, system.upper, output_error=error)
    start = closed_form(system, layers)
    found = minimise(system, *start, gap=1e-9)
    rho, t = proved(off, found.rho, found.t, start)
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        moved = tuple(
            type(block)(
                block.row,
                block.column,
                block.matrix
                + error
                * torch.nn.functional.normalize(
                    torch.randn(block.matrix.shape, dtype=torch.float64, generator=generator), dim=(0, 1)
                ),
            )
            for block in system.blocks
        )
        shaken = System(system.inputs, moved, system.output, system.lower, system.upper)
        assert float(torch.linalg.eigvalsh(shaken.slack(rho, t)).min()) >= 0.0


def test_negative_multipliers_are_refused() -> None:
    system, layers = chain(random_weights([2, 3, 2], 0))
    rho, t = closed_form(system, layers)
    assert bool(is_proved(system, rho, t))
    assert not bool(is_proved(system, rho, -t))
    assert not bool(is_proved(system, -rho, t))
