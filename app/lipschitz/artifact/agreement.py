"""The gate: the captured graph must reproduce the original model, or no bound is given.

The original (onnxruntime on the uploaded bytes, or the torch module itself) rounds in float32; the captured
graph runs in float64. How far rounding alone may drive the two apart depends on the network's depth and
conditioning, so it is measured: the same graph in the model's own precision differs from its float64 copy by
some noise. Agreement means

    max |original - captured| <= min(NOISE_FACTOR * noise + floor * max|y|, ceiling * max|y|)

for every output on every sample. The factor covers another implementation's order of summation and its
approximations of exp and erf. A deep but correctly captured network thus passes, while in a shallow network a
tanh-approximated GELU (5e-4 away) does not pass for an exact one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from ..errors import ConversionMismatch, InvalidModel
from .graphs import evaluate, results, unevaluable

aten = torch.ops.aten

NOISE_FACTOR = 32.0

FLOOR = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Relative tolerance that is always granted: about a hundred rounding errors."""

CEILING = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Relative tolerance that is never exceeded; half precision is granted 5 %."""

HALF = 5e-2

SATURATING = frozenset({aten.sigmoid.default, aten._softmax.default, aten.tanh.default, aten.hardsigmoid.default})
"""Bounded functions: runtimes approximate them to an absolute error, so their tails differ relatively."""

SATURATION_ERROR = {torch.float64: 2.0**-50, torch.float32: 2.0**-22}
"""Absolute tolerance where such a function takes part: two units in the last place of 1."""


@dataclass(frozen=True)
class Run:
    """One sample's outputs in the model's own precision: by the original, and by the traced graph."""

    inputs: Sequence[Tensor]
    original: Sequence[Tensor]
    traced: Sequence[Tensor]


def check(captured: GraphModule, runs: Iterable[Run], output_names: Sequence[str]) -> None:
    """Compare on every sample; outputs that an operator without a rule leads to are not compared.

    Raises ConversionMismatch where the two differ, InvalidModel where the original yields NaN or infinity on
    every sample.
    """
    finite = False
    saturating = any(node.target in SATURATING for node in captured.graph.nodes)
    ends, unknown = results(captured), unevaluable(captured)
    known = [position for position, end in enumerate(ends) if end not in unknown]
    for run in runs:
        _require_same_count(run.original, ends)
        wide = evaluate(captured, [x.double() for x in run.inputs], [ends[position] for position in known])
        for position, y64 in zip(known, wide, strict=True):
            y, y32 = run.original[position], run.traced[position]
            finite |= _compare(output_names[position], y, y32, y64, saturating)
    if known and not finite:
        raise InvalidModel("The model yields NaN or infinite values on random inputs.")


def _require_same_count(expected: Sequence[Tensor], outputs: Sequence[Node]) -> None:
    if len(expected) != len(outputs):
        raise ConversionMismatch(f"The original has {len(expected)} outputs, the captured graph {len(outputs)}.")


def _compare(name: str, y: Tensor, y32: Tensor, y64: Tensor, saturating: bool) -> bool:
    """Whether the output could be compared: it is finite. Raises where it differs."""
    if y.shape != y64.shape:
        raise ConversionMismatch(
            f"Output '{name}' has shape {list(y.shape)} in the original and {list(y64.shape)} in the graph."
        )
    if not y.is_floating_point():
        return True
    original, narrow = y.double(), y32.double()
    if not (original.isfinite().all() and narrow.isfinite().all() and y64.isfinite().all()):
        return False
    scale = float(original.abs().max()) if y.numel() else 0.0
    noise = float((narrow - y64).abs().max()) if y.numel() else 0.0
    error = float((original - y64).abs().max()) if y.numel() else 0.0
    floor, ceiling = FLOOR.get(y.dtype, HALF), CEILING.get(y.dtype, HALF)
    absolute = SATURATION_ERROR.get(y.dtype, HALF) if saturating else 0.0
    explained = NOISE_FACTOR * noise + floor * scale
    if ceiling * scale + absolute < error <= explained + absolute:
        raise ConversionMismatch(
            f"Output '{name}' of the model is off by {noise:.3g} at magnitude {scale:.3g} through its own precision's "
            "rounding: too much to compare the captured graph with it. Export the model in double precision."
        )
    if error > min(explained, ceiling * scale) + absolute:
        raise ConversionMismatch(
            f"Output '{name}' of the captured graph differs from the original by {error:.3g} at magnitude "
            f"{scale:.3g}, where rounding explains {noise:.3g}: it would be another function's bound."
        )
    return True
