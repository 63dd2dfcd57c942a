"""Polygons and the proofs of sides, against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.exact.phases.polygon import Polygons, joined
from app.lipschitz.exact.phases.sides import determinant_error, scaled, sides

Row = list[Fraction]


def polygons(rows: Tensor, error: float = 0.0) -> Polygons:
    """Those of rows `(P, V, 3)`, all places taken."""
    ready, errors = scaled(rows, torch.full_like(rows, error))
    names = torch.arange(1, rows.shape[1] + 1).expand(len(rows), -1)
    return Polygons(ready, errors, names, torch.full((len(rows),), rows.shape[1]))


def square() -> Polygons:
    """[-1, 1]^2."""
    return polygons(torch.tensor([[[1, 0, 1], [0, 1, 1], [-1, 0, 1], [0, -1, 1]]], dtype=torch.float64))


def cut(shape: Polygons, row: Tensor) -> tuple[Polygons, Polygons]:
    inside = (shape.corners @ row > 0) & shape.ring.taken
    name, error = torch.tensor([9]), torch.zeros(1, dtype=torch.float64)
    other = ~inside & shape.ring.taken
    return shape.cut(row[None], error, name, inside), shape.cut(-row[None], error, -name, other)


def test_a_cut_square_has_the_corners_of_its_halves() -> None:
    above, below = cut(square(), torch.tensor([0.5, 0.5, -0.5], dtype=torch.float64))
    corners = [
        {tuple(row) for row in (c[0, :, :2] / c[0, :, 2:])[:n].tolist()}
        for c, n in ((above.corners, int(above.count)), (below.corners, int(below.count)))
    ]
    assert corners[0] == {(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)}
    assert corners[1] == {(1.0, 0.0), (0.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)}
    assert sorted(above.faces[0, : int(above.count)].tolist()) == [3, 4, 9]


def test_joined_polygons_keep_their_corners() -> None:
    parts = cut(square(), torch.tensor([0.5, 0.5, -0.5], dtype=torch.float64))
    both = joined(parts)
    for i, part in enumerate(parts):
        assert torch.equal(both.take(torch.tensor([i])).corners, part.corners)


@given(st.integers(0, 10_000))
def test_middles_are_inside(seed: int) -> None:
    torch.manual_seed(seed)
    shape = square()
    for _ in range(4):
        row = torch.randn(3, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.5])
        row = row / row.abs().max()
        values = shape.corners @ row
        if bool((values > 0).any()) and bool((values[shape.ring.taken] < 0).any()):
            shape = cut(shape, row)[0]
    points, radii = shape.middles()
    values = shape.rows[0, :, :2] @ points[0] + shape.rows[0, :, 2]
    assert float(radii[0]) > 0
    assert bool((values[: int(shape.count)] >= 0.9 * radii[0] * 1e-3).all())


@pytest.mark.parametrize("quadrant", range(4))
def test_unbounded_cells_are_decided_at_infinity(quadrant: int) -> None:
    """For x, y >= 0: 3 x + 2 y + 1 is positive, x - y + 1 and x + y - 1 change sign, -x - 2 y - 3 is negative."""
    axes = torch.tensor([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    corner = torch.stack([axes[quadrant], axes[(quadrant + 1) % 4], torch.tensor([0.0, 0.0, 1.0])])
    lines = torch.tensor([[3, 2, 1], [1, -1, 1], [1, 1, -1], [-1, -2, -3]], dtype=torch.float64) @ corner / 3
    assert sides(polygons(corner[None]), lines[None], 0 * lines[None, :, 0]).signs.tolist() == [[1, 0, 0, -1]]


def determinant(*rows: Row) -> Fraction:
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=3, max_size=3))
def test_determinants_round_no_more_than_allowed(rows: list[list[float]]) -> None:
    a, b, c = torch.tensor(rows, dtype=torch.float64)
    exact = determinant(*([Fraction(x) for x in row] for row in rows))
    computed = float(torch.linalg.cross(a, b) @ c)
    assert abs(Fraction(computed) - exact) <= Fraction(float(determinant_error(torch.zeros(1)))) * Fraction(1, 2)


def exact_sign(rows: list[Row], line: Row) -> int:
    """The side of a line that the triangle of three rows lies on, 0 where it is cut; the rows enclose one."""
    values = []
    for i in range(3):
        a, b = rows[i - 1], rows[i]
        corner = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
        values.append(sum(x * y for x, y in zip(line, corner, strict=True)))
    return int(min(values) >= 0) - int(max(values) <= 0)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-15, 1e-9, 1e-6, 1e-2]), st.sampled_from([1.0, 1e-3, 1e-6]))
def test_proved_sides_are_those_of_the_exact_rows(seed: int, error: float, size: float) -> None:
    """Triangles of a given size near the origin, lines close to their corners, rows off by up to `error`."""
    generator = torch.Generator().manual_seed(seed)
    uniform = lambda *shape: 2 * torch.rand(*shape, dtype=torch.float64, generator=generator) - 1  # noqa: E731
    turns = torch.tensor([0.0, 2.1, 4.2], dtype=torch.float64) + 0.5 * uniform(20, 3)
    exact = torch.stack([turns.cos(), turns.sin(), size * (1.0 + uniform(20, 3).abs())], 2) / 4
    corners = torch.linalg.cross(exact[:, [0, 1]], exact[:, [1, 2]])
    lines = uniform(20, 8, 3)
    touching = lines[:, :, 2] - ((lines @ corners.mT) / corners[:, None, :, 2])[:, :, seed % 2]
    lines = torch.stack([lines[:, :, 0], lines[:, :, 1], touching + max(4.0 * error, 1e-16) * uniform(20, 8)], 2) / 2
    shape = Polygons(
        exact + error * uniform(20, 3, 3), error + 0 * exact[:, :, 0], 0 * turns.long(), 3 + 0 * turns[:, 0].long()
    )
    found = sides(shape, lines + error * uniform(20, 8, 3), error + 0 * lines[:, :, 0]).signs
    for p in range(20):
        rows = [[Fraction(x) for x in row] for row in exact[p].tolist()]
        for r in range(8):
            if found[p, r]:
                assert found[p, r] == exact_sign(rows, [Fraction(x) for x in lines[p, r].tolist()])


def test_clear_sides_are_seen() -> None:
    """Lines that pass the unit square at a distance are decided without exact arithmetic."""
    torch.manual_seed(0)
    turns = 7.0 * torch.rand(500, dtype=torch.float64)
    lines = torch.stack([turns.cos(), turns.sin(), torch.full_like(turns, 1.5)], 1)[None] / 2
    assert bool((sides(square(), lines, torch.full((1, 500), 1e-9, dtype=torch.float64)).signs == 1).all())
    assert bool((sides(square(), -lines, torch.full((1, 500), 1e-9, dtype=torch.float64)).signs == -1).all())
