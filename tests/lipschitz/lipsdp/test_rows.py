"""LipSDP in the inf- and 1-norm: against vertices and Jacobians, and its certificates."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app.contract.options import LipsdpOptions
from app.lipschitz.certificate.check import check_piece
from app.lipschitz.certificate.export import certificate
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.record import PieceRecord
from app.lipschitz.lipsdp.lipsdp import lipsdp
from app.lipschitz.operators.norm import Norm
from app.lipschitz.problem import Estimate, Problem
from app.lipschitz.request import Request
from tests.effort import sampled
from tests.lipschitz.helpers import ORDER, autolip_of, jacobian_norms
from tests.lipschitz.lipsdp.test_primal import NETS, linear, problem_of, seeded

NORMS: tuple[Norm, ...] = ("inf", "1")


def solved(problem: Problem) -> Estimate:
    found = lipsdp(problem, LipsdpOptions())
    assert found.value is not None
    return found


def record_of(problem: Problem, found: Estimate, fields: dict[str, Any]) -> PieceRecord:
    written = certificate(problem, Request.parse({"methods": ["lipsdp"]} | fields), "0" * 64, [found])
    assert written is not None
    assert found.value is not None
    assert found.value <= written.bound <= found.value * (1 + 1e-5)
    (piece,) = [piece for piece in written.pieces if piece.kind == "rows"]
    return piece


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_between_the_vertices_and_the_optimum(norm: Norm, seed: int) -> None:
    """All patterns of slopes are below, the trajectories' value, which no proof can go below, at most 0.1 %."""
    model = seeded(linear(3, 4, 4, 3), seed)
    problem = problem_of(model, 1, 3, norm=norm)
    found = solved(problem)
    first, second, third = (layer.weight.detach().numpy() for layer in model if isinstance(layer, nn.Linear))  # type: ignore[attr-defined]
    patterns = list(itertools.product([0.0, 1.0], repeat=4))
    steepest = max(
        np.linalg.norm(third @ (np.array(b)[:, None] * second) @ (np.array(a)[:, None] * first), ORDER[norm])
        for a in patterns
        for b in patterns
    )
    assert found.value is not None
    assert steepest * (1 - 1e-9) <= found.value <= 1.25 * steepest
    assert found.value <= found.details["relaxation_optimum"] * 1.001
    assert found.value < 0.95 * autolip_of(problem.network, norm)


@pytest.mark.parametrize("norm", NORMS)
def test_one_row_of_positive_weights_is_exact(norm: Norm) -> None:
    """No path cancels another: the constant is that of all slopes at one."""
    model = linear(3, 5, 4, 2)
    for weight in seeded(model, 0).parameters():
        weight.data.abs_()
    weights = [layer.weight.detach() for layer in model if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
    exact = float(torch.linalg.matrix_norm(weights[2] @ weights[1] @ weights[0], ORDER[norm]))
    assert solved(problem_of(model, 1, 3, norm=norm)).value == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("seed", "net"), sampled(range(30), range(len(NETS) - 1), every=30))
def test_never_below_a_jacobian(norm: Norm, seed: int, net: int) -> None:
    model, shape = NETS[net]
    size = int(np.prod(shape))
    domain = {"kind": "all"} if seed % 2 else {"kind": "box", "lower": [-0.3] * size, "upper": [0.3] * size}
    problem = problem_of(seeded(model, 200 + seed), *shape, norm=norm, domain=domain)
    found = solved(problem)
    points = 0.6 * torch.rand(50, size, dtype=torch.float64) - 0.3
    steepest = float(jacobian_norms(problem.network, norm, points).max())
    assert found.value is not None
    assert steepest * (1 - 1e-9) <= found.value
    record = record_of(problem, found, {"norm": norm, "domain": domain})
    assert check_piece(problem, record) == "independent"


@pytest.mark.parametrize("norm", NORMS)
def test_a_piece_whose_slopes_are_all_known_is_one_linear_map(norm: Norm) -> None:
    """Without a neuron, AutoLip's product counted."""
    model = linear(3, 5, 4, 2, act=nn.LeakyReLU)
    domain = {"kind": "box", "lower": [-1e-3] * 3, "upper": [1e-3] * 3}
    problem = problem_of(seeded(model, 0), 1, 3, norm=norm, domain=domain)
    found = solved(problem)
    slope = float(jacobian_norms(problem.network, norm, torch.zeros(1, 3, dtype=torch.float64))[0])
    assert slope <= found.value <= slope * (1 + 1e-4) < 0.9 * autolip_of(problem.network, norm)  # type: ignore[operator]
    assert found.details["neurons"] == 0
    assert check_piece(problem, record_of(problem, found, {"norm": norm, "domain": domain})) == "independent"


@pytest.mark.parametrize("norm", NORMS)
def test_tampered_records_are_refused(norm: Norm) -> None:
    problem = problem_of(seeded(linear(4, 8, 6, 3), 1), 1, 4, norm=norm)
    record = record_of(problem, solved(problem), {"norm": norm})
    program = record.programs[0]

    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(InvalidCertificate, match=match):
            check_piece(problem, replace(record, **changes))

    less = [replace(one, weights=[0.99 * w for w in one.weights]) for one in record.programs]
    refused("add up to more", constant=record.constant * 0.999)
    refused("does not prove", programs=less, constant=record.constant * 0.996)
    refused("no program bounds", programs=[replace(program, rows=program.rows[1:]), *record.programs[1:]])
    refused("does not have", programs=[replace(program, weights=program.weights[1:])])
    refused("does not have", programs=[replace(program, rows=[99])])
    refused("are not those", programs=[replace(program, multipliers=program.multipliers[1:])])
    halved = [[0.3 * t for t in program.multipliers[0]], *program.multipliers[1:]]
    refused("does not prove", programs=[replace(program, multipliers=halved), *record.programs[1:]])
    turned = replace(problem, p="1" if norm == "inf" else "inf")
    with pytest.raises(InvalidCertificate):
        check_piece(turned, record)
