"""Maxima over windows written out as rectifiers are the same function."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from app.lipschitz.network.maxima import is_maximum, written_out
from app.lipschitz.network.nodes import Network
from tests.lipschitz.helpers import network_of

POOLS: list[tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = [
    (lambda x: functional.max_pool2d(x, 2), (1, 2, 5, 4)),
    (lambda x: functional.max_pool2d(x, (3, 2), stride=(2, 1), padding=(1, 1)), (2, 3, 6, 5)),
    (lambda x: functional.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True), (1, 2, 6, 7)),
    (lambda x: functional.max_pool2d(x, 2, stride=1, dilation=2), (1, 1, 5, 6)),
    (lambda x: functional.max_pool1d(x, 3, stride=1, padding=1), (1, 2, 7)),
    (lambda x: functional.max_pool3d(x, 2, stride=1), (1, 1, 3, 3, 4)),
    (lambda x: functional.max_pool2d(x, 1, stride=2), (1, 2, 4, 4)),
]


@pytest.mark.parametrize(("pool", "shape"), POOLS)
def test_maxima_written_out(pool: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    network = network_of(lambda x: torch.tanh(2.0 * pool(x) + 1.0), shape)
    assert any(is_maximum(node) for node in network.nodes)
    found = written_out(network.nodes[1:])
    assert not any(is_maximum(node) for node in found.nodes)
    assert len(found.origin) == 1
    points = torch.randn(200, network.input.size, dtype=torch.float64)
    torch.testing.assert_close(Network((network.input, *found.nodes))(points), network(points), rtol=1e-12, atol=1e-12)


def test_nothing_changes_without_maxima() -> None:
    network = network_of(lambda x: torch.relu(x) + x, (1, 4))
    found = written_out(network.nodes[1:])
    assert found.nodes == network.nodes[1:]
    assert all(new is old for new, old in found.origin.items())
