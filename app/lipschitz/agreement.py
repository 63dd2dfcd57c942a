"""The last gate: the typed network must compute what the captured graph computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .artifact.captured import Captured
from .artifact.graphs import evaluate, results
from .deadline import NEVER, Deadline, Laps, OutOfTime
from .digits.evaluate import values_at
from .digits.number import Unable, ends
from .domain import Domain, WholeSpace
from .errors import ConversionMismatch
from .network.nodes import Network

SCALES = (1.0, 0.1, 10.0)
TOLERANCE = 1e-8
"""Relative to the largest output; both sides compute in float64, so only rounding separates them."""

NOISE_FACTOR = 32.0
"""How many times the graph's own rounding error the network, which sums in another order, may be away."""

SHARE = 0.1
"""Of the time that is left: points beyond the first are compared in that much."""

CEILING = 1e-3
"""Relative rounding error beyond which outputs tell nothing."""

PLACES, SECONDS = 8, 2.0
"""Digits of 24 bits, and time, for the graph in long arithmetic."""


def check_agreement(
    network: Network,
    captured: Captured,
    outputs: Sequence[int],
    seed: int,
    domain: Domain | None = None,
    *,
    deadline: Deadline = NEVER,
) -> None:
    """Raise ConversionMismatch unless network and graph agree on random points of the domain.

    One point is compared whatever the time, another where it would end within a share of what is left.

    Where float64 does not reach, other points count. Where the two differ by more than rounding usually does, the
    graph's rounding error is measured in long arithmetic.
    """
    generator = torch.Generator(torch.get_default_device()).manual_seed(seed)
    finite, laps = False, Laps(deadline.share(SHARE))
    for scale in SCALES:
        x = (domain or WholeSpace()).sample(1, network.input.size, scale, generator)
        ours, theirs = network(x)[0], evaluate_graph(captured, outputs, x[0])
        if ours.shape != theirs.shape:
            raise ConversionMismatch(f"the network has {len(ours)} outputs, the graph {len(theirs)}")
        if bool(theirs.isfinite().all()):
            finite = True
            _compare(ours, theirs, partial(rounding_error, captured, outputs, x[0]))
        if laps.is_last() and finite:
            break
    if not finite:
        raise ConversionMismatch(
            "the model's values overflow float64 at every point tried, so its network cannot be compared with it: "
            "give a domain on which they do not"
        )


def _compare(ours: Tensor, theirs: Tensor, measured: Callable[[], float | None]) -> None:
    apart, size = float((ours - theirs).abs().max()), float(theirs.abs().max())
    if apart <= TOLERANCE * max(size, 1e-30):
        return
    message = f"the network differs from the captured graph by {apart:.3g} at outputs of size {size:.3g}"
    if not math.isfinite(apart):
        raise ConversionMismatch(f"{message}: its values overflow float64 where the graph's do not, or are no numbers")
    noise = measured()
    if noise is None or apart > NOISE_FACTOR * noise:
        raise ConversionMismatch(f"{message}: a rule is wrong for this model; please report it")
    if noise > CEILING * size:
        raise ConversionMismatch(
            f"{message}, but float64 itself rounds the graph's outputs by {noise:.3g}: terms that cancel are so large "
            "that the two cannot be compared, and no bound is given without"
        )


def rounding_error(captured: Captured, outputs: Sequence[int], x: Tensor) -> float | None:
    """How far the graph's outputs in float64 are from its outputs in long arithmetic; None where that has no rule."""
    try:
        [exact] = values_at(captured, outputs, [x], PLACES, Deadline.after(SECONDS))
    except (OutOfTime, Unable):
        return None
    lower, upper = (end.reshape(-1) for end in ends(exact))
    values = evaluate_graph(captured, outputs, x.cpu())
    noise = float(torch.minimum((values - lower).abs(), (values - upper).abs()).max())
    return noise if math.isfinite(noise) else None


def evaluate_graph(captured: Captured, outputs: Sequence[int], x: Tensor) -> Tensor:
    """The captured graph's chosen outputs at one flat input `(n,)`, laid end to end."""
    shapes = [spec.shape for spec in captured.inputs]
    pieces = x.cpu().split([torch.Size(shape).numel() for shape in shapes])
    given = [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    ends = results(captured.graph)
    values = evaluate(captured.graph, given, [ends[position] for position in outputs])
    return torch.cat([value.reshape(-1) for value in values]).to(x.device)
