"""Radii of many rows: linear bounds in batches, branch and bound, the attack, and what is told of all of them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.bounds.balls import Balls
from app.lipschitz.bounds.functionals import Functionals, narrowed
from app.lipschitz.bounds.many import Many
from app.lipschitz.bounds.tuned import Climb
from app.lipschitz.deadline import NEVER
from app.lipschitz.domain import vector_norm
from app.lipschitz.files import analyze
from app.lipschitz.network.nodes import Activation, Affine, Input, Network, Node, Term
from app.lipschitz.network.scalars import rectifiers, sigmoids
from app.lipschitz.operators.dense import Dense
from app.lipschitz.robustness.splitting import Splitting
from benchmarks.networks import exported
from tests.lipschitz.onnx_networks import mlp
from tests.lipschitz.robustness.test_certificates import evaluated, random_net, stored

NORMS = ("1", "2", "inf")


def network(*sizes: int, seed: int = 0, scalar: Any = rectifiers.relu) -> Network:
    layers, biases = random_net(*sizes, seed=seed)
    nodes: list[Node] = [Input((sizes[0],), ())]
    for place, (weight, bias) in enumerate(zip(layers, biases, strict=True)):
        term = Term(nodes[-1], Dense((weight.shape[1],), (len(weight),), torch.from_numpy(weight)))
        nodes.append(Affine((len(weight),), (), (term,), torch.from_numpy(bias), 0, "affine"))
        if place < len(layers) - 1:
            nodes.append(Activation(nodes[-1].shape, (), nodes[-1], scalar()))
    return Network(tuple(nodes))


def points_of(balls: Balls, count: int = 400) -> Tensor:
    """Points of each ball, `(S, count, n)`, half of them on its boundary."""
    away = torch.randn(len(balls), count, balls.centres.shape[1], dtype=torch.float64)
    away = away / vector_norm(away.flatten(0, 1), balls.p).reshape(len(balls), count, 1)
    size = torch.rand(len(balls), count, 1, dtype=torch.float64)
    size[:, ::2] = 1.0 - 1e-9
    return balls.centres[:, None] + balls.radii[:, None, None] * size * away


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scalar", [rectifiers.relu, sigmoids.tanh], ids=["relu", "tanh"])
def test_ranges_and_functionals_hold_on_every_ball(norm: Any, scalar: Any) -> None:
    torch.manual_seed(0)
    net = network(5, 12, 9, 3, scalar=scalar)
    balls = Balls(torch.randn(6, 5, dtype=torch.float64), torch.tensor([0.0, 0.01, 0.1, 0.3, 1.0, 4.0]).double(), norm)
    many = Many(net, balls).run(narrowed)
    rows = torch.randn(12, 3, dtype=torch.float64)
    sample = torch.arange(6).repeat(2)
    least = Functionals(many, sample).least(net.output, rows).on(balls.centres[sample], balls.radii[sample], norm)
    values = torch.stack([net(points) for points in points_of(balls)])
    ends = many.ranges[net.output]
    assert bool((values >= ends.lower[:, None]).all())
    assert bool((values <= ends.upper[:, None]).all())
    assert bool(((values[sample] * rows[:, None]).sum(2) >= least[:, None]).all())
    tuned = Climb(many, sample, rows).run(5)
    assert bool((tuned >= least).all())
    assert bool(((values[sample] * rows[:, None]).sum(2) >= tuned[:, None]).all())


@pytest.mark.parametrize("norm", NORMS)
def test_bounds_on_a_part_hold_on_that_part(norm: Any) -> None:
    """Multipliers of phases: points where the phases are as the part says, and no others, keep to the bound."""
    torch.manual_seed(1)
    net = network(2, 6, 6, 2)
    first = net.nodes[1]
    balls = Balls(torch.zeros(4, 2, dtype=torch.float64), torch.full((4,), 1.5, dtype=torch.float64), norm)
    phases = torch.zeros(4, 6, dtype=torch.int8)
    phases[1, 0], phases[2, 0], phases[3, :2] = 1, -1, torch.tensor([1, -1], dtype=torch.int8)
    many = Many(net, balls, phases={first: phases}).run(narrowed)
    rows = torch.randn(4, 2, dtype=torch.float64)
    least = Climb(many, torch.arange(4), rows).run(20)
    points = points_of(balls, 4000)
    for part in range(4):
        z = first.apply(points[part])
        inside = ((z * phases[part]) >= 0.0).all(1)
        assert many.empty.expand(4)[part] <= ~inside.any()
        values = (net(points[part]) * rows[part]).sum(1)
        assert bool((values >= least[part])[inside].all())


def test_branch_and_bound_proves_what_linear_bounds_do_not() -> None:
    """f = (0, |x| - relu(x) - relu(-x) + 1/2): no class changes anywhere, which one relaxation cannot see."""
    first = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    nodes: list[Node] = [Input((1,), ())]
    nodes.append(Affine((4,), (), (Term(nodes[-1], Dense((1,), (4,), torch.from_numpy(first))),), None, 0, "affine"))
    nodes.append(Activation((4,), (), nodes[-1], rectifiers.relu()))
    last = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, 0.5], dtype=torch.float64)
    nodes.append(Affine((2,), (), (Term(nodes[-1], Dense((4,), (2,), last)),), bias, 0, "affine"))
    net, balls = Network(tuple(nodes)), Balls(torch.zeros(1, 1).double(), torch.full((1,), 2.0).double(), "2")
    margin = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    many = Many(net, balls).run(narrowed)
    linear = Functionals(many, torch.zeros(1, dtype=torch.int64)).least(net.output, margin)
    assert float(linear.on(balls.centres, balls.radii, "2")) < 0.0
    assert bool(Splitting(net, balls, torch.tensor([1]), NEVER).proved())
    wrong = Splitting(net, balls, torch.tensor([0]), NEVER)
    assert not bool(wrong.proved())


def certified(data: bytes, rows: np.ndarray, labels: np.ndarray | None = None, **fields: Any) -> dict[str, Any]:
    asked = {"methods": ["autolip"], "certify": True, "budget_s": 2.0} | fields
    return analyze(data, asked, dataset=stored(rows, labels))


def pgd(function: Any, x: Tensor, predicted: Tensor, radius: Tensor, norm: str, restarts: int, steps: int) -> Tensor:
    """Whether projected gradient ascent finds another prediction strictly within each radius, `(S,)`."""
    flipped = torch.zeros(len(x), dtype=torch.bool)
    reach = radius[:, None] * (1.0 - 1e-9)
    for _ in range(restarts):
        away = torch.randn(x.shape, dtype=torch.float64)
        for step in range(steps):
            away = away * (reach / vector_norm(away, norm)[:, None].clamp(min=1e-300)).clamp(max=1.0)  # type: ignore[arg-type]
            at = (x + away).requires_grad_(True)
            values = function(at)
            flipped |= values.argmax(1) != predicted
            rest = values.scatter(1, predicted[:, None], -torch.inf).amax(1)
            (pull,) = torch.autograd.grad((rest - values.gather(1, predicted[:, None])[:, 0]).sum(), at)
            steep = pull.sign() if norm == "inf" else pull / pull.norm(dim=1, keepdim=True).clamp(min=1e-300)
            away = away + 2.5 / steps * (1.0 - 0.8 * step / steps) * reach * steep
    return flipped


@pytest.mark.parametrize(
    ("norm", "rows", "restarts", "steps"),
    [("2", 8, 2, 15), *(pytest.param(norm, 500, 10, 100, marks=pytest.mark.slow) for norm in NORMS)],
)
def test_no_prediction_changes_within_its_radius(norm: str, rows: int, restarts: int, steps: int) -> None:
    torch.manual_seed(0)
    layers, biases = random_net(6, 24, 16, 4, seed=3)
    x = np.random.default_rng(5).standard_normal((rows, 6))
    answer = certified(mlp(layers, biases), x, norm=norm, budget_s=2.0 if rows < 10 else 60.0)
    samples = answer["result"]["certificates"]
    assert {one["method"] for one in samples} - {"global"}
    radius = torch.tensor([one["radius"] for one in samples], dtype=torch.float64)
    predicted = torch.tensor([one["prediction"] for one in samples])
    flipped = pgd(lambda z: evaluated(layers, biases, z), torch.from_numpy(x), predicted, radius, norm, restarts, steps)
    assert not bool(flipped.any())
    assert all(one["attacked"] is not None and one["attacked"] > one["radius"] for one in samples)


def test_the_file_has_all_rows_and_inputs_that_change_the_prediction() -> None:
    layers, biases = random_net(4, 10, 3, seed=2)
    x = np.random.default_rng(1).standard_normal((12, 4))
    labels = np.arange(12) % 3
    answer = certified(mlp(layers, biases), x, labels)
    table = np.load(io.BytesIO(base64.b64decode(answer["radii"])), allow_pickle=False)
    samples, together = answer["result"]["certificates"], answer["result"]["radii"]
    assert table["index"].tolist() == list(range(12))
    assert table["radius"].tolist() == [one["radius"] for one in samples]
    assert table["method"].tolist() == [one["method"] for one in samples]
    near = torch.from_numpy(table["adversarial"])
    changed = evaluated(layers, biases, near).argmax(1).numpy()
    assert (changed == table["attacked_prediction"][table["adversarial_index"]]).all()
    assert (changed != table["prediction"][table["adversarial_index"]]).all()
    away = np.linalg.norm(table["adversarial"] - x[table["adversarial_index"]], axis=1)
    assert np.allclose(away, table["attacked"][table["adversarial_index"]], rtol=1e-6)
    right = sum(one["label"] == one["prediction"] for one in samples)
    assert (together["rows"], together["right"]) == (12, right)
    assert together["certified"][0] == [0.0, pytest.approx(right / 12)]
    assert sum(one["rows"] for one in together["classes"]) == 12
    assert [one["radius"] for one in together["worst"]] == sorted(one["radius"] for one in together["worst"])


def test_a_gate_ends_the_search_once_it_is_decided() -> None:
    layers, biases = random_net(4, 10, 3, seed=2)
    x = np.random.default_rng(1).standard_normal((40, 4))
    phases: list[str] = []
    fields = {"methods": ["autolip"], "gate": {"min_certified_share": 1.0, "radius": 50.0}, "budget_s": 30.0}
    result = analyze(mlp(layers, biases), fields, lambda p: phases.append(p.get("phase", "")), stored(x))["result"]
    assert result["verdict"] == "fail"
    assert "attacking" in phases
    assert "certifying" not in phases


def test_maxima_and_convolutions_are_served_in_batches() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)).double()
    x = np.random.default_rng(0).standard_normal((4, 1, 6, 6))
    samples = certified(exported(module, (1, 1, 6, 6)), x, budget_s=2.0)["result"]["certificates"]
    assert {one["method"] for one in samples} <= {"linear", "split"}
    assert all(0.0 < one["radius"] < one["attacked"] for one in samples)
