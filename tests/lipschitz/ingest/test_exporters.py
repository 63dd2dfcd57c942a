"""What a network was exported by does not change its bound."""

from __future__ import annotations

import pytest
import torch

from app.lipschitz.agreement import check_agreement
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.ingest import capture
from app.lipschitz.network.build import build
from tests.effort import sampled
from tests.lipschitz.helpers import autolip_of, captured
from tests.lipschitz.ingest.exporters import EXPORTERS, NETWORKS, keras_cnn, keras_mlp, trained

TOLERANCE = 1e-6
"""Exporters that fold batch norms do so in float32."""


def bounds(graph: Captured) -> list[float]:
    positions = range(len(graph.outputs))
    network = build(graph, positions)
    check_agreement(network, graph, positions, seed=2)
    return [autolip_of(network, p) for p in ("1", "2", "inf")]


def original(name: str) -> list[float]:
    """The torch network traced as it is, in float64."""
    make, shape = NETWORKS[name]
    return bounds(captured(trained(make), (1, *shape)))


@pytest.mark.parametrize(("name", "exporter"), sampled(NETWORKS, EXPORTERS, every=7))
def test_every_exporter_gives_the_same_bound(name: str, exporter: str) -> None:
    make, shape = NETWORKS[name]
    data = EXPORTERS[exporter](trained(make), torch.zeros(2, *shape))
    batch = 2 if exporter == "torch.export (core)" else 1  # exported with a fixed batch
    graph = capture(data, [[batch, *shape]])
    assert bounds(graph) == pytest.approx(original(name), rel=TOLERANCE)


@pytest.mark.parametrize("opset", sampled([13, 17, 21], every=3))
def test_keras_style_graphs_give_the_same_bound(opset: int) -> None:
    assert bounds(capture(keras_mlp(trained(NETWORKS["mlp"][0]), opset))) == pytest.approx(
        original("mlp"), rel=TOLERANCE
    )
    assert bounds(capture(keras_cnn(trained(NETWORKS["cnn"][0]), opset))) == pytest.approx(
        original("cnn"), rel=TOLERANCE
    )
