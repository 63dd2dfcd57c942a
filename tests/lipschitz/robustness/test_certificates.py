"""Certified radii: exact oracles, adversarial search, balls, domains, gates, and what keeps radii from being given."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.lipschitz.files import analyze
from app.lipschitz.robustness.attack import Fallen
from app.lipschitz.robustness.certificates import Certificates, share_verdict
from app.lipschitz.robustness.radii import Radii, Samples
from tests.lipschitz.onnx_networks import mlp
from tests.lipschitz.walk.test_margins import weights


def stored(rows: np.ndarray, labels: np.ndarray | None = None) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=rows, **({} if labels is None else {"labels": labels}))
    return buffer.getvalue()


def records(data: bytes, rows: np.ndarray, labels: np.ndarray | None = None, **fields: Any) -> list[dict[str, Any]]:
    return result_of(data, rows, labels, **fields)["certificates"]


def result_of(data: bytes, rows: np.ndarray, labels: np.ndarray | None = None, **fields: Any) -> dict[str, Any]:
    return analyze(data, {"methods": ["autolip"], "certify": True} | fields, dataset=stored(rows, labels))["result"]


def random_net(*sizes: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(seed + 1)
    return weights(*sizes, seed=seed), [random.standard_normal(size) / 2.0 for size in sizes[1:]]


def evaluated(layers: list[np.ndarray], biases: list[np.ndarray], x: Tensor, act=torch.relu) -> Tensor:
    for k, (weight, bias) in enumerate(zip(layers, biases, strict=True)):
        x = x @ torch.from_numpy(weight).T + torch.from_numpy(bias)
        x = act(x) if k < len(layers) - 1 else x
    return x


@pytest.mark.parametrize(("norm", "dual"), [("1", np.inf), ("2", 2), ("inf", 1)])
def test_a_linear_classifier_has_its_exact_radius(norm: str, dual: float) -> None:
    layers, biases = random_net(6, 4)
    rows = np.random.default_rng(3).standard_normal((20, 6))
    found = records(mlp(layers, biases), rows, norm=norm)
    values = rows @ layers[0].T + biases[0]
    for one, value in zip(found, values, strict=True):
        c = int(value.argmax())
        exact = {
            j: (value[c] - value[j]) / np.linalg.norm(layers[0][c] - layers[0][j], dual) for j in range(4) if j != c
        }
        least = min(exact, key=exact.__getitem__)
        assert (one["prediction"], one["against"], one["label"]) == (c, least, None)
        assert exact[least] * (1.0 - 1e-9) <= one["radius"] <= exact[least]


def adversary(function, x: Tensor, predicted: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Whether some point of each ball has another prediction, as far as sampling and ascent find one, `(S,)`."""
    generator = torch.Generator().manual_seed(0)
    order = {"1": 1.0, "2": 2.0, "inf": float("inf")}[norm]
    flipped = torch.zeros(len(x), dtype=torch.bool)
    for _ in range(8):
        away = torch.randn(x.shape, dtype=torch.float64, generator=generator)
        for _ in range(20):
            at = (x + away).requires_grad_(True)
            values = function(at)
            rest = values.scatter(1, predicted[:, None], -torch.inf).amax(1)
            (pull,) = torch.autograd.grad((rest - values.gather(1, predicted[:, None])[:, 0]).sum(), at)
            steepest = torch.sign(pull) if norm == "inf" else pull
            away = away + 0.3 * radius[:, None] * steepest / steepest.norm(dim=1, keepdim=True).clamp(min=1e-12)
            length = torch.linalg.vector_norm(away, order, dim=1).clamp(min=1e-300)
            away = away * (radius / length).clamp(max=1.0)[:, None]
        flipped |= function(x + away).argmax(1) != predicted
    return flipped


@pytest.mark.parametrize(
    ("norm", "act", "function"),
    [
        pytest.param(norm, act, function, marks=() if quick else pytest.mark.slow)
        for act, function, usual in (("Relu", torch.relu, "12"), ("Tanh", torch.tanh, "inf"))
        for norm, quick in ((norm, norm in usual) for norm in ("1", "2", "inf"))
    ],
)
def test_no_adversary_lies_within_the_radius_and_some_not_far_beyond(norm: str, act: str, function) -> None:
    layers, biases = random_net(3, 12, 8, 4, seed=5)
    rows = np.random.default_rng(7).standard_normal((4, 3))
    found = records(mlp(layers, biases, act=act), rows, norm=norm)
    x, radius = torch.from_numpy(rows), torch.tensor([one["radius"] for one in found], dtype=torch.float64)
    predicted = torch.tensor([one["prediction"] for one in found])
    assert bool((radius > 0.0).all())

    def network(points: Tensor) -> Tensor:
        return evaluated(layers, biases, points, function)

    assert not bool(adversary(network, x, predicted, radius, norm).any())
    assert bool(adversary(network, x, predicted, 20.0 * radius, norm).any())


def test_balls_give_larger_radii_than_the_whole_space() -> None:
    layers, biases = random_net(4, 20, 5, seed=2)
    rows = np.random.default_rng(7).standard_normal((20, 4))
    result = result_of(mlp(layers, biases), rows, methods=["autolip", "lipsdp"], target={"kind": "margins"})
    constants = {(i, j): value for i, j, value in result["estimates"][1]["details"]["pairs"]}
    values = evaluated(layers, biases, torch.from_numpy(rows)).numpy()
    grown = 0
    for one, value in zip(result["certificates"], values, strict=True):
        c = one["prediction"]
        leads = {j: value[c] - value[j] for j in range(5) if j != c}
        everywhere = min(lead / constants[min(c, j), max(c, j)] for j, lead in leads.items())
        assert one["radius"] >= everywhere * (1.0 - 1e-6)
        grown += one["radius"] > everywhere * 1.05 and one["method"] != "global"
    assert grown >= 10


def test_a_ball_of_one_linear_piece_gives_the_exact_radius() -> None:
    """f(x) = (relu(x + 10), 0): linear with slope 1 about x = 1, and the boundary is as far as the kink."""
    layers = [np.array([[1.0], [1.0]]), np.array([[1.0, 2.0], [0.0, 0.0]])]
    biases = [np.array([10.0, -20.0]), np.array([0.0, 0.0])]
    (one,) = records(mlp(layers, biases), np.array([[1.0]]))
    assert 10.8 <= one["radius"] <= 11.0
    assert one["method"] != "global"


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_rows_together_and_alone_agree(seed: int) -> None:
    layers, biases = random_net(3, 6, 3, seed=seed)
    rows = np.random.default_rng(seed).standard_normal((2, 3))
    together = records(mlp(layers, biases), rows)
    for row, one in zip(rows, together, strict=True):
        (alone,) = records(mlp(layers, biases), row[None])
        assert alone["radius"] == pytest.approx(one["radius"], rel=0.02)
        assert (alone["prediction"], alone["label"]) == (one["prediction"], one["label"])


def test_a_softmax_changes_no_prediction() -> None:
    import torch.nn as nn

    from benchmarks.networks import exported

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    rows = np.random.default_rng(0).standard_normal((5, 3))
    bare = records(exported(plain, (1, 3)), rows)
    soft = records(exported(nn.Sequential(plain, nn.Softmax(1)), (1, 3)), rows)
    assert [one["radius"] for one in soft] == pytest.approx([one["radius"] for one in bare], rel=1e-6)


def test_labels_are_reported_and_do_not_change_the_radius() -> None:
    layers, biases = random_net(3, 6, 3)
    rows = np.random.default_rng(0).standard_normal((4, 3))
    plain = records(mlp(layers, biases), rows)
    labelled = records(mlp(layers, biases), rows, np.arange(4) % 3)
    assert [one["label"] for one in labelled] == [0, 1, 2, 0]
    assert [one["radius"] for one in labelled] == [one["radius"] for one in plain]


def test_every_upper_method_serves() -> None:
    layers, biases = random_net(3, 6, 4)
    rows = np.random.default_rng(0).standard_normal((2, 3))
    methods = ["frobenius", "autolip", "seqlip", "lipsdp", "exact", "gradient", "dataset"]
    together, alone = records(mlp(layers, biases), rows, methods=methods), records(mlp(layers, biases), rows)
    assert [one["radius"] for one in together] == pytest.approx([one["radius"] for one in alone], rel=0.02)


def test_a_tie_has_no_radius() -> None:
    found = records(mlp([np.array([[1.0], [1.0]])]), np.array([[2.0]]))
    assert found[0]["radius"] == 0.0


def test_a_constant_difference_is_never_overturned() -> None:
    biases = [np.array([1.0, 0.0])]
    (one,) = records(mlp([np.array([[1.0], [1.0]])], biases), np.array([[2.0]]))
    assert (one["radius"], one["reason"]) == (None, "no perturbation changes the prediction")


def test_rows_outside_the_domain_are_left_out_and_counted() -> None:
    layers, biases = random_net(3, 6, 3)
    rows = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 2.0]])
    result = result_of(mlp(layers, biases), rows, domain={"kind": "box", "lower": 0, "upper": 1})
    assert [one["index"] for one in result["certificates"]] == [0]
    assert result["warnings"] == ["no radius for 1 rows of the data set: outside the domain"]


def test_a_data_set_outside_the_domain_has_no_radii() -> None:
    layers, biases = random_net(3, 6, 5)
    result = result_of(mlp(layers, biases), np.full((2, 3), 7.0), domain={"kind": "box", "lower": 0, "upper": 1})
    assert result["certificates"] == []
    assert result["warnings"] == ["no radius for 2 rows of the data set: outside the domain"]


def test_what_is_no_classifier_says_so() -> None:
    layers, biases = random_net(3, 6, 3)
    result = result_of(mlp(layers, biases), np.zeros((1, 3)), target={"kind": "logit", "index": 1})
    assert result["certificates"] == []
    assert "at least two outputs" in result["warnings"][0]


def test_no_radii_without_a_data_set_or_where_none_are_wanted() -> None:
    layers, biases = random_net(3, 6, 3)
    assert analyze(mlp(layers, biases), {"methods": ["autolip"]})["result"]["certificates"] == []
    assert result_of(mlp(layers, biases), np.zeros((1, 3)), certify=False)["certificates"] == []


def test_a_spent_budget_leaves_the_radii_of_the_walk() -> None:
    layers, biases = random_net(3, 6, 3)
    rows = np.random.default_rng(0).standard_normal((5, 3))
    late = records(mlp(layers, biases), rows, budget_s=1e-9)
    in_time = records(mlp(layers, biases), rows)
    assert {one["method"] for one in late} == {"global"}
    assert all(0.0 < a["radius"] <= b["radius"] for a, b in zip(late, in_time, strict=True))


def test_rows_without_time_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.lipschitz.robustness.certificates.GRACE_S", 0.0)
    layers, biases = random_net(3, 6, 3)
    result = result_of(mlp(layers, biases), np.zeros((5, 3)), budget_s=1e-9)
    assert result["certificates"] == []
    assert "5 rows of the data set: left over when the time budget was spent" in result["warnings"][0]


@pytest.mark.parametrize(
    ("share", "radius", "verdict"), [(0.5, 0.2, "pass"), (0.75, 0.2, "inconclusive"), (0.9, 0.2, "fail")]
)
def test_the_gate_on_certified_rows(share: float, radius: float, verdict: str) -> None:
    radii = torch.tensor([0.2, torch.inf, 0.1, 9.0], dtype=torch.float64)
    points, predicted = torch.zeros(4, 1, dtype=torch.float64), torch.tensor([1, 1, 0, 0])
    samples = Samples([0, 1, 2, 3], points, predicted, torch.ones(4, 3, dtype=torch.float64))
    none = torch.zeros(4, dtype=torch.int64)
    found = Certificates(4, samples, torch.tensor([1, 1, 0, 2]), Radii(radii, none, none), Fallen.none(points))
    assert share_verdict(found, share, radius) == verdict


def test_the_gate_reaches_the_verdict() -> None:
    layers, biases = random_net(3, 6, 3)
    rows = np.random.default_rng(0).standard_normal((4, 3))
    for radius, verdict in ((1e-6, "pass"), (1e6, "fail")):
        gate = {"min_certified_share": 1.0, "radius": radius}
        assert result_of(mlp(layers, biases), rows, gate=gate)["verdict"] == verdict
