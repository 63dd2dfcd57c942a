"""One input of several: the others are held at zero."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from app.lipschitz.agreement import check_agreement
from app.lipschitz.errors import InvalidRequest
from app.lipschitz.network.build import build
from app.lipschitz.network.inputs import with_input
from tests.lipschitz.helpers import autolip_of, captured

generator = torch.Generator().manual_seed(5)
LEFT, RIGHT = (torch.randn(6, n, dtype=torch.float64, generator=generator) for n in (4, 3))


def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.relu(F.linear(x, LEFT) + F.linear(y, RIGHT) + 1)


@pytest.mark.parametrize(("name", "weight"), [("x0", LEFT), ("x1", RIGHT)])
def test_the_others_do_not_count(name: str, weight: torch.Tensor) -> None:
    graph = with_input(captured(add, (1, 4), (1, 3)), name)
    network = build(graph, [0])
    check_agreement(network, graph, [0], seed=0)
    assert [spec.name for spec in graph.inputs] == [name]
    assert autolip_of(network, "2") == pytest.approx(float(torch.linalg.matrix_norm(weight, 2)), rel=1e-10)
    assert "held at zero" in graph.warnings[-1]


def test_without_a_name_all_inputs_are_one_vector() -> None:
    graph = with_input(captured(add, (1, 4), (1, 3)), None)
    want = float(torch.linalg.matrix_norm(torch.cat([LEFT, RIGHT], 1), 2))
    assert autolip_of(build(graph, [0]), "2") == pytest.approx(want, rel=1e-10)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="its inputs are x0, x1"):
        with_input(captured(add, (1, 4), (1, 3)), "z")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_bound() -> None:
    network = build(captured(add, (1, 4), (1, 3)), [0])
    with torch.device("cuda"):
        graph = captured(add, (1, 4), (1, 3))
        on_gpu = build(graph, [0])
        check_agreement(on_gpu, graph, [0], seed=0)
    assert autolip_of(on_gpu, "2") == pytest.approx(autolip_of(network, "2"), rel=1e-9)
