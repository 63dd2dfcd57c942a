"""Every operator of the rule table at least once, alone in a captured graph: what tracing turns into others too."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from app.lipschitz.artifact.captured import Captured, Inspection, TensorSpec

X, Y = object(), object()
"""The inputs among an example's arguments."""

INF = float("inf")


@dataclass(frozen=True, eq=False)
class Example:
    """`name(*arguments, **named)` with inputs of these shapes; of several results the first."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def __str__(self) -> str:
        plain = [_shown(one) for one in self.arguments] + [f"{k}={_shown(v)}" for k, v in self.named.items()]
        return f"{self.name}({', '.join(plain)})"

    def captured(self) -> Captured:
        """As one graph."""
        packet, _, overload = self.name.partition(".")
        graph, module = fx.Graph(), torch.nn.Module()
        inputs = {one: graph.placeholder(f"x{i}") for i, one in enumerate((X, Y)[: len(self.shapes)])}

        def node(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(node, value))
            if isinstance(value, Tensor):
                key = f"c{len(list(module.buffers()))}"
                module.register_buffer(key, value)
                return graph.get_attr(key)
            return inputs.get(value, value) if value is X or value is Y else value

        target = getattr(getattr(torch.ops.aten, packet), overload)
        named = {key: node(value) for key, value in self.named.items()}
        called = graph.call_function(target, tuple(map(node, self.arguments)), named)
        examples = [torch.rand(shape, dtype=torch.float64) for shape in self.shapes]
        result = target(*(self._with(one, examples) for one in self.arguments), **self.named)
        if not isinstance(result, Tensor):
            called, result = graph.call_function(operator.getitem, (called, 0)), result[0]
        graph.output((called,))
        given = tuple(TensorSpec(f"x{i}", "FP64", shape) for i, shape in enumerate(self.shapes))
        outputs = (TensorSpec("y", "FP64", tuple(result.shape)),)
        return Captured(fx.GraphModule(module, graph), given, outputs, Inspection("onnx", given, outputs, 0, {}))

    def _with(self, value: Any, examples: list[Tensor]) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._with(one, examples) for one in value)
        return examples[0] if value is X else examples[1] if value is Y else value


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, Tensor):
        return f"c{list(value.shape)}"
    return "x" if value is X else "y" if value is Y else str(value)


def _of(name: str, shape: tuple[int, ...], *arguments: Any, **named: Any) -> Example:
    return Example(name, (shape,), arguments, named)


def _pair(name: str, shape: tuple[int, ...], other: tuple[int, ...], *arguments: Any, **named: Any) -> Example:
    return Example(name, (shape, other), arguments, named)


def c(*shape: int) -> Tensor:
    """Numbers about one, none of them 0."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float64) * 0.7 - 0.3 * count + 0.05).reshape(shape)


def i(*positions: int) -> Tensor:
    """Positions."""
    return torch.tensor(positions)


MASK = torch.tensor([True, False, True])
V, M, L, P, B = (3,), (2, 3), (1, 2, 4), (1, 2, 4, 4), (1, 2, 2, 4, 2)
"""A vector, a matrix, a signal, a picture and a volume."""

PLAIN = ("tanh", "atan", "asinh", "sigmoid", "erf", "abs", "hardsigmoid", "hardswish", "silu", "mish", "square",
         "reciprocal", "relu", "relu6", "gelu", "sin", "cos", "tan", "exp", "expm1", "exp2", "log", "log2", "log10",
         "log1p", "sqrt", "rsqrt", "neg", "softplus", "leaky_relu", "elu", "celu", "hardtanh", "softshrink",
         "log_sigmoid_forward", "clone", "alias", "detach", "contiguous", "lift_fresh_copy", "lift_fresh", "positive",
         "_to_copy", "zeros_like", "ones_like", "prod", "sum", "mean", "max", "min", "amax", "amin", "sort",
         "isnan")  # fmt: skip
"""Operators of one tensor."""

EXAMPLES: list[Example] = [
    *(_of(f"{name}.default", V, X) for name in PLAIN),
    _of("native_layer_norm.default", M, X, [3], c(3), c(3), 1e-5),
    _of("native_layer_norm.default", M, X, [3], None, None, 0.0),
    _of("native_layer_norm.default", M, X, [2, 3], c(2, 3) * 1e-200, None, 1e200),
    _of("native_group_norm.default", L, X, c(2), c(2), 1, 2, 4, 2, 1e-5),
    _of("prod.dim_int", M, X, 1),
    _of("prod.default", (4,), X),
    _of("glu.default", (4,), X),
    _of("mm.default", M, X, c(3, 2)),
    _of("mm.default", M, c(4, 2), X),
    _pair("mm.default", M, (3, 2), X, Y),
    _of("bmm.default", (2, 2, 3), X, c(2, 3, 2)),
    _pair("bmm.default", (1, 2, 3), (1, 3, 2), X, Y),
    _of("mv.default", M, X, c(3)),
    _of("mv.default", V, c(2, 3), X),
    _pair("mv.default", M, V, X, Y),
    _of("addmm.default", M, c(2), X, c(3, 2), beta=0.5, alpha=-2),
    _pair("addmm.default", M, (3, 2), c(2), X, Y, alpha=3),
    _of("baddbmm.default", (2, 2, 3), c(2, 2, 2), X, c(2, 3, 2)),
    _of("addmv.default", V, c(2), c(2, 3), X),
    _of("convolution.default", L, X, c(3, 2, 3), c(3), [1], [1], [1], False, [0], 1),
    _of("convolution.default", L, X, c(2, 3, 3), c(3), [2], [1], [1], True, [1], 1),
    _of("_convolution.default", L, X, c(2, 1, 3), None, [2], [0], [1], False, [0], 2, False, False, False, False),
    _of("_convolution.deprecated", L, X, c(2, 1, 3), None, [2], [0], [1], False, [0], 2, False, False, False),
    _of("native_batch_norm.default", L, X, c(2), c(2), c(2), c(2).abs(), False, 0.1, 1e-5),
    _of("native_batch_norm.default", L, X, c(2), c(2), None, None, True, 0.1, 1e-5),
    _of("_native_batch_norm_legit_no_training.default", L, X, c(2), c(2), c(2), c(2).abs(), 0.1, 1e-5),
    _of("mul.Tensor", V, X, X),
    _of("mul.Tensor", V, X, c(3) * 1e-200),
    _pair("mul.Tensor", M, V, X, Y),
    _of("mul.Scalar", V, X, -1e-300),
    _of("div.Tensor", V, X, c(3) * 1e200),
    _pair("div.Tensor", M, V, X, Y),
    _of("div.Tensor", V, c(3), X),
    _of("div.Scalar", V, X, 3.0),
    _of("_softmax.default", M, X, 0, False),
    _of("_safe_softmax.default", M, X, 1),
    _of("_log_softmax.default", M, X, 1, False),
    _of("logsumexp.default", M, X, [1]),
    _of("logcumsumexp.default", M, X, 1),
    _pair("_scaled_dot_product_flash_attention_for_cpu.default", (1, 1, 2, 3), (1, 1, 2, 3), X, Y, Y),
    _pair("_scaled_dot_product_flash_attention_for_cpu.default", (1, 1, 2, 3), (1, 1, 2, 3), X, X, Y, scale=2.0),
    _of("clamp.default", V, X, -0.5, 1e200),
    _of("clamp.Tensor", V, X, c(3) - 0.5, c(3)),
    _of("clamp_min.default", V, X, 1e-200),
    _of("clamp_min.Tensor", V, X, c(3)),
    _of("clamp_max.default", V, X, -1e200),
    _of("clamp_max.Tensor", M, X, c(3)),
    _of("threshold.default", V, X, 0.5, 0.5),
    _of("softplus.default", V, X, 3.0, 25.0),
    _of("_prelu_kernel.default", M, X, c(3)),
    _of("leaky_relu.default", V, X, -2.0),
    _of("rrelu_with_noise_functional.default", V, X, c(3), 0.1, 0.3, False),
    _of("rrelu_with_noise.default", V, X, c(3), 0.1, 0.3, False),
    _of("elu.default", V, X, -0.5, 1.5, 0.3),
    _of("celu.default", V, X, 0.3),
    _of("gelu.default", V, X, approximate="tanh"),
    *(_of("pow.Tensor_Scalar", V, X, e) for e in (-2, -0.5, 0, 0.5, 1.0, 1.5, 2, 3, 4.0, 7)),
    _of("pow.Tensor_Tensor", V, X, torch.full((3,), 3.0, dtype=torch.float64)),
    _pair("pow.Tensor_Tensor", V, V, X, Y),
    _of("pow.Scalar", V, 1.5, X),
    _of("pow.Tensor_Tensor", V, c(3).abs(), X),
    _of("add.Tensor", V, X, c(3), alpha=1e-200),
    _pair("add.Tensor", M, V, X, Y, alpha=-3),
    _of("add.Scalar", V, X, 1e200),
    _of("sub.Tensor", V, X, X),
    _of("sub.Tensor", V, c(3), X, alpha=0.1),
    _of("sub.Scalar", V, X, 1.0),
    _of("rsub.Tensor", V, X, c(3), alpha=2),
    _of("rsub.Scalar", V, X, 1.0, 0.5),
    _pair("maximum.default", M, V, X, Y),
    _of("maximum.default", M, X, c(3)),
    _of("minimum.default", M, c(2, 3), X),
    _pair("minimum.default", V, V, X, Y),
    _of("dropout.default", V, X, 0.5, False),
    _of("to.dtype", V, X, torch.float64),
    _of("full_like.default", V, X, 2.0),
    _of("new_zeros.default", V, X, [2]),
    _of("new_ones.default", V, X, [2]),
    _of("new_full.default", V, X, [2], 3.0),
    _of("view.default", M, X, [3, 2]),
    _of("_unsafe_view.default", M, X, [6]),
    _of("reshape.default", M, X, [3, 2]),
    _of("unsqueeze.default", V, X, 0),
    _of("squeeze.default", (1, 3), X),
    _of("squeeze.dim", (1, 3), X, 0),
    _of("squeeze.dims", (1, 3, 1), X, [0, 2]),
    _of("flatten.using_ints", M, X),
    _of("permute.default", M, X, [1, 0]),
    _of("transpose.int", M, X, 0, 1),
    _of("t.default", M, X),
    _of("slice.Tensor", M, X, 1, 0, 3, 2),
    _of("select.int", M, X, 0, -1),
    _of("index.Tensor", M, X, [i(0, 0, 1)]),
    _of("index_select.default", M, X, 1, i(2, 2)),
    _of("gather.default", M, X, 1, i(0, 2)[:, None]),
    _of("narrow.default", M, X, 1, 1, 2),
    _of("expand.default", V, X, [4, 3]),
    _of("repeat.default", V, X, [2, 2]),
    _of("tile.default", V, X, [2]),
    _of("flip.default", M, X, [0, 1]),
    _of("roll.default", M, X, [1], [1]),
    _of("constant_pad_nd.default", V, X, [1, 2], 3.0),
    _of("reflection_pad1d.default", L, X, [1, 2]),
    _of("reflection_pad2d.default", P, X, [1, 2, 0, 1]),
    _of("reflection_pad3d.default", B, X, [1, 0, 0, 1, 1, 0]),
    _of("replication_pad1d.default", L, X, [1, 2]),
    _of("replication_pad2d.default", P, X, [1, 2, 0, 1]),
    _of("replication_pad3d.default", B, X, [1, 0, 0, 1, 1, 0]),
    *(_of(f"{kind}{n}d.default", shape, X, [3] * n)
      for kind in ("upsample_nearest", "_upsample_nearest_exact") for n, shape in enumerate((L, P, B), 1)),
    *(_of(f"upsample_nearest{n}d.vec", shape, X, None, [2.0] * n) for n, shape in enumerate((L, P, B), 1)),
    _of("pixel_shuffle.default", (1, 4, 1, 2), X, 2),
    _of("pixel_unshuffle.default", P, X, 2),
    _of("channel_shuffle.default", (1, 4, 1, 2), X, 2),
    _of("split.Tensor", M, X, 2, 1),
    _of("split_with_sizes.default", M, X, [2, 1], 1),
    _of("chunk.default", M, X, 2, 1),
    _of("unbind.int", M, X, 0),
    _of("unfold.default", V, X, 0, 2, 1),
    _of("im2col.default", P, X, [2, 2], [1, 1], [1, 1], [2, 2]),
    _of("diagonal.default", M, X),
    _of("tril.default", M, X),
    _of("triu.default", M, X, 1),
    _of("movedim.int", M, X, 0, 1),
    _of("cat.default", M, [X, c(2, 3), X], 1),
    _of("stack.default", V, [X, X]),
    _of("slice_scatter.default", V, X, c(1), 0, 1, 2),
    _of("select_scatter.default", M, X, c(3), 0, 1),
    _of("index_put.default", V, X, [i(0, 2)], c(2)),
    _of("index_put.default", V, c(5), [i(0, 2, 4)], X),
    _of("rot90.default", M, X, 1, [0, 1]),
    _of("as_strided.default", (6,), X, [2, 2], [1, 2], 1),
    _of("hstack.default", V, [X, X]),
    _of("vstack.default", V, [X, c(3)]),
    _of("take.default", M, X, i(0, 5, 5)),
    _of("copy.default", V, c(3), X),
    _of("_reshape_alias.default", M, X, [3, 2], [2, 1]),
    _of("view_copy.default", M, X, [6]),
    _of("expand_copy.default", V, X, [2, 3]),
    _of("repeat_interleave.self_int", V, X, 2),
    _of("where.self", V, MASK, X, c(3)),
    _of("where.ScalarSelf", V, MASK, 2.0, X),
    _of("where.ScalarOther", V, MASK, X, 2.0),
    _of("masked_fill.Scalar", V, X, MASK, 1.0),
    _of("masked_fill.Tensor", V, X, MASK, torch.tensor(1.0, dtype=torch.float64)),
    *(_of("linalg_vector_norm.default", M, X, order, dims, keep)
      for order in (1.0, 2.0, INF) for dims, keep in (([1], True), (None, False))),
    _of("max_pool2d_with_indices.default", P, X, [3, 3], [2, 2], [1, 1]),
    _of("max_pool3d_with_indices.default", B, X, [2, 2, 2], [1, 1, 1]),
    _of("max_pool1d.default", L, X, [2], [1]),
    _of("max_pool2d.default", P, X, [2, 2], [2, 2], [0, 0], [1, 1], True),
    _of("max_pool3d.default", B, X, [1, 2, 2]),
    _of("adaptive_max_pool2d.default", P, X, [3, 3]),
    _of("adaptive_max_pool3d.default", B, X, [1, 3, 1]),
    _of("amax.default", M, X, [1], True),
    _of("amin.default", M, X, [0, 1]),
    _of("max.dim", M, X, 1),
    _of("min.dim", M, X, 0, True),
    _of("cummax.default", M, X, 1),
    _of("cummin.default", M, X, 0),
    _of("sort.stable", M, X, stable=True, dim=1, descending=True),
    _of("topk.default", M, X, 2),
    _of("sum.dim_IntList", M, X, [1]),
    _of("mean.dim", M, X, [0, 1], True),
    _of("avg_pool1d.default", L, X, [3], [2], [1]),
    _of("avg_pool2d.default", P, X, [3, 3], [2, 2], [1, 1], True, False),
    _of("avg_pool2d.default", P, X, [2, 2], [2, 2], [0, 0], False, True, 3),
    _of("avg_pool3d.default", B, X, [2, 2, 2]),
    _of("_adaptive_avg_pool2d.default", P, X, [3, 3]),
    _of("_adaptive_avg_pool3d.default", B, X, [1, 3, 1]),
    _of("adaptive_avg_pool1d.default", L, X, [3]),
    _of("upsample_linear1d.default", L, X, [7], False),
    _of("upsample_bilinear2d.default", P, X, [5, 7], True),
    _of("upsample_trilinear3d.default", B, X, [3, 5, 3], False),
    _of("upsample_bicubic2d.default", P, X, [5, 7], False),
    _of("upsample_linear1d.vec", L, X, None, False, [1.5]),
    _of("upsample_bilinear2d.vec", P, X, None, True, [1.5, 0.5]),
    _of("upsample_trilinear3d.vec", B, X, None, False, [1.5, 1.0, 2.0]),
    _of("upsample_bicubic2d.vec", P, X, None, False, [1.5, 1.5]),
    _of("_upsample_bilinear2d_aa.default", P, X, [2, 3], False),
    _of("_upsample_bicubic2d_aa.default", P, X, [2, 3], False),
    _of("cumsum.default", M, X, 1),
    _pair("atan2.default", V, V, X, Y),
]  # fmt: skip

UNDRAWN = frozenset({"cudnn_batch_norm.default", "empty_like.default", "new_empty.default"})
"""Rules whose operator no CPU has, or whose result is whatever memory holds."""
