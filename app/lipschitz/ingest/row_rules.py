"""What shows of an ONNX operator, kind by kind, that it treats the rows of a batch one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, helper

MAX_CONSTANT = 1 << 16
"""Entries of a constant that is looked into: of shapes and axes."""


class Unproved(Exception):
    """An operator may mix rows, or treat them differently."""


@dataclass
class Rows:
    """`ranks`: of the values that depend on the inputs; `shapes` and `values`: of stored constants."""

    opset: int
    batch: int
    ranks: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    values: dict[str, list[int]]
    reshapes: dict[int, list[int]] = field(default_factory=dict)
    """By the node's position: its target shape with the batch copied from the input."""

    def rank(self, name: str) -> int:
        """The rank of a value that depends on the inputs."""
        if name not in self.ranks:
            raise Unproved
        return self.ranks[name]

    def constant(self, name: str) -> list[int]:
        """A stored list of integers."""
        if name not in self.values:
            raise Unproved
        return self.values[name]


def integers(array: np.ndarray) -> list[int] | None:
    """The entries of a small array of integers; None for any other."""
    return [int(x) for x in array.reshape(-1)] if array.dtype.kind in "iu" and array.size <= MAX_CONSTANT else None


def _attribute(node: NodeProto, name: str, default: object) -> object:
    match = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if match is None else helper.get_attribute_value(match)


def _only_first(rows: Rows, node: NodeProto) -> int:
    """The first operand depends on the inputs, and the others do not."""
    if any(name in rows.ranks for name in node.input[1:]):
        raise Unproved
    return rows.rank(node.input[0])


def _alone(rows: Rows, node: NodeProto) -> int:
    """The same, and the others' entries are those of every row."""
    return _only_first(rows, node) and _by_entry(rows, node)


def _by_entry(rows: Rows, node: NodeProto) -> int:
    """Operands broadcast, and no constant reaches the first axis with more than one row."""
    ranks = [rows.ranks[name] for name in node.input if name in rows.ranks]
    rank = max(ranks)
    for name in filter(None, node.input):
        shape = rows.shapes.get(name)
        if name in rows.ranks:
            fits = rows.ranks[name] == rank
        else:
            fits = shape is not None and (len(shape) < rank or (len(shape) == rank and shape[0] == 1))
        if not fits:
            raise Unproved
    return rank


def _images(rows: Rows, node: NodeProto) -> int:
    rank = _only_first(rows, node)
    if rank < 3 or len(node.output) > 1:  # positions count from the first row's
        raise Unproved
    return rank


def _batch_norm(rows: Rows, node: NodeProto) -> int:
    if _attribute(node, "training_mode", 0) or len(node.output) > 1:
        raise Unproved
    return _only_first(rows, node)


def _gemm(rows: Rows, node: NodeProto) -> int:
    bias = rows.shapes.get(node.input[2]) if len(node.input) > 2 and node.input[2] else ()
    if _attribute(node, "transA", 0) or bias is None or (len(bias) > 1 and bias[0] != 1):
        raise Unproved
    return _only_first(rows, node)


def _matmul(rows: Rows, node: NodeProto) -> int:
    left, right = node.input
    if right in rows.ranks:
        rank = rows.rank(left)
        if rank < 3 or rows.ranks[right] != rank:
            raise Unproved
        return rank
    if rows.rank(left) < 2 or len(rows.shapes.get(right, ())) != 2:
        raise Unproved
    return rows.rank(left)


def target_shape(rows: Rows, node: NodeProto) -> list[int]:
    """Reshape's target with the batch copied: then a row's entries are reshaped, or nothing runs."""
    shape = rows.constant(node.input[1])
    is_batch = bool(shape) and shape[0] in (0, -1, rows.batch)
    if not is_batch or (_attribute(node, "allowzero", 0) and 0 in shape) or node.input[0] not in rows.ranks:
        raise Unproved
    return [0, *shape[1:]]


def _flatten(rows: Rows, node: NodeProto) -> int:
    if _attribute(node, "axis", 1) != 1:
        raise Unproved
    return _only_first(rows, node) and 2


def _axes(rows: Rows, node: NodeProto, rank: int) -> set[int]:
    """The axes that an attribute or the second operand names, from the front."""
    given = _attribute(node, "axes", None)
    if given is None and len(node.input) > 1 and node.input[1]:
        given = rows.constant(node.input[1])
    if given is None:
        raise Unproved
    return {axis % rank for axis in list(given)}  # type: ignore[call-overload]


def _reduction(rows: Rows, node: NodeProto) -> int:
    rank = _only_first(rows, node)
    axes = _axes(rows, node, rank)
    if not axes or 0 in axes:
        raise Unproved
    return rank if _attribute(node, "keepdims", 1) else rank - len(axes)


def _along(default: Callable[[int], int]) -> Callable[[Rows, NodeProto], int]:
    """An operator along one axis (by default `default(opset)`), which is not the first; operands are alike."""

    def rule(rows: Rows, node: NodeProto) -> int:
        rank = rows.rank(node.input[0])
        others = [rows.rank(name) for name in node.input] if node.op_type == "Concat" else [_only_first(rows, node)]
        axis = _attribute(node, "axis", default(rows.opset))
        if not isinstance(axis, int) or axis % rank == 0 or set(others) != {rank}:
            raise Unproved
        return _alone(rows, node) if node.op_type == "LayerNormalization" else rank

    return rule


def _transpose(rows: Rows, node: NodeProto) -> int:
    order = _attribute(node, "perm", None)
    if not order or next(iter(order)) != 0:  # type: ignore[call-overload]
        raise Unproved
    return _only_first(rows, node)


LATER = 13
"""From this operator set on, Softmax works along one axis, the last by default."""
BY_ENTRY_ALONE = frozenset({
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "Selu", "Celu", "Softplus", "Softsign", "HardSigmoid", "HardSwish",
    "Gelu", "Mish", "Erf", "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Atan", "Identity",
    "Dropout", "Cast", "Clip", "ThresholdedRelu",
})  # fmt: skip
OF_SEVERAL = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Pow", "PRelu"})
OF_IMAGES = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
                       "InstanceNormalization"})  # fmt: skip
REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"})
RULES: dict[str, Callable[[Rows, NodeProto], int]] = {
    **dict.fromkeys(BY_ENTRY_ALONE, _alone),
    **dict.fromkeys(OF_SEVERAL, _by_entry),
    **dict.fromkeys(OF_IMAGES, _images),
    **dict.fromkeys(REDUCTIONS, _reduction),
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": lambda rows, node: len(target_shape(rows, node)),
    "Flatten": _flatten,
    "Softmax": _along(lambda version: -1 if version >= LATER else 1),
    "LogSoftmax": _along(lambda version: -1 if version >= LATER else 1),
    "LayerNormalization": _along(lambda _version: -1),
    "Concat": _along(lambda _version: 0),
    "Split": _along(lambda _version: 0),
    "Transpose": _transpose,
}
"""What shows of an operator that it acts row by row; the rank of its results, or Unproved."""
