"""The cells of networks with one or two inputs: none is lost, and their maps are those of exact arithmetic."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Box, Domain, WholeSpace
from app.lipschitz.exact.phases.cells import Cells, preactivations
from app.lipschitz.exact.phases.enumeration import Enumeration
from app.lipschitz.exact.phases.incumbent import Incumbent
from app.lipschitz.exact.phases.integers import ExactModel
from app.lipschitz.exact.phases.model import Layer, Model, stacked
from app.lipschitz.exact.phases.pieces import identity
from app.lipschitz.exact.phases.polygon import Polygons
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from tests.lipschitz.helpers import captured

ACTIVATIONS = {"relu": F.relu, "leaky": lambda x: F.leaky_relu(x, 0.25), "abs": torch.abs, "hardtanh": F.hardtanh}
SIZES = [(2, 6, 6, 2), (2, 10, 1), (1, 6, 6, 1), (2, 4, 4, 4, 1), (1, 12, 1), (2, 20, 3)]
ROBUST = 1e-9


class NoPoint(Incumbent):
    """Attains nothing, so that no cell is dropped by its bound."""

    def take(self, points: Tensor, radii: Tensor) -> None:
        """Leave them."""


class All(Enumeration):
    """Keeps the cells of all layers."""

    found: list[Cells]

    def _settle(self, cells: Cells) -> None:
        self.found = [*getattr(self, "found", []), cells]


def model_of(sizes: tuple[int, ...], act: str, kind: str, seed: int) -> tuple[Problem, Model]:
    """A network with normal weights, without biases, with small integers, or a hair beside small integers."""
    rng = np.random.default_rng(seed)
    draw = (lambda *s: rng.normal(size=s)) if kind in ("normal", "cones") else (lambda *s: 1.0 * rng.integers(-1, 2, s))
    hair = 1e-13 if kind == "hair" else 0.0
    layers = [
        [torch.from_numpy(draw(*s) + hair * rng.normal(size=s)) for s in ((o, i), (o,))]
        for i, o in itertools.pairwise(sizes)
    ]

    def function(x: Tensor) -> Tensor:
        for weight, bias in layers[:-1]:
            x = ACTIVATIONS[act](F.linear(x, weight, 0 * bias if kind == "cones" else bias))
        return F.linear(x, *layers[-1])

    graph = captured(function, (1, sizes[0]))
    deadline = Deadline.after(60)
    problem = Problem(graph, build(graph, [0]), "2", WholeSpace(), 1, deadline, lambda _: None)
    return problem, stacked(problem.network)


def all_cells(problem: Problem, model: Model, domain: Domain) -> list[Cells]:
    search = All(NoPoint(problem), 0.0, model, domain, "2", Deadline.after(60))
    while not search.finished:
        search.step()
    return search.found


def robust_patterns(model: Model, points: Tensor) -> Tensor:
    """The pieces of those points that are clearly inside a cell."""
    values, robust, found = points, torch.ones(len(points), dtype=torch.bool), []
    for layer in model.layers:
        pre = values @ layer.weight.T + layer.bias
        robust &= ((pre[:, :, None] - layer.pieces.kinks).abs() > ROBUST).flatten(1).all(1)
        found.append((pre[:, :, None] > layer.pieces.kinks).sum(2))
        tables = layer.pieces.slopes, layer.pieces.intercepts
        slope, intercept = (
            table.expand(len(pre), -1, -1).gather(2, found[-1][:, :, None]).squeeze(2) for table in tables
        )
        values = torch.cat([values, slope * pre + intercept], 1)
    return torch.cat(found, 1)[robust]


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 10_000),
    st.sampled_from(SIZES),
    st.sampled_from(list(ACTIVATIONS)),
    st.sampled_from(["normal", "cones", "integers", "hair"]),
    st.booleans(),
)
def test_every_pattern_has_a_cell(seed: int, sizes: tuple[int, ...], act: str, kind: str, bounded: bool) -> None:
    problem, model = model_of(sizes, act, kind, seed)
    domain = Box(-2 * torch.ones(1), 2 * torch.ones(1)) if bounded else WholeSpace()
    known = {tuple(row) for cells in all_cells(problem, model, domain) for row in cells.pieces.tolist()}
    generator = torch.Generator().manual_seed(seed)
    for scale in (0.1, 1.0, 10.0):
        points = domain.sample(300, sizes[0], scale, generator)
        assert {tuple(row) for row in robust_patterns(model, points).tolist()} <= known


@pytest.mark.parametrize(("sizes", "most"), [((2, 12, 1), 1 + 12 + 66), ((1, 12, 1), 13), ((2, 40, 3), 1 + 40 + 780)])
def test_lines_cut_the_plane_into_as_many_cells_as_they_can(sizes: tuple[int, ...], most: int) -> None:
    """n lines in general position make 1 + n + n (n - 1) / 2 regions; some lie in two quadrants or more."""
    problem, model = model_of(sizes, "relu", "normal", 0)
    found = torch.cat([cells.pieces for cells in all_cells(problem, model, WholeSpace())])
    assert len(found.unique(dim=0)) == most


def test_cones_are_as_many_as_twice_the_lines() -> None:
    problem, model = model_of((2, 12, 1), "relu", "cones", 0)
    found = torch.cat([cells.pieces for cells in all_cells(problem, model, WholeSpace())])
    assert len(found.unique(dim=0)) == 24


def test_errors_of_sums_that_cancel_cover_their_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, values = (torch.randn(*size, dtype=torch.float64, generator=generator) for size in ((20, 50), (50, 3)))
    bias = -(weight @ values)[:, 2]
    none = torch.zeros(1, 0)
    cells = Cells(Polygons(none, none, none, none), none, values[None], torch.zeros(1, 50, 3).double(), none)
    found, errors = preactivations(
        cells, Layer(weight, bias, torch.zeros_like(bias), identity(20)), torch.zeros(20).double()
    )
    assert float(found[0, :, 2].abs().max()) < 1e-13
    for i in range(20):
        products = (Fraction(w) * Fraction(v) for w, v in zip(weight[i].tolist(), values[:, 2].tolist(), strict=True))
        exact = sum(products) + Fraction(float(bias[i]))
        assert 0 < abs(Fraction(float(found[0, i, 2])) - exact) <= Fraction(float(errors[0, i, 2]))


@pytest.mark.parametrize("act", ["relu", "hardtanh"])
def test_errors_of_maps_cover_their_rounding(act: str) -> None:
    problem, model = model_of((2, 6, 6, 6, 2), act, "normal", 3)
    exact, last = ExactModel(model), len(model.layers) - 1
    cells = all_cells(problem, model, WholeSpace())[0]
    for index in range(0, len(cells), 1 + len(cells) // 10):
        phases = [row.numpy() for row in cells.pieces[index].split([layer.size for layer in model.layers])]
        rows, exponent = exact.preactivations(phases, last)
        values, errors = cells.values[index].tolist(), cells.errors[index].tolist()
        for found, wrong, row in zip(values, errors, rows, strict=True):
            for value, error, entry in zip(found, wrong, row, strict=True):
                assert abs(Fraction(value) - Fraction(int(entry), 2**exponent)) <= Fraction(error)
                assert error < 1e-8 * (1.0 + abs(value))
