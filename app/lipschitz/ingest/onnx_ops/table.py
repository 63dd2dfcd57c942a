"""The table of ONNX operators as torch calls, and the view of one node that its entries get.

Entries are written against torch functions and run on tensors under tracing, so the same code evaluates and
captures. Versions of the operator set differ mostly in whether a parameter is an attribute or an input; the
entries read both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import NodeProto, helper
from torch import Tensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

from ...errors import DataDependentControlFlow, InvalidModel, UnsupportedOperator
from ...register import Register

MAX_ELEMENTS = 1 << 28
"""Elements that one node may produce out of a few numbers in the file."""


@dataclass(frozen=True)
class Value:
    """A tensor in the running graph. `known`: it does not depend on the model's inputs; `exact`: moreover no
    floating-point arithmetic made it, so that its stored number may be read."""

    tensor: Tensor
    known: bool
    exact: bool


@dataclass(frozen=True)
class OnnxCall:
    """One node with its attributes and the values of its inputs; absent optional inputs are None."""

    node: NodeProto
    opset: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Value | None]

    @classmethod
    def of(cls, node: NodeProto, opset: int, inputs: Sequence[Value | None]) -> OnnxCall:
        """Parse the node's attributes."""
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        return cls(node, opset, attributes, inputs)

    @property
    def place(self) -> str:
        """The operator and its node, for messages."""
        return f"{self.node.op_type} at '{self.node.name}'"

    def refuse(self, reason: str) -> UnsupportedOperator:
        """The refusal of this node."""
        domain = self.node.domain or "ai.onnx"
        return UnsupportedOperator(f"ONNX operator {self.place} (domain '{domain}'): {reason}.")

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, strings decoded; a default number is a float32, as a stored one would be."""
        single = float(np.float32(default)) if isinstance(default, float) else default
        value = self.attributes.get(name, single)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, position: int) -> bool:
        """Whether an optional input is present."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def tensor(self, position: int) -> Tensor:
        return self._value(position).tensor

    def optional(self, position: int) -> Tensor | None:
        return self.tensor(position) if self.has(position) else None

    def tensors(self) -> list[Tensor]:
        """All inputs of a variadic operator."""
        return [self.tensor(position) for position in range(len(self.inputs))]

    def is_known(self, position: int) -> bool:
        """Whether the input does not depend on the model's inputs."""
        return self._value(position).known

    def is_exact(self, position: int) -> bool:
        """Whether the input is a stored constant whose number may be read."""
        return self.has(position) and self._value(position).exact

    def numbers(self, position: int) -> list[Any]:
        """The entries of an input that shapes the computation; it must not depend on the model's inputs."""
        return self.entries(self._value(position), f"Input {position}")

    def entries(self, value: Value, what: str) -> list[Any]:
        """The entries of a value that shapes the computation."""
        if not value.known:
            raise DataDependentControlFlow(
                f"{what} of {self.place} shapes the computation and depends on the model's inputs."
            )
        with disable_proxy_modes_tracing():
            entries: list[Any] = value.tensor.reshape(-1).tolist()
        return entries

    def number(self, position: int) -> Any:
        """The one entry of such an input."""
        entries = self.numbers(position)
        if len(entries) != 1:
            raise InvalidModel(f"Input {position} of {self.place} must hold one number, not {len(entries)}.")
        return entries[0]

    def setting(self, name: str, position: int) -> list[int] | None:
        """A list that is an attribute in old operator sets and an input in new ones; None when absent."""
        if name in self.attributes:
            return list(self.attributes[name])
        return self.numbers(position) if self.has(position) else None

    def bounded(self, shape: Sequence[int]) -> list[int]:
        """`shape`, refused when absurd: a few bytes may ask for any amount of memory."""
        count = 1
        for size in shape:
            count *= max(int(size), 0)
        if count > MAX_ELEMENTS:
            raise InvalidModel(f"{self.place} asks for a tensor of shape {list(shape)}.")
        return [int(size) for size in shape]

    def _value(self, position: int) -> Value:
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            raise InvalidModel(f"{self.place} lacks its input {position}.")
        return value


Op = Callable[[OnnxCall], Tensor | Sequence[Tensor]]

OPS: Register[Op] = Register()
"""By the operator's key."""
op = OPS.enter


def key(node: NodeProto) -> str:
    """The operator's name, with its domain where that is not the standard's."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def microsoft(name: str) -> str:
    """The key of one of onnxruntime's own operators."""
    return f"com.microsoft.{name}"


def classical(name: str) -> str:
    """The key of an operator of classical machine learning."""
    return f"ai.onnx.ml.{name}"


def axis_of(call: OnnxCall, rank: int, default: int = 0) -> int:
    """The attribute `axis`, counted from the front."""
    axis = int(call.attr("axis", default))
    return axis + rank if axis < 0 else axis


def const(values: Sequence[Any] | Any, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.tensor(values, dtype=dtype)
