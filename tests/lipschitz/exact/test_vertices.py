"""Networks of any size whose open neurons are few: the largest norm over all vertices, certified."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.contract.options import ExactOptions
from app.lipschitz.deadline import Deadline
from app.lipschitz.domain import Ball, Box, Domain
from app.lipschitz.exact.exact import exact
from app.lipschitz.exact.vertices import LARGEST, by_vertices, count_open
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Activation
from app.lipschitz.problem import Problem
from tests.lipschitz.certificate.models import certified, verdict
from tests.lipschitz.helpers import ORDER, captured
from tests.lipschitz.onnx_networks import mlp

WIDE = 70


def perceptron(seed: int, *widths: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(widths):
        layers += [nn.Linear(i, o), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-1]).double()


def problem_on(module: nn.Module, size: int, p: Any, domain: Domain) -> Problem:
    graph = captured(module, (1, size))
    return Problem(graph, build(graph, [0]), p, domain, 0, Deadline.after(60), lambda _: None)


def largest(module: nn.Sequential, problem: Problem) -> float:
    """The largest norm over all patterns of the neurons that are open, by multiplying everything out."""
    ends = [problem.local.slopes(node) for node in problem.network.nodes if isinstance(node, Activation)]
    choices = [
        [(low, high) if low < high else (low,) for low, high in zip(*(e.tolist() for e in end), strict=True)]
        for end in ends
    ]
    weights = [layer.weight.detach() for layer in module if isinstance(layer, nn.Linear)]
    best = 0.0
    for slopes in itertools.product(*(c for choice in choices for c in choice)):
        jacobian, rest = weights[0], list(slopes)
        for weight, choice in zip(weights[1:], choices, strict=True):
            own, rest = rest[: len(choice)], rest[len(choice) :]
            jacobian = weight @ (torch.tensor(own, dtype=torch.float64)[:, None] * jacobian)
        best = max(best, float(torch.linalg.matrix_norm(jacobian, ORDER[problem.p])))
    return best


@pytest.mark.parametrize("p", ["1", "2", "inf"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_largest_vertex_bounds_and_is_the_least_such_bound(seed: int, p: Any) -> None:
    module = perceptron(seed, WIDE, 12, 9, 3)
    centre = torch.linspace(-1, 1, WIDE, dtype=torch.float64)
    problem = problem_on(module, WIDE, p, Ball(centre, {"1": 0.3, "2": 0.12, "inf": 0.015}[p], p))
    assert 0 < count_open(problem) <= 8
    found = by_vertices(problem, problem.deadline)
    truth = largest(module, problem)
    assert found is not None
    assert found.details["status"] == "vertices"
    assert found.value is not None
    assert truth <= found.value <= truth * (1 + 1e-9)


def test_without_open_neurons_it_is_the_norm_of_a_matrix() -> None:
    module = perceptron(0, WIDE, 12, 9, 3)
    centre = torch.linspace(-1, 1, WIDE, dtype=torch.float64)
    problem = problem_on(module, WIDE, "2", Ball(centre, 1e-7, "2"))
    found = exact(problem, ExactOptions())
    assert found.details["vertices"] == 1
    assert found.value == pytest.approx(largest(module, problem), rel=1e-9)


def test_too_many_or_other_nodes_have_no_vertices() -> None:
    centre = torch.zeros(WIDE, dtype=torch.float64)
    problem = problem_on(perceptron(0, WIDE, 40, 40, 3), WIDE, "2", Ball(centre, 5.0, "2"))
    assert count_open(problem) > LARGEST
    assert by_vertices(problem, problem.deadline) is None

    def squared(x: Tensor) -> Tensor:
        return x * torch.softmax(x, 1)

    graph = captured(squared, (1, 3))
    box = Box(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    other = Problem(graph, build(graph, [0]), "2", box, 0, Deadline.after(60), lambda _: None)
    assert by_vertices(other, other.deadline) is None


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_it_has_a_certificate(norm: str) -> None:
    module = perceptron(1, WIDE, 12, 9, 3)
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    model = mlp([one.weight.detach().numpy() for one in linear], [one.bias.detach().numpy() for one in linear], "Relu")
    centre = torch.linspace(-1, 1, WIDE).double().tolist()
    domain = {"kind": "ball", "center": centre, "radius": {"1": 0.3, "2": 0.1, "inf": 0.01}[norm]}
    certificate, upper = certified(model, "exact", domain=domain, norm=norm, options={"exact": {"seconds": 2.0}})
    answer = verdict(model, certificate)
    assert (answer["valid"], answer["method"], answer["check"]) == (True, "exact", "independent"), answer["reasons"]
    assert certificate["reported"] == {"method": "exact", "value": upper}
    assert upper <= certificate["bound"] * (1 + 1e-8)
    certificate["bound"] = certificate["pieces"][0]["constant"] = certificate["bound"] * (1 - 1e-4)
    assert not verdict(model, certificate)["valid"]
