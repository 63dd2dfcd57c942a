"""Networks whose convolutions go to the Fourier domain, from the method's front door."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from app.contract.options import LipsdpOptions
from app.lipschitz.deadline import SPENT, Deadline
from app.lipschitz.domain import Box, Domain, WholeSpace
from app.lipschitz.lipsdp import lipsdp
from app.lipschitz.lipsdp.planning import planned
from app.lipschitz.lipsdp.torus import bound as fourier
from app.lipschitz.lipsdp.torus.bound import fourier_bound, longest_chain
from app.lipschitz.lipsdp.torus.chain import chain_of
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from app.lipschitz.walk.pieces import cuts, joined
from tests.lipschitz.helpers import autolip_of, captured, jacobian_norms, network_of

OPTIONS = LipsdpOptions(gap=1e-5, seconds=60.0)


def problem_of(module: nn.Module, *shape: int, domain: Domain | None = None) -> Problem:
    graph = captured(module, shape)
    return Problem(graph, build(graph, [0]), "2", domain or WholeSpace(), 1, Deadline.after(600), lambda _: None)


def cnn(channels: int = 4) -> nn.Sequential:
    """Strides, an average pooling, a batch norm, a dense head."""
    torch.manual_seed(channels)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * 4, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces beyond 150 variables count as too wide for the dense solver."""
    monkeypatch.setattr("app.lipschitz.lipsdp.sizes.LARGEST_SIDE", 150)
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)


def test_a_chain_too_wide_for_the_dense_solver_goes_to_the_fourier_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(cnn(), 1, 1, 8, 8)
    dense = lipsdp.lipsdp(problem, OPTIONS).value
    wide(monkeypatch)
    pieces = planned(cuts(problem.network), 0, problem.local)
    assert [chain_of(piece.nodes) is not None for piece in pieces] == [True, False, False]
    found = lipsdp.lipsdp(problem, OPTIONS)
    product = autolip_of(problem.network, "2")
    attained = float(jacobian_norms(problem.network, "2", torch.randn(20, 64, dtype=torch.float64)).max())
    assert attained <= dense <= found.value < 0.9 * product
    assert found.layers[0]["gain"] > 1.1
    assert len(found.layers[0]["activations"]) == 2


def test_pieces_follow_the_split_size(monkeypatch: pytest.MonkeyPatch) -> None:
    wide(monkeypatch)
    problem = problem_of(cnn(), 1, 1, 8, 8)
    assert longest_chain(cuts(problem.network), 2) == 3
    assert longest_chain(cuts(problem.network), 0) == 5
    assert lipsdp.lipsdp(problem, OPTIONS.model_copy(update={"split_size": 2})).value < autolip_of(problem.network, "2")


def test_a_chain_too_wide_for_the_fourier_domain_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    wide(monkeypatch)
    monkeypatch.setattr(fourier, "LARGEST_SIDE", 60)
    problem = problem_of(cnn(), 1, 1, 8, 8)
    assert longest_chain(cuts(problem.network), 0) == 3
    assert lipsdp.lipsdp(problem, OPTIONS).value < autolip_of(problem.network, "2")


def test_out_of_time_the_product_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    wide(monkeypatch)
    problem = problem_of(cnn(), 1, 1, 8, 8)
    late = OPTIONS.model_copy(update={"seconds": -1.0})
    assert lipsdp.lipsdp(problem, late).value <= autolip_of(problem.network, "2") * (1 + 1e-12)
    piece = joined(cuts(problem.network)[:5])
    assert fourier_bound(problem, piece, False, 1e-5, SPENT) is None


def test_slopes_on_a_box_narrow_the_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1), nn.Sigmoid(), nn.Conv1d(3, 3, 3, padding=1))
    module[0].bias.data += 3.0
    centre = torch.zeros(80, dtype=torch.float64)
    wide(monkeypatch)
    everywhere = lipsdp.lipsdp(problem_of(module, 1, 1, 80), OPTIONS).value
    local = lipsdp.lipsdp(problem_of(module, 1, 1, 80, domain=Box(centre - 0.1, centre + 0.1)), OPTIONS).value
    network = network_of(module, (1, 1, 80))
    attained = jacobian_norms(network, "2", 0.2 * torch.rand(20, 80, dtype=torch.float64) - 0.1).max()
    assert float(attained) <= local < 0.7 * everywhere


def test_several_images_in_one_input_are_bounded_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Conv1d(3, 2, 3))
    wide(monkeypatch)
    one, three = (lipsdp.lipsdp(problem_of(module, images, 2, 80), OPTIONS).value for images in (1, 3))
    assert three == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(
    ("module", "layers"),
    [
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 1, 3), nn.Tanh(), nn.Conv1d(1, 1, 3)), 3),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.ReLU(), nn.Conv1d(2, 1, 3)), None),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.ConvTranspose1d(2, 1, 3)), None),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Linear(10, 4)), None),
        (nn.Sequential(nn.ReLU(), nn.Conv1d(1, 2, 3)), None),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.Conv1d(2, 1, 3)), None),
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU()), None),
    ],
)
def test_what_counts_as_a_chain(module: nn.Module, layers: int | None) -> None:
    found = chain_of(network_of(module, (1, 1, 12)).nodes[1:])
    assert (None if found is None else len(found)) == layers


def test_a_skip_connection_is_no_chain() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Conv1d(2, 2, 3, padding=1) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.two(torch.relu(self.one(x)))

    assert chain_of(network_of(Skip(), (1, 2, 12)).nodes[1:]) is None
