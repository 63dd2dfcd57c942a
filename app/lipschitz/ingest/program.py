"""What a loader makes of a file: a function to trace, the original to compare with, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..artifact.captured import Batch, Inspection, TensorSpec

Function = Callable[..., Sequence[Tensor]]
"""Tensors in (positional), flat list of tensors out."""


@dataclass(frozen=True)
class Program:
    """A loaded model with concrete input shapes.

    `function` is traced; `reference` is the original implementation in its own precision. `constant_names`
    gives stored tensors' names by `id`; the function keeps those tensors alive. `differentiable` asks
    for tracing with gradients on: torch modules otherwise run transformer layers as one opaque kernel.
    """

    inspection: Inspection
    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    function: Function
    reference: Function
    constant_names: Mapping[int, str]
    differentiable: bool
    warnings: tuple[str, ...] = field(default=())
    batch: Batch | None = None
    left_out: str = ""
