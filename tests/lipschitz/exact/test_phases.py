"""The parts of the branch and bound: exact arithmetic, pieces, and the certified bound of a batch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.errors import MethodSkipped
from app.lipschitz.exact.phases.bounds import enclose, jacobian_bounds, lost, norms
from app.lipschitz.exact.phases.integers import ExactModel, conflict, null_vector, whole
from app.lipschitz.exact.phases.model import Model, in_blocks, stacked
from app.lipschitz.exact.phases.pieces import pieces_of
from app.lipschitz.network.nodes import Activation
from tests.lipschitz.helpers import ORDER, network_of


def integers(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, dtype=object)


def test_two_opposite_half_lines_conflict_when_they_overlap_nowhere() -> None:
    """x - 1 > 0 and -x + 1 > 0 touch only; with 10^-300 of room they do not conflict any more."""
    touching = whole(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double())
    assert conflict(touching, [Fraction(0)] * 2)
    assert not conflict(touching, [Fraction(0), Fraction(1, 10**300)])
    assert not conflict(
        whole(torch.tensor([[1.0, -1.0], [-1.0, 1.0 + 2.0**-52]], dtype=torch.float64)), [Fraction(0)] * 2
    )


def test_constant_rows_conflict_only_when_negative() -> None:
    assert conflict(integers([[0, -1]]), [Fraction(0)])
    assert not conflict(integers([[0, 0]]), [Fraction(0)])
    assert not conflict(integers([[0, 1]]), [Fraction(0)])


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))
def test_null_vectors_are_exact(k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = integers(rng.integers(-3, 4, (k, n)).tolist())
    found = null_vector(matrix)
    rank = np.linalg.matrix_rank(matrix.astype(float))
    assert (found is None) == (rank != k - 1)
    if found is not None:
        assert any(found)
        assert not (np.array(found, dtype=object) @ matrix).any()


def activation(function):
    network = network_of(function, (1, 2))
    return next(node for node in network.nodes if isinstance(node, Activation)).scalar


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        torch.abs,
        F.relu6,
        F.hardtanh,
        lambda x: F.leaky_relu(x, 0.3),
        lambda x: F.softshrink(x, 0.5),
        lambda x: F.threshold(x, 1.0, 1.0),
        lambda x: torch.clamp(x, min=-2.0),
        lambda x: F.relu(x + 1) - F.relu(x - 1),
        lambda x: F.relu(x) - 0.25 * F.relu(-x),
    ],
)
def test_pieces_reproduce_the_function(function) -> None:
    scalar = activation(function)
    pieces = pieces_of(scalar, 2)
    assert pieces is not None
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)[:, None].expand(-1, 2)
    at = (x[:, :, None] > pieces.kinks).sum(2)[:, :, None]
    slope, intercept = (
        table.expand(1001, -1, -1).gather(2, at).squeeze(2) for table in (pieces.slopes, pieces.intercepts)
    )
    assert torch.allclose(slope * x + intercept, scalar.function(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "function", [torch.tanh, F.gelu, F.softplus, F.elu, F.hardswish, F.hardsigmoid, F.celu, F.logsigmoid, torch.sin]
)
def test_curves_have_no_pieces(function) -> None:
    assert pieces_of(activation(function), 2) is None


def small_model(seed: int = 0) -> Model:
    torch.manual_seed(seed)
    inner, outer = torch.nn.Linear(2, 3).double(), torch.nn.Linear(5, 2).double()
    return stacked(network_of(lambda x: outer(torch.cat([F.relu(inner(x)), F.hardtanh(x)], 1)), (1, 2)))


def test_exact_rows_are_those_of_floating_point() -> None:
    model = small_model()
    torch.manual_seed(1)
    pieces = torch.cat([torch.randint(layer.pieces.slopes.shape[1], (1, layer.size)) for layer in model.layers], 1)
    phases = [row.numpy() for row in pieces[0].split([layer.size for layer in model.layers])]
    exact, last = ExactModel(model), len(model.layers) - 1
    for layer in range(last):
        if not model.layers[layer].pieces.kinks.shape[1]:
            continue
        row, exponent = exact.row(phases, layer, 0, 0)
        kink = float(model.layers[layer].pieces.kinks[0, 0])
        found = [float(Fraction(entry, 2**exponent)) for entry in row]
        expected = enclose(model, pieces, pieces).pre[layer][0, 0].clone()
        expected[-1] -= kink
        assert found == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("p", ["1", "2", "inf"])
def test_bounds_hold_for_every_pattern_and_are_sharp_for_one(p: str) -> None:
    model = small_model(2)
    most = torch.cat([torch.full((layer.size,), layer.pieces.kinks.shape[1]) for layer in model.layers])
    whole_bound = jacobian_bounds(enclose(model, 0 * most[None], most[None]), p, lost(model, p))
    torch.manual_seed(0)
    chosen = (torch.rand(200, len(most)) * (most + 1)).long()
    enclosure = enclose(model, chosen, chosen)
    bounds = jacobian_bounds(enclosure, p, lost(model, p))
    true = torch.linalg.matrix_norm(enclosure.centre, ORDER[p])
    assert (bounds >= true).all()
    assert (bounds <= true * (1 + 1e-8) + 1e-12).all()
    assert (whole_bound >= true.max()).all()


def test_norms_of_overflowed_matrices_are_infinite() -> None:
    matrices = torch.ones(3, 2, 2, dtype=torch.float64)
    matrices[0, 0, 0], matrices[2, 1, 0] = torch.inf, torch.nan
    for p in ORDER:
        assert torch.isfinite(norms(matrices, p)).tolist() == [False, True, False]


def test_blocks_of_layers_are_the_same_network() -> None:
    model = small_model()
    narrow = in_blocks(model, 2)
    torch.manual_seed(1)
    pieces = torch.cat([torch.randint(layer.pieces.slopes.shape[1], (9, layer.size)) for layer in model.layers], 1)
    assert max(layer.size for layer in narrow.layers) == 2
    assert torch.allclose(enclose(narrow, pieces, pieces).centre, enclose(model, pieces, pieces).centre, atol=1e-14)


def test_certified_norms_do_not_fall_below_true_ones() -> None:
    torch.manual_seed(0)
    for scale in (1e-200, 1e-8, 1.0, 1e100):
        matrices = scale * torch.randn(40, 4, 7, dtype=torch.float64)
        true = torch.linalg.matrix_norm(matrices / scale, 2) * scale
        assert (norms(matrices, "2") >= true * (1 - 1e-14)).all()
    assert (norms(matrices, "2") <= true * (1 + 1e-8)).all()


def test_folded_weights_are_refused_by_name() -> None:
    torch.manual_seed(0)
    first, second = torch.nn.Linear(2, 3).double(), torch.nn.Linear(3, 2).double()
    with pytest.raises(MethodSkipped, match="folded"):
        stacked(network_of(lambda x: F.relu(second(first(x))), (1, 2)))
