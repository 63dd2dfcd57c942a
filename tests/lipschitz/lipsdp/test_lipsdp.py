"""LipSDP on whole networks: published values, oracles, any graph, pieces, deadlines."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.bounds.local import Local
from app.lipschitz.files import analyze
from app.lipschitz.lipsdp.planning import planned
from app.lipschitz.walk.pieces import cuts
from tests.effort import sampled
from tests.lipschitz.helpers import jacobian_norms, network_of
from tests.lipschitz.onnx_networks import mlp, published

ONE = np.ones((1, 1))


def answer(data: bytes, options: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """LipSDP's estimate, autolip's value beside it."""
    request = {"methods": ["lipsdp", "autolip"], "options": {"lipsdp": options or {}}} | fields
    records = analyze(data, request)["result"]["estimates"]
    return records[0] | {"autolip": records[1]["value"]}


@pytest.mark.parametrize(
    ("name", "options", "value", "tolerance"),
    [
        ("lipsdp_random", {}, 36.48222959637795, 1e-8),
        ("lipsdp_random", {"form": "layer"}, 39.8386225, 1e-6),
        ("lipsdp_random", {"split_size": 2}, 37.668142, 1e-6),
        ("exlipbab_iris", {}, 11.6353, 1e-5),
        ("exlipbab_wine12", {}, 1.8469127, 1e-6),
        ("exlipbab_abalone", {}, 11.22547757, 1e-6),
    ],
)
def test_published(name: str, options: dict[str, Any], value: float, tolerance: float) -> None:
    found = answer(mlp(*published(name)), options)
    assert found["guarantee"] == "certified"
    assert value * (1 - 1e-6) <= found["value"] <= value * (1 + tolerance + 1e-8)
    assert found["value"] < found["autolip"]


def test_two_neurons_that_cancel() -> None:
    """relu(x + 1) - relu(x - 1) rises with slope 1 at most; the form 'network' would give about 0."""
    weights, biases = [np.ones((2, 1)), np.array([[1.0, -1.0]])], [np.array([1.0, -1.0]), np.zeros(1)]
    assert answer(mlp(weights, biases))["value"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(("act", "value"), [("Tanh", 1.0), ("Sigmoid", 0.25), ("LeakyRelu", 1.0)])
def test_one_neuron(act: str, value: float) -> None:
    found = answer(mlp([ONE, ONE], act=act))["value"]
    assert value * (1 - 1e-9) <= found <= value * (1 + 1e-6)


def test_network_form_is_refused_with_the_reason() -> None:
    record = answer(mlp([ONE, ONE]), {"form": "network"})
    assert record["status"] == "skipped"
    assert "not a bound" in record["reason"]


@pytest.mark.parametrize("norm", ["1", "inf"])
def test_one_multiplier_a_layer_has_the_2_norm_alone(norm: str) -> None:
    assert answer(mlp([ONE, ONE]), {"form": "layer"}, norm=norm)["status"] == "skipped"


def test_affine_networks_are_skipped() -> None:
    assert answer(mlp([ONE]))["status"] == "skipped"


def test_a_small_domain_fixes_neurons() -> None:
    """On a ball where no ReLU changes its phase the bound is the norm of one matrix."""
    weights, biases = published("exlipbab_iris")
    center = [5.0, 3.0, 3.0, 1.0]
    ball = {"kind": "ball", "center": center, "radius": 1e-6}
    record = answer(mlp(weights, biases), domain=ball)
    z, jacobian = np.array(center), np.eye(4)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        v = weight @ z + bias
        jacobian, z = (v > 0)[:, None] * (weight @ jacobian), np.maximum(v, 0)
    assert record["value"] == pytest.approx(np.linalg.norm(weights[-1] @ jacobian, 2), rel=1e-6)


def test_deadline_gives_a_certified_bound() -> None:
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=(120, 120)) / 11 for _ in range(3)]
    rushed = answer(mlp(weights), {"seconds": 0.01})
    patient = answer(mlp(weights))
    assert patient["value"] <= rushed["value"] <= rushed["autolip"]
    assert rushed["details"]["iterations"] < patient["details"]["iterations"]


class Residual(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(x + self.second(self.act(self.first(x)))))


class Dense(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(7, 5), nn.Linear(12, 2)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        one = torch.cat([x, self.act(self.first(x))], 1)
        two = torch.cat([one, self.act(self.second(one))], 1)
        return self.last(two)


class Pooled(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv1d(1, 3, 3, padding=1), nn.MaxPool1d(2)
        self.first, self.last = nn.Linear(9, 8), nn.Linear(8, 2)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.pool(self.act(self.conv(x[:, None])))
        return self.last(self.act(self.first(hidden.flatten(1))))


ACTIVATIONS = [nn.ReLU(), nn.GELU(), nn.LeakyReLU(0.1), nn.SiLU(), nn.Tanh()]
GRAPHS = [(Residual, 4), (Dense, 3), (Pooled, 6)]


@pytest.mark.parametrize(("graph", "act"), sampled(GRAPHS, ACTIVATIONS, every=3))
def test_any_graph_lies_between_jacobians_and_autolip(graph: tuple[type[nn.Module], int], act: nn.Module) -> None:
    kind, size = graph
    torch.manual_seed(0)
    model = kind(act).double().eval()
    network = network_of(model, (1, size))
    exported = torch.export.export(model, (torch.randn(1, size, dtype=torch.float64),))
    record = answer(_saved(exported))
    points = 3 * torch.randn(200, size, dtype=torch.float64)
    steepest = float(jacobian_norms(network, "2", points).max())
    assert steepest * (1 - 1e-9) <= record["value"] <= record["autolip"] * (1 + 1e-12)
    assert record["value"] < 0.99 * record["autolip"]


def _saved(program: torch.export.ExportedProgram) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def test_pooling_splits_and_the_ends_are_trimmed() -> None:
    torch.manual_seed(0)
    network = network_of(Pooled(nn.ReLU()).double().eval(), (1, 6))
    pieces = planned(cuts(network), 0, Local(network))
    assert [piece.is_elementwise for piece in pieces].count(False) == 1
    assert [len(piece.activations) for piece in pieces if piece.is_elementwise] == [0, 1, 1]


def test_scales_too_far_apart_are_refused() -> None:
    weights = [np.full((2, 2), 1e-200), np.full((2, 2), 1e200), np.ones((1, 2))]
    assert "decades" in answer(mlp(weights))["reason"]


WIDE = [[30, 90, 4], [60, 40, 40, 3], [50, 80, 20, 70, 1]]


def narrow_limits(monkeypatch: pytest.MonkeyPatch, *, side: int) -> None:
    """Pieces above this side count as large, and the primal iteration bounds none."""
    monkeypatch.setattr("app.lipschitz.lipsdp.sizes.LARGEST_SIDE", side)
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)


@pytest.mark.parametrize("form", ["neuron", "layer"])
@pytest.mark.parametrize(("act", "sizes"), sampled(["Relu", "LeakyRelu", "Tanh"], WIDE, every=3))
def test_large_chains_have_a_multiplier_a_neuron(
    sizes: list[int], act: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=(o, i)) / i**0.5 for i, o in itertools.pairwise(sizes)]
    data = mlp(weights, act=act)
    dense = answer(data)
    monkeypatch.setattr("app.lipschitz.lipsdp.sizes.LARGEST_SIDE", 20)
    large = answer(data, {"form": form})
    assert large["guarantee"] == "certified"
    assert large["details"]["whole"]
    assert large["details"]["pieces"] == 1
    assert dense["details"]["relaxation_optimum"] * (1 - 1e-9) <= large["value"] <= 1.005 * dense["value"]


def test_large_pieces_that_nothing_holds_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    exported = torch.export.export(Residual(nn.ReLU()).double().eval(), (torch.randn(1, 4, dtype=torch.float64),))
    narrow_limits(monkeypatch, side=5)
    record = answer(_saved(exported))
    assert record.get("value") is None or record["value"] <= record["autolip"] * (1 + 1e-12)


def test_large_layers_that_nothing_holds_keep_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    narrow_limits(monkeypatch, side=20)
    record = answer(mlp([generator.normal(size=(40, 20)), generator.normal(size=(3, 40))]))
    assert record["value"] == pytest.approx(record["autolip"])
    assert record["details"]["pieces"] == 0
