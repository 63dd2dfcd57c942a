"""The last gate: the typed network must compute what the captured graph computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from app.lipschitz.artifact.captured import Captured
from app.lipschitz.artifact.graphs import evaluate, results
from app.lipschitz.domain import Domain, WholeSpace
from app.lipschitz.errors import ConversionMismatch
from app.lipschitz.network.nodes import Network

SCALES = (1.0, 0.1, 10.0)
TOLERANCE = 1e-8
"""Relative to the largest output; both sides compute in float64, so only rounding separates them."""


def check_agreement(
    network: Network, captured: Captured, outputs: Sequence[int], seed: int, domain: Domain | None = None
) -> None:
    """Raise ConversionMismatch unless network and graph agree on random points of the domain."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    for scale in SCALES:
        x = (domain or WholeSpace()).sample(1, network.input.size, scale, generator)
        ours, theirs = network(x)[0], evaluate_graph(captured, outputs, x[0])
        if ours.shape != theirs.shape:
            raise ConversionMismatch(f"the network has {len(ours)} outputs, the graph {len(theirs)}")
        apart, size = float((ours - theirs).abs().max()), float(theirs.abs().max())
        if not apart <= TOLERANCE * max(size, 1e-30):
            raise ConversionMismatch(
                f"the network differs from the captured graph by {apart:.3g} at outputs of size {size:.3g}: "
                "a rule is wrong for this model; please report it"
            )


def evaluate_graph(captured: Captured, outputs: Sequence[int], x: Tensor) -> Tensor:
    """The captured graph's chosen outputs at one flat input `(n,)`, laid end to end."""
    shapes = [spec.shape for spec in captured.inputs]
    pieces = x.cpu().split([torch.Size(shape).numel() for shape in shapes])
    given = [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    ends = results(captured.graph)
    values = evaluate(captured.graph, given, [ends[position] for position in outputs])
    return torch.cat([value.reshape(-1) for value in values]).to(x.device)
