"""Matrices made of others, and reductions, in long arithmetic: against mpmath with 60 digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.artifact.captured import Origin
from app.lipschitz.digits.evaluate import evaluate_call
from app.lipschitz.digits.number import Number, Unable, exact, integers
from app.lipschitz.network.call import Call

aten = torch.ops.aten
PLACES = 8


def asked(target: Any, *args: Any, **kwargs: Any) -> Any:
    """The operator on long numbers."""
    given = [exact(x) if isinstance(x, Tensor) and x.is_floating_point() else x for x in args]
    call = Call.bind(target, tuple(given), kwargs, Origin("", ""))
    return evaluate_call(call, dict(call.arguments), PLACES)


def entries(x: Number) -> list[Any]:
    whole, exponent = integers(x)
    return [mpmath.mpf(int(n)) * mpmath.mpf(2) ** exponent for n in whole]


def holds(found: Number, true: Any, width: float = 1e-25) -> None:
    """Every true entry is within the error, which is small."""
    assert found.error is not None
    meant = [mpmath.mpf(t) for t in true]
    errors = found.error.reshape(-1).tolist()
    assert len(errors) == len(meant)
    for one, other, error in zip(entries(found), meant, errors, strict=True):
        assert abs(one - other) <= error
        assert error <= width * max(1, abs(other))


def matrix(x: Tensor) -> Any:
    return mpmath.matrix(x.tolist())


def flat(m: Any) -> list[Any]:
    return [m[i, j] for i in range(m.rows) for j in range(m.cols)]


@pytest.fixture(autouse=True)
def _sixty_digits() -> Any:
    with mpmath.workdps(60):
        yield


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0.0, 2.0**-20, 2.0**-40]))
def test_solutions(seed: int, n: int, gap: float) -> None:
    """Also where the matrix is nearly singular: two rows differ by `gap`."""
    a, b = random(seed, n, n) + 3.0 * torch.eye(n, dtype=torch.float64), random(seed + 1, n, 2)
    if gap and n > 1:
        a[1] = a[0] + gap * a[1]
    with mpmath.workdps(60):
        inverse = matrix(a) ** -1
        holds(asked(aten._linalg_solve_ex.default, a, b)[0], flat(inverse * matrix(b)), 1e-15)
        holds(
            asked(aten._linalg_solve_ex.default, a, b.T.contiguous(), left=False)[0], flat(matrix(b.T) * inverse), 1e-15
        )
        holds(asked(aten.linalg_inv_ex.default, a)[0], flat(inverse), 1e-15)


def test_a_solution_counts_the_errors_of_its_operands() -> None:
    a, b = random(0, 3, 3) + 3.0 * torch.eye(3, dtype=torch.float64), random(1, 3, 1)
    call = Call.bind(aten._linalg_solve_ex.default, (exact(a), exact(b)), {}, Origin("", ""))
    for name, moved in (("A", a + 1e-6), ("B", b - 1e-6)):
        given = dict(call.arguments)
        given[name] = replace(given[name], error=torch.full_like(moved, 1e-6))
        found = evaluate_call(call, given, PLACES)[0]
        true = matrix(moved if name == "A" else a) ** -1 * matrix(moved if name == "B" else b)
        holds(found, flat(true), 1e-4)


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(Unable, match="singular"):
        asked(aten.linalg_inv_ex.default, torch.ones(2, 2, dtype=torch.float64))


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.1, 1.0, 8.0]))
def test_exponentials(seed: int, n: int, scale: float) -> None:
    a = scale * random(seed, n, n)
    with mpmath.workdps(60):
        true = flat(mpmath.expm(matrix(a), method="taylor"))
        holds(asked(aten.linalg_matrix_exp.default, a), true, 1e-18 * float(max(map(abs, true))))


@pytest.mark.parametrize("shape", [(3, 3), (5, 3)])
def test_reflections(shape: tuple[int, int]) -> None:
    a, tau = random(3, *shape), random(4, 3).abs()
    true = mpmath.eye(shape[0])
    for i in range(3):
        v = mpmath.matrix([0.0] * i + [1.0] + a[i + 1 :, i].tolist())
        true = true * (mpmath.eye(shape[0]) - float(tau[i]) * v * v.T)
    found = asked(aten.linalg_householder_product.default, a, tau)
    holds(found, [true[i, j] for i in range(shape[0]) for j in range(shape[1])])


def sums(x: list[Any]) -> Any:
    return mpmath.fsum(x)


def deviation(x: list[Any]) -> Any:
    mean = sums(x) / len(x)
    return mpmath.sqrt(sums([(e - mean) ** 2 for e in x]) / (len(x) - 1))


REDUCTIONS: dict[str, tuple[Any, tuple[Any, ...], Callable[[list[Any]], Any], float]] = {
    "norm": (aten.linalg_vector_norm.default, (), lambda x: mpmath.sqrt(sums([e * e for e in x])), 1e-30),
    "norm 1": (aten.linalg_vector_norm.default, (1,), lambda x: sums([abs(e) for e in x]), 1e-30),
    "product": (aten.prod.default, (), lambda x: mpmath.fprod(x), 1e-28),
    "deviation": (aten.std.correction, (), deviation, 1e-20),
    "log sum exp": (aten.logsumexp.default, ([0],), lambda x: mpmath.log(sums([mpmath.exp(e) for e in x])), 1e-12),
    "maximum": (aten.max.default, (), max, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_reductions(name: str, shift: float) -> None:
    """Sums of what cancels included: entries near 1e6."""
    target, args, true, width = REDUCTIONS[name]
    x = random(5, 4) + shift
    found = asked(target, x, *args)
    found = found if found.error is not None else replace(found, error=torch.zeros(found.shape, dtype=torch.float64))
    holds(found, [true([mpmath.mpf(e) for e in x.tolist()])], width * (1 if name != "product" else 1e24))


def test_rows_of_softmax_and_running_totals() -> None:
    x = random(6, 3)
    sizes = [mpmath.exp(mpmath.mpf(e)) for e in x.tolist()]
    holds(asked(aten._softmax.default, x, 0, False), [e / sums(sizes) for e in sizes], 1e-13)
    totals = [sums([mpmath.mpf(e) for e in x.tolist()[: i + 1]]) for i in range(3)]
    assert entries(asked(aten.cumsum.default, x, 0)) == totals


def test_sorting_needs_values_that_can_be_told_apart() -> None:
    x = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    assert [float(e) for e in entries(asked(aten.sort.default, x)[0])] == [-1.0, 0.3, 2.0]
    assert [float(e) for e in entries(asked(aten.sort.default, x, 0, True)[0])] == [2.0, 0.3, -1.0]


def test_weight_norm() -> None:
    v, g = random(7, 2, 3), random(8, 2, 1)
    found = asked(aten._weight_norm_interface.default, v, g, 0)[0]
    rows = [[mpmath.mpf(e) for e in row] for row in v.tolist()]
    true = [float(g[i, 0]) * e / mpmath.sqrt(sums([f * f for f in row])) for i, row in enumerate(rows) for e in row]
    holds(found, true)
