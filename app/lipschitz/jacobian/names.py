"""What the entries of inputs and outputs are called: as the request says, or as the file's tensors are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from ...contract.domain import Logit, Margin
from ..artifact.captured import TensorSpec
from ..errors import InvalidRequest
from ..problem import Problem
from ..request import Request

Value = TypeVar("Value")


@dataclass(frozen=True)
class Names:
    """One name an entry, of inputs and of outputs."""

    inputs: Sequence[str]
    outputs: Sequence[str]

    @classmethod
    def of(cls, problem: Problem, request: Request) -> Names:
        """Those of a problem; InvalidRequest where the request's are too few or too many."""
        captured = problem.captured
        positions = problem.outputs if problem.outputs is not None else range(len(captured.outputs))
        inputs = _given(request.input_names, "input_names", captured.inputs)
        outputs = _given(request.output_names, "output_names", [captured.outputs[i] for i in positions])
        match problem.target:
            case Logit():
                outputs = [outputs[problem.target.index]]
            case Margin():
                outputs = [f"{outputs[problem.target.i]} - {outputs[problem.target.j]}"]
        return cls(inputs, outputs)

    def by_place(self, given: Mapping[str, Value], limit: str) -> dict[int, Value]:
        """What is said of inputs by name, or by place from 0; InvalidRequest for an input that is not there."""
        return {self._place(name, limit): value for name, value in given.items()}

    def _place(self, name: str, limit: str) -> int:
        if name in self.inputs:
            return list(self.inputs).index(name)
        if name.isdecimal() and int(name) < len(self.inputs):
            return int(name)
        shown = ", ".join(self.inputs[:10])
        raise InvalidRequest(f"gate.{limit} names {name!r}, which is no input's entry: they are {shown}, ...")


def _given(names: Sequence[str] | None, field: str, specs: Sequence[TensorSpec]) -> Sequence[str]:
    sizes = [torch.Size(spec.shape).numel() for spec in specs]
    if names is None:
        return [name for spec, size in zip(specs, sizes, strict=True) for name in _of_tensor(spec.name, size)]
    if len(names) != sum(sizes):
        raise InvalidRequest(f"{field} has {len(names)} names for {sum(sizes)} entries")
    if len(set(names)) < len(names):
        raise InvalidRequest(f"{field} has a name twice")
    return names


def _of_tensor(name: str, size: int) -> list[str]:
    return [name] if size == 1 else [f"{name}[{place}]" for place in range(size)]
