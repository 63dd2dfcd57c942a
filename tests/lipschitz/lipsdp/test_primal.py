"""The primal iteration: against the interior point, on any graph, proved by sparse elimination."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.contract.options import LipsdpOptions
from app.lipschitz.certificate.check import check_piece
from app.lipschitz.certificate.export import certificate
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.deadline import NEVER, Deadline
from app.lipschitz.formulation import make_problem
from app.lipschitz.lipsdp import lipsdp
from app.lipschitz.problem import Estimate, Problem
from app.lipschitz.request import Request
from tests.effort import sampled
from tests.lipschitz.helpers import autolip_of, captured, jacobian_norms

OPTIONS = LipsdpOptions()


def problem_of(model: nn.Module, *shape: int, **fields: Any) -> Problem:
    request = Request.parse({"methods": ["lipsdp"]} | fields)
    return make_problem(captured(model, shape), request, NEVER, lambda _: None, None)


@pytest.fixture
def primal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece is too small for the primal iteration, none has the interior-point method, none dense arithmetic."""
    for name in ("SMALL_SIDE", "MIDDLE_SIDE"):
        monkeypatch.setattr(f"app.lipschitz.lipsdp.lipsdp.{name}", 0)
    monkeypatch.setattr("app.lipschitz.certificate.prover.DENSE_SIDE", 0)
    monkeypatch.setattr("app.lipschitz.certificate.prover.LARGEST_SIDE", 0)


def linear(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """Convolutions, a skip, a concatenation, strides and a dense end."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.three, self.last = nn.Conv2d(6, 4, 3, stride=2), nn.Linear(16, 3)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        first = self.act(self.one(x))
        second = self.act(first + self.two(first))
        third = self.act(self.three(torch.cat([first, second], 1)))
        return self.last(third.flatten(1))


class Pooled(nn.Module):
    """Maxima over windows that overlap, reach into the padding and leave entries out; an odd number of entries."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 2)
        self.pool, self.last = nn.MaxPool2d(3, stride=2, padding=1), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.pool(torch.relu(self.one(x)))
        second = nn.functional.max_pool2d(self.two(first), 2, stride=1, dilation=1, ceil_mode=True)
        return self.last(torch.relu(second).flatten(1))


NETS = [
    (linear(6, 10, 8, 3), (1, 6)),
    (linear(4, 9, 9, 9, 1, act=nn.Tanh), (1, 4)),
    (linear(5, 12, 7, 2, act=nn.GELU), (1, 5)),
    (nn.Sequential(nn.Conv1d(1, 3, 3), nn.LeakyReLU(0.2), nn.Conv1d(3, 2, 3, stride=2)), (1, 1, 9)),
    (Residual(nn.ReLU()), (1, 2, 5, 5)),
    (Residual(nn.SiLU()), (1, 2, 5, 5)),
    (Pooled(), (1, 1, 7, 7)),
]


def seeded(model: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    for weight in model.parameters():
        nn.init.normal_(weight, std=1.0 if weight.ndim == 1 else (2.0 / weight[0].numel()) ** 0.5)
    return model.double()


@pytest.mark.parametrize(("seed", "net"), sampled(range(8), range(len(NETS) - 1), every=7))
def test_agrees_with_the_interior_point(seed: int, net: int, primal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, shape = NETS[net]
    problem = problem_of(seeded(model, seed), *shape)
    found = lipsdp.lipsdp(problem, OPTIONS)
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)
    reference = lipsdp.lipsdp(problem, OPTIONS)
    assert found.value is not None
    assert reference.value is not None
    assert found.details["iterations"] != reference.details["iterations"]
    assert reference.details["relaxation_optimum"] * (1 - 1e-7) <= found.value <= reference.value * 1.001
    assert found.details["relaxation_optimum"] <= reference.value * (1 + 1e-7)


@pytest.mark.parametrize(("seed", "net"), sampled(range(60), range(len(NETS)), every=45))
def test_never_below_a_jacobian(seed: int, net: int, primal: None) -> None:
    """On the whole space and on boxes; the certificate is checked by sparse arithmetic alone."""
    model, shape = NETS[net]
    size = int(np.prod(shape))
    domain = (
        {"kind": "all"}
        if seed % 2 or isinstance(model, Pooled)
        else {"kind": "box", "lower": [-0.5] * size, "upper": [0.5] * size}
    )
    problem = problem_of(seeded(model, 100 + seed), *shape, domain=domain)
    found = lipsdp.lipsdp(problem, OPTIONS)
    points = torch.rand(50, size, dtype=torch.float64) - 0.5
    steepest = float(jacobian_norms(problem.network, "2", points).max())
    assert found.value is not None
    assert steepest * (1 - 1e-9) <= found.value
    assert_certified(problem, found, domain)


def assert_certified(problem: Problem, found: Estimate, domain: dict[str, Any]) -> None:
    request = Request.parse({"methods": ["lipsdp"], "domain": domain})
    written = certificate(problem, request, "0" * 64, [found])
    assert written is not None
    assert found.value is not None
    assert written.bound <= found.value * (1 + 1e-6)
    (piece,) = [piece for piece in written.pieces if piece.kind == "lipsdp"]
    assert check_piece(problem, piece) == "independent"
    assert piece.rho is not None
    less = replace(piece, rho=piece.rho * 0.99, constant=piece.constant * 0.996)
    with pytest.raises(InvalidCertificate, match="do not prove"):
        check_piece(problem, less)
    records = [replace(one, multipliers=[0.5 * t for t in one.multipliers]) for one in piece.activations]
    if not any(t for one in records for t in one.multipliers):
        return  # no neuron is open: nothing is left to multipliers
    with pytest.raises(InvalidCertificate, match="do not prove"):
        check_piece(problem, replace(piece, activations=records))


def test_a_pooled_network_is_bounded_as_one_piece(primal: None) -> None:
    model, shape = NETS[-1]
    problem = problem_of(seeded(model, 3), *shape)
    found = lipsdp.lipsdp(problem, OPTIONS)
    assert found.value is not None
    assert found.details["whole"]
    assert found.details["pieces"] == 1
    assert found.value < 0.8 * autolip_of(problem.network, "2")
    assert found.value <= found.details["relaxation_optimum"] * 1.001


def test_a_convolutional_network_is_bounded_as_one_piece(primal: None) -> None:
    """784 + 2,352 + 294 variables, which were two factors or minutes of dense algebra."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 6, 4, stride=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(294, 4),
    )
    problem = problem_of(model, 1, 1, 28, 28)
    found = lipsdp.lipsdp(problem, OPTIONS)
    assert found.value is not None
    assert found.details["whole"]
    assert found.details["pieces"] == 1
    assert found.details["gap"] < 2e-3
    assert_certified(problem, found, {"kind": "all"})


class DenseResidual(nn.Module):
    """A skip around two layers, so that maps are added, which rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.relu(self.first(x))
        return self.last(torch.relu(first + self.two(torch.relu(self.one(first)))))


def test_neurons_whose_weights_have_died(primal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained with weight decay they read 1e-38 of what is there; multipliers to match would magnify rounding."""
    model = seeded(DenseResidual(), 0)
    with torch.no_grad():
        for layer in (model.first, model.one, model.two):  # type: ignore[union-attr]
            layer.weight[:5] *= 1e-38  # type: ignore[index, union-attr, operator]
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.bound", lambda *_: None)
    found = lipsdp.lipsdp(problem_of(model, 1, 8), OPTIONS)
    assert found.value is not None
    assert found.details["pieces"] == 1, "the primal iteration's multipliers are proved"
    assert found.value <= float(found.details["relaxation_optimum"]) * 1.001  # type: ignore[arg-type]


def test_small_neurons_among_large_ones_have_their_own_multipliers(primal: None) -> None:
    """Rows divided and their readers multiplied by 2^13: the same function, with the same bound."""
    model = seeded(linear(8, 16, 12, 3), 0)
    plain = lipsdp.lipsdp(problem_of(model, 1, 8), OPTIONS)
    with torch.no_grad():
        for first, second in ((model[0], model[2]), (model[2], model[4])):  # type: ignore[index]
            first.weight[:5] /= 2.0**13
            first.bias[:5] /= 2.0**13
            second.weight[:, :5] *= 2.0**13
    found = lipsdp.lipsdp(problem_of(model, 1, 8), OPTIONS)
    assert plain.value is not None
    assert found.value == pytest.approx(plain.value, rel=3e-4)


def test_dear_eliminations_are_one(primal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no time for many, the proof is the first, and little above the optimum."""
    monkeypatch.setattr("app.lipschitz.lipsdp.primal.bound.AGAIN", 10**12)
    monkeypatch.setattr("app.lipschitz.lipsdp.primal.multipliers.Search.levels", lambda *_: pytest.fail("a second one"))
    problem = problem_of(seeded(Pooled(), 0), 1, 1, 7, 7)
    problem = replace(problem, deadline=Deadline.after(600.0))
    found = lipsdp.lipsdp(problem, OPTIONS)
    assert found.value is not None
    assert found.value <= float(found.details["relaxation_optimum"]) * 1.0011  # type: ignore[arg-type]
    assert_certified(problem, found, {"kind": "all"})


class MaximaBeside(nn.Module):
    """Maxima beside an activation, so that no cut parts them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        largest = nn.functional.max_pool1d(self.two(x)[:, None], 3, stride=1, padding=1)[:, 0]
        return self.last(torch.relu(torch.relu(self.one(x)) + largest))


@pytest.mark.parametrize("domain", [{"kind": "all"}, {"kind": "box", "lower": [-1.0] * 6, "upper": [1.0] * 6}])
@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("is_solved", [True, False])
def test_maxima_beside_activations_fail_no_method(
    domain: dict[str, Any], p: str, is_solved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_solved:
        monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)
    model = seeded(MaximaBeside(), 1)
    problem = problem_of(model, 1, 6, domain=domain, norm=p)
    found = lipsdp.lipsdp(problem, OPTIONS)
    x = 2.0 * torch.rand(200, 6, dtype=torch.float64) - 1.0
    assert found.value is not None
    assert found.value >= float(jacobian_norms(problem.network, problem.p, x).max())
    assert found.value <= autolip_of(problem.network, p) * (1 + 1e-9)  # type: ignore[arg-type]
