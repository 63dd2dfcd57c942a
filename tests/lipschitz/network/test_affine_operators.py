"""Every affine overload of the catalog on its own: the bound is the norm of the dense Jacobian, for three norms.

The graph is a single call of the overload, so composite operators stand here too that tracing would take apart.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from app.lipschitz.agreement import check_agreement
from app.lipschitz.artifact.captured import Captured, Inspection, TensorSpec
from app.lipschitz.catalog import OPERATORS
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Network
from tests.lipschitz.helpers import ORDER, autolip_of

generator = torch.Generator().manual_seed(11)


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@dataclass(frozen=True)
class X:
    """A place for an input of this shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Example:
    """Arguments of one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def call(*args: Any, **kwargs: Any) -> Example:
    return Example(args, kwargs)


ROW, MATRIX, CUBE, BATCH = X((4,)), X((3, 4)), X((2, 3, 4)), X((1, 2, 6))
IMAGE, VOLUME = X((1, 2, 4, 5)), X((1, 1, 3, 4, 3))
PAIR = rand(2)
VARIANCE = rand(2).abs() + 0.2
KERNEL = rand(3, 2, 3, 2)
NORM = (rand(2), rand(2), rand(2), VARIANCE)
FLOAT = torch.float64
AXES = torch.tensor([2, 0, 2])
CHOSEN = torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])

EXAMPLES: dict[str, tuple[Example, ...]] = {
    "mm": (call(MATRIX, rand(4, 2)), call(rand(2, 3), MATRIX)),
    "bmm": (call(CUBE, rand(2, 4, 2)), call(rand(2, 2, 3), CUBE)),
    "mv": (call(MATRIX, rand(4)), call(rand(3, 4), ROW)),
    "addmm": (call(rand(2), MATRIX, rand(4, 2), beta=0.5, alpha=3.0), call(rand(2, 4), rand(2, 3), MATRIX, alpha=-2.0)),
    "baddbmm": (call(rand(2, 3, 2), CUBE, rand(2, 4, 2), beta=0.5, alpha=3.0), call(rand(4), rand(2, 2, 3), CUBE)),
    "addmv": (call(rand(3), rand(3, 4), ROW, beta=2.0, alpha=0.7), call(rand(3), MATRIX, rand(4), alpha=-1.5)),
    "convolution": (
        call(IMAGE, KERNEL, rand(3), [1, 2], [1, 0], [1, 1], False, [0, 0], 1),
        call(IMAGE, rand(4, 1, 2, 2), None, [1, 1], [0, 1], [2, 1], False, [0, 0], 2),
        call(IMAGE, rand(2, 3, 2, 2), rand(3), [2, 2], [1, 0], [1, 1], True, [1, 0], 1),
        call(BATCH, rand(2, 2, 3), None, [1], [1], [1], False, [0], 1),
    ),
    "_convolution.default": (call(IMAGE, KERNEL, rand(3), [1, 2], [1, 0], [1, 1], False, [0, 0], 1, *[False] * 4),),
    "_convolution.deprecated": (call(BATCH, rand(2, 2, 3), None, [2], [1], [1], True, [1], 1, *[False] * 3),),
    "native_batch_norm": (call(IMAGE, *NORM, False, 0.1, 1e-3),),
    "_native_batch_norm_legit_no_training": (call(IMAGE, *NORM, 0.1, 1e-3),),
    "mul.Tensor": (call(IMAGE, PAIR[:, None, None]), call(rand(2, 1, 4), MATRIX)),
    "mul.Scalar": (call(MATRIX, -2.5),),
    "div.Tensor": (call(IMAGE, VARIANCE[:, None, None]), call(ROW, VARIANCE[:, None])),
    "div.Scalar": (call(MATRIX, -3.0),),
    "neg": (call(MATRIX),),
    "add.Tensor": (call(MATRIX, rand(4), alpha=2.0), call(rand(2, 1, 1), MATRIX), call(MATRIX, ROW, alpha=-0.5)),
    "add.Scalar": (call(MATRIX, 2.0),),
    "sub.Tensor": (call(MATRIX, rand(4)), call(rand(4), MATRIX, alpha=0.3), call(ROW, MATRIX, alpha=3.0)),
    "sub.Scalar": (call(MATRIX, 2.0, 3.0),),
    "rsub.Tensor": (call(MATRIX, rand(4), alpha=3.0), call(rand(4), MATRIX, alpha=3.0)),
    "rsub.Scalar": (call(MATRIX, 1.0, 0.3),),
    "sum.dim_IntList": (call(CUBE, [0, -1]), call(CUBE, [1], True), call(CUBE, [])),
    "sum.default": (call(CUBE),),
    "mean.dim": (call(CUBE, [0, -1]), call(CUBE, [1], True), call(CUBE, None)),
    "mean.default": (call(CUBE),),
    "avg_pool1d": (call(BATCH, [3], [2], [1]), call(X((2, 6)), [2], [1], [0], True, False)),
    "avg_pool2d": (
        call(IMAGE, [2], [1], [1]),
        call(IMAGE, [3, 2], [2, 3], [1, 0], True, False),
        call(IMAGE, [2], [], [0], False, True, 3),
    ),
    "avg_pool3d": (call(VOLUME, [2], [1]), call(VOLUME, [2, 3, 2], [2], [1], True, False)),
    "_adaptive_avg_pool2d": (call(IMAGE, [3, 2]), call(IMAGE, [1, 7])),
    "_adaptive_avg_pool3d": (call(VOLUME, [2, 3, 1]),),
    "adaptive_avg_pool1d": (call(BATCH, [4]),),
    "upsample_linear1d.default": (call(BATCH, [9], False), call(BATCH, [4], True)),
    "upsample_bilinear2d.default": (
        call(IMAGE, [7, 3], False),
        call(IMAGE, [5, 6], True),
        call(IMAGE, [8, 10], False, 2.0, 2.0),
    ),
    "upsample_trilinear3d.default": (call(VOLUME, [2, 5, 4], False), call(VOLUME, [4, 4, 4], True)),
    "upsample_bicubic2d.default": (call(IMAGE, [7, 3], False), call(IMAGE, [5, 6], True)),
    "upsample_linear1d.vec": (call(BATCH, [9], False, None), call(BATCH, None, True, [1.5])),
    "upsample_bilinear2d.vec": (call(IMAGE, [7, 3], False, None), call(IMAGE, None, False, [1.5, 0.7])),
    "upsample_trilinear3d.vec": (call(VOLUME, None, False, [1.0, 1.5, 2.0]),),
    "upsample_bicubic2d.vec": (call(IMAGE, None, True, [1.5, 2.0]),),
    "_upsample_bilinear2d_aa": (call(IMAGE, [2, 3], False), call(IMAGE, [6, 2], True)),
    "_upsample_bicubic2d_aa": (call(IMAGE, [2, 3], False),),
    "cumsum": (call(CUBE, 1), call(CUBE, -1), call(X(()), 0)),
    "view.default": (call(CUBE, [4, -1]),),
    "_unsafe_view": (call(CUBE, [4, 6]),),
    "reshape": (call(CUBE, [-1]),),
    "_reshape_alias": (call(CUBE, [6, 4], [4, 1]),),
    "view_copy": (call(CUBE, [24]),),
    "unsqueeze": (call(CUBE, -2),),
    "squeeze.default": (call(BATCH),),
    "squeeze.dim": (call(BATCH, 0), call(BATCH, 1)),
    "squeeze.dims": (call(BATCH, [0, 1]),),
    "flatten.using_ints": (call(CUBE, 1),),
    "permute": (call(CUBE, [2, 0, 1]),),
    "transpose.int": (call(CUBE, 0, -1),),
    "t.default": (call(MATRIX),),
    "slice.Tensor": (call(CUBE, 2, 1, 4, 2), call(CUBE, -1, -3)),
    "select.int": (call(CUBE, 1, -1),),
    "index.Tensor": (
        call(CUBE, [None, AXES]),
        call(CUBE, [torch.tensor([1, 0]), None, torch.tensor([3, 3])]),
        call(MATRIX, [torch.tensor([True, False, True])]),
    ),
    "index_select": (call(CUBE, 1, AXES),),
    "gather.default": (call(MATRIX, 1, torch.tensor([[3, 3], [0, 1], [2, 2]])),),
    "take": (call(MATRIX, torch.tensor([[11, 0], [5, 5]])),),
    "narrow": (call(CUBE, 2, 1, 2),),
    "expand.default": (call(MATRIX, [2, 3, 4]), call(X((3, 1)), [-1, 5])),
    "expand_copy": (call(X((3, 1)), [3, 2]),),
    "repeat": (call(MATRIX, [2, 1, 3]),),
    "tile": (call(MATRIX, [2]),),
    "flip": (call(CUBE, [0, 2]),),
    "roll": (call(CUBE, [1, -1], [0, 2]), call(CUBE, [5])),
    "where.self": (call(CHOSEN, MATRIX, rand(4)), call(CHOSEN, rand(3, 1), MATRIX)),
    "where.ScalarSelf": (call(CHOSEN, 2.0, MATRIX),),
    "where.ScalarOther": (call(CHOSEN, MATRIX, -3.0),),
    "masked_fill.Scalar": (call(MATRIX, CHOSEN, 7.0),),
    "masked_fill.Tensor": (call(MATRIX, CHOSEN, rand(1).reshape(())),),
    "repeat_interleave.self_int": (call(CUBE, 2, 1),),
    "constant_pad_nd": (call(IMAGE, [1, 2, 0, -1], 3.0), call(MATRIX, [-1, 2], 0.5)),
    "reflection_pad1d": (call(BATCH, [3, 2]), call(MATRIX, [0, 3])),
    "reflection_pad2d": (call(IMAGE, [2, 1, 0, 3]),),
    "reflection_pad3d": (call(VOLUME, [1, 2, 0, 3, 2, 1]),),
    "replication_pad1d": (call(BATCH, [3, 2]),),
    "replication_pad2d": (call(IMAGE, [2, 1, 0, 3]),),
    "replication_pad3d": (call(VOLUME, [1, 2, 0, 3, 2, 1]),),
    "upsample_nearest1d.default": (call(BATCH, [9]), call(BATCH, [4], 0.7)),
    "upsample_nearest2d.default": (call(IMAGE, [6, 3]),),
    "upsample_nearest3d.default": (call(VOLUME, [4, 2, 5]),),
    "_upsample_nearest_exact1d.default": (call(BATCH, [9]),),
    "_upsample_nearest_exact2d.default": (call(IMAGE, [6, 3]),),
    "_upsample_nearest_exact3d.default": (call(VOLUME, [4, 2, 5]),),
    "upsample_nearest1d.vec": (call(BATCH, None, [1.5]),),
    "upsample_nearest2d.vec": (call(IMAGE, None, [1.5, 2.0]), call(IMAGE, [3, 3], None)),
    "upsample_nearest3d.vec": (call(VOLUME, None, [1.5, 1.0, 2.0]),),
    "pixel_shuffle": (call(X((1, 4, 2, 3)), 2),),
    "pixel_unshuffle": (call(X((1, 1, 4, 6)), 2),),
    "channel_shuffle": (call(X((1, 6, 2, 2)), 3),),
    "split.Tensor": (call(CUBE, 3, 2),),
    "split_with_sizes": (call(CUBE, [1, 3], 2),),
    "chunk": (call(CUBE, 3, -1),),
    "unbind.int": (call(CUBE, 1),),
    "unfold": (call(CUBE, 2, 3, 1), call(X((7,)), 0, 3, 2)),
    "im2col": (call(IMAGE, [2, 3], [1, 1], [1, 0], [2, 1]), call(IMAGE, [2, 2], [1, 2], [1, 1], [1, 1])),
    "diagonal": (call(CUBE), call(CUBE, 1, 0, 2)),
    "tril": (call(CUBE, 1),),
    "triu": (call(CUBE, -1),),
    "movedim.int": (call(CUBE, 0, -1),),
    "rot90": (call(CUBE, 1, [0, 2]), call(CUBE, -3, [1, 2])),
    "as_strided": (call(CUBE, [3, 4], [2, 1], 5), call(CUBE, [2, 3], [0, 5])),
    "cat": (call([CUBE, rand(2, 1, 4), CUBE], 1), call([MATRIX, X((2, 4))])),
    "stack": (call([MATRIX, rand(3, 4), MATRIX], -1),),
    "hstack": (call([MATRIX, rand(3, 1)]),),
    "vstack": (call([MATRIX, ROW]),),
    "slice_scatter": (
        call(CUBE, rand(2, 3, 2), 2, 0, 4, 2),
        call(rand(2, 3, 4), X((2, 1, 4)), 1, 2),
        call(CUBE, X((1, 3, 4)), 0, 1),
    ),
    "select_scatter": (
        call(CUBE, rand(2, 4), 1, 0),
        call(rand(2, 3, 4), MATRIX, 0, 1),
        call(CUBE, MATRIX, 0, -1),
    ),
    "index_put": (
        call(MATRIX, [torch.tensor([2, 0])], rand(2, 4)),
        call(rand(3, 4), [torch.tensor([1])], ROW),
        call(CUBE, [None, torch.tensor([2])], X((2, 1, 4))),
    ),
    "copy": (call(rand(3, 4), ROW), call(MATRIX, MATRIX)),
    "_to_copy": (call(MATRIX, dtype=FLOAT),),
    "to.dtype": (call(MATRIX, FLOAT),),
    "contiguous": (call(CUBE),),
    "dropout": (call(CUBE, 0.5, False),),
}  # fmt: skip
EXAMPLES |= {name: (call(CUBE),) for name in ("clone", "alias", "detach", "lift_fresh_copy", "lift_fresh", "positive")}

CONSTANTS: dict[str, Example] = {
    "zeros_like": call(MATRIX), "ones_like": call(MATRIX), "full_like": call(MATRIX, 2.0),
    "empty_like": call(MATRIX), "new_zeros": call(MATRIX, [2, 2]), "new_ones": call(MATRIX, [2]),
    "new_full": call(MATRIX, [2, 3], 4.0), "new_empty": call(MATRIX, [2, 3]),
}  # fmt: skip

AFFINE_FAMILIES = frozenset({
    "matrix product", "convolution", "batch norm with stored statistics", "product with a constant", "sum",
    "sum or mean over axes", "average pooling", "resampling, axis by axis", "cumulative sum",
    "movement of entries", "identity", "cast",
})  # fmt: skip
NEEDS_CUDA = frozenset({"cudnn_batch_norm.default"})


def full(name: str) -> str:
    return name if "." in name else f"{name}.default"


CASES = [(full(name), example) for name, examples in EXAMPLES.items() for example in examples]


def overload(name: str) -> torch._ops.OpOverload:
    packet, kind = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), kind)


def captured_call(name: str, example: Example) -> Captured:
    """A graph of one call; all tensors of its result are outputs (of a batch norm's, all but its statistics)."""
    graph = fx.Graph()
    leaves, spec = pytree.tree_flatten((example.args, dict(example.kwargs)))
    shapes = [leaf.shape for leaf in leaves if isinstance(leaf, X)]
    placeholders = {i: graph.placeholder(f"x{i}") for i, leaf in enumerate(leaves) if isinstance(leaf, X)}
    stored = {i: graph.get_attr(f"c{i}") for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
    root = nn.Module()
    for i in stored:
        root.register_buffer(f"c{i}", leaves[i])
    placed = {**dict(enumerate(leaves)), **placeholders, **stored}
    args, kwargs = pytree.tree_unflatten(list(placed.values()), spec)
    node = graph.call_function(overload(name), args, kwargs)
    zeros = [torch.zeros(leaf.shape, dtype=FLOAT) if isinstance(leaf, X) else leaf for leaf in leaves]
    at_zero, by_name = pytree.tree_unflatten(zeros, spec)
    result = overload(name)(*at_zero, **by_name)
    if isinstance(result, Tensor):
        results, items = [result], [node]
    else:
        results = list(result)[: 1 if "batch_norm" in name else None]
        items = [graph.call_function(operator.getitem, (node, i)) for i in range(len(results))]
    graph.output(tuple(items))
    inputs = tuple(TensorSpec(f"x{i}", "FP64", shape) for i, shape in enumerate(shapes))
    outputs = tuple(TensorSpec(f"y{i}", "FP64", tuple(y.shape)) for i, y in enumerate(results))
    return Captured(fx.GraphModule(root, graph), inputs, outputs, Inspection("onnx", inputs, outputs, 0, {}))


def network_and_jacobian(name: str, example: Example) -> tuple[Network, Tensor]:
    """The network, and the dense matrix of the graph itself, column by column."""
    graph = captured_call(name, example)
    positions = range(len(graph.outputs))
    network = build(graph, positions)
    check_agreement(network, graph, positions, seed=1)
    shapes = [spec.shape for spec in graph.inputs]

    def run(x: Tensor) -> Tensor:
        pieces = x.split([torch.Size(shape).numel() for shape in shapes])
        results = graph.graph(*(piece.clone().reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)))
        return torch.cat([y.reshape(-1) for y in results])

    units = torch.eye(network.input.size, dtype=FLOAT)
    offset = run(torch.zeros(network.input.size, dtype=FLOAT))
    return network, torch.stack([run(unit) - offset for unit in units], 1)


def test_every_affine_overload_has_an_example() -> None:
    listed = {info.operator.removeprefix("aten.") for info in OPERATORS if info.rule in AFFINE_FAMILIES}
    assert listed - NEEDS_CUDA == {name for name, _ in CASES}
    constants = {info.operator.removeprefix("aten.") for info in OPERATORS if info.rule == "constant of the same shape"}
    assert constants == {full(name) for name in CONSTANTS}


@pytest.mark.parametrize(("name", "example"), CASES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(CASES)])
def test_the_bound_is_the_dense_norm(name: str, example: Example) -> None:
    network, jacobian = network_and_jacobian(name, example)
    for p in ("1", "2", "inf"):
        truth, bound = float(torch.linalg.matrix_norm(jacobian, ORDER[p])), autolip_of(network, p)
        assert truth * (1 - 1e-12) <= bound <= truth * (1 + 1e-9) + 1e-300, p
