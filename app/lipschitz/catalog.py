"""The graph operators that the library has a rule for, as data.

Importable without torch, because the API process answers `/v1/operators` from it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorInfo:
    """One graph operator and its rule; `constant` is its Lipschitz constant or how that is found."""

    operator: str
    rule: str
    constant: str
    source: str = ""


def _family(rule: str, constant: str, names: str, source: str = "") -> tuple[OperatorInfo, ...]:
    return tuple(OperatorInfo(f"aten.{name}", rule, constant, source) for name in names.split())


_AFFINE = "certified norm of the fused affine block"
_MOVE = "sqrt(most copies of one entry) in the 2-norm"
_SELECT = "sqrt(most windows sharing one entry) in the 2-norm"
_UNBOUNDED = "none on the whole space"
_JUMPS = "none: discontinuous"

OPERATORS: tuple[OperatorInfo, ...] = (
    *_family("matrix product", _AFFINE,
             "mm.default bmm.default mv.default addmm.default baddbmm.default addmv.default"),
    *_family("convolution", _AFFINE,
             "convolution.default _convolution.default _convolution.deprecated"),
    *_family("batch norm with stored statistics", "folded: |gamma| / sqrt(variance + eps) per channel",
             "native_batch_norm.default _native_batch_norm_legit_no_training.default cudnn_batch_norm.default"),
    *_family("product with a constant", _AFFINE,
             "mul.Tensor mul.Scalar div.Tensor div.Scalar neg.default"),
    *_family("sum", "sum of ||A_j|| L_j over the branches; fused when they share a source",
             "add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar", "VS18, Algorithm 1"),
    *_family("sum or mean over axes", "sqrt(entries per sum), divided by their number for a mean",
             "sum.dim_IntList sum.default mean.dim mean.default"),
    *_family("average pooling", _AFFINE, "avg_pool1d.default avg_pool2d.default avg_pool3d.default"),
    *_family("resampling, axis by axis", "product of the axes' norms",
             "_adaptive_avg_pool2d.default _adaptive_avg_pool3d.default adaptive_avg_pool1d.default "
             "upsample_linear1d.default upsample_bilinear2d.default upsample_trilinear3d.default "
             "upsample_bicubic2d.default upsample_linear1d.vec upsample_bilinear2d.vec "
             "upsample_trilinear3d.vec upsample_bicubic2d.vec _upsample_bilinear2d_aa.default "
             "_upsample_bicubic2d_aa.default"),
    *_family("cumulative sum", _AFFINE, "cumsum.default"),
    *_family("movement of entries", _MOVE,
             "view.default _unsafe_view.default reshape.default unsqueeze.default squeeze.default "
             "squeeze.dim squeeze.dims flatten.using_ints permute.default transpose.int t.default "
             "slice.Tensor select.int index.Tensor index_select.default gather.default narrow.default "
             "expand.default repeat.default tile.default flip.default roll.default "
             "constant_pad_nd.default reflection_pad1d.default reflection_pad2d.default "
             "reflection_pad3d.default replication_pad1d.default replication_pad2d.default "
             "replication_pad3d.default upsample_nearest1d.default upsample_nearest2d.default "
             "upsample_nearest3d.default _upsample_nearest_exact1d.default "
             "_upsample_nearest_exact2d.default _upsample_nearest_exact3d.default "
             "upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec "
             "pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default split.Tensor "
             "split_with_sizes.default chunk.default unbind.int unfold.default im2col.default "
             "diagonal.default tril.default triu.default movedim.int cat.default stack.default "
             "slice_scatter.default select_scatter.default index_put.default rot90.default "
             "as_strided.default hstack.default vstack.default take.default copy.default _reshape_alias.default "
             "view_copy.default expand_copy.default repeat_interleave.self_int where.self where.ScalarSelf "
             "where.ScalarOther masked_fill.Scalar masked_fill.Tensor"),
    *_family("constant of the same shape", "0",
             "zeros_like.default ones_like.default full_like.default empty_like.default new_zeros.default "
             "new_ones.default new_full.default new_empty.default"),
    *_family("identity", "1", "clone.default alias.default detach.default contiguous.default lift_fresh_copy.default "
             "lift_fresh.default positive.default dropout.default"),
    *_family("cast", "1 within the real numbers; refused to integers", "_to_copy.default to.dtype"),
    *_family("nondecreasing 1-Lipschitz function", "1",
             "relu.default threshold.default clamp_min.default clamp_max.default clamp.default hardtanh.default "
             "relu6.default "
             "clamp.Tensor clamp_min.Tensor clamp_max.Tensor tanh.default atan.default asinh.default "
             "softplus.default softshrink.default log_sigmoid_forward.default"),
    *_family("1-Lipschitz function", "1", "abs.default sin.default cos.default"),
    *_family("leaky ReLU", "max(1, |a|)",
             "leaky_relu.default rrelu_with_noise.default rrelu_with_noise_functional.default "
             "_prelu_kernel.default"),
    *_family("ELU", "scale max(1, alpha input_scale)", "elu.default celu.default"),
    *_family("sigmoid", "1/4", "sigmoid.default"),
    *_family("hard sigmoid", "1/6, rounded up to float32", "hardsigmoid.default"),
    *_family("hard swish", "1.500000045 (torch multiplies by a float32 1/6)", "hardswish.default"),
    *_family("error function", "2 / sqrt(pi)", "erf.default"),
    *_family("GELU", "1.128905 (erf), 1.128994 (tanh approximation)", "gelu.default"),
    *_family("SiLU", "1.099840", "silu.default"),
    *_family("Mish", "1.088499", "mish.default"),
    *_family("function that is steep without bound", "none on the whole space; from its interval on a bounded domain",
             "exp.default expm1.default exp2.default square.default sqrt.default log.default log2.default "
             "log10.default rsqrt.default log1p.default reciprocal.default pow.Tensor_Scalar"),
    *_family("softmax", "1/2 in every norm", "_softmax.default _safe_softmax.default"),
    *_family("question for NaN, behind a softmax", "0", "isnan.default"),
    *_family("equality with infinity, which a mask alone makes; refused with any other number", "0",
             "eq.Scalar ne.Scalar"),
    *_family("log-softmax", "sqrt(n) in the 2-norm", "_log_softmax.default"),
    *_family("log-sum-exp", "1", "logsumexp.default"),
    *_family("running log-sum-exp", "sqrt(n) in the 2-norm", "logcumsumexp.default"),
    *_family("running extremum", "sqrt(n) in the 2-norm", "cummax.default cummin.default"),
    *_family("layer, group or instance norm", "max|gamma| / sqrt(eps) in the 2-norm",
             "native_layer_norm.default native_group_norm.default"),
    *_family("max pooling", _SELECT,
             "max_pool2d_with_indices.default max_pool3d_with_indices.default max_pool1d.default "
             "max_pool2d.default max_pool3d.default adaptive_max_pool2d.default adaptive_max_pool3d.default"),
    *_family("extremum over axes, sorting", "1",
             "amax.default amin.default max.default min.default max.dim min.dim sort.default sort.stable "
             "topk.default"),
    *_family("maximum or minimum of two", "1 on the pair", "maximum.default minimum.default"),
    *_family("refused with more than 200 factors, else taken apart: running product", _UNBOUNDED,
             "cumprod.default"),
    *_family("angle", "none on the whole space; 1 / r at distance r from the origin, off the cut", "atan2.default"),
    *_family("product of dependent factors",
             "none on the whole space unless they are bounded; max|b| L_a + max|a| L_b on a bounded domain",
             "prod.dim_int prod.default glu.default _scaled_dot_product_flash_attention_for_cpu.default"),
    *_family("power or tangent", "none on the whole space; from its interval on a bounded domain",
             "pow.Tensor_Tensor pow.Scalar tan.default"),
    *_family("vector norm over axes", "1 in its own norm", "linalg_vector_norm.default"),
    *_family("refused: step function", _JUMPS,
             "sign.default sgn.default floor.default ceil.default round.default trunc.default "
             "frac.default argmax.default argmin.default gt.Scalar gt.Tensor ge.Scalar ge.Tensor "
             "lt.Scalar lt.Tensor le.Scalar le.Tensor eq.Tensor ne.Tensor "
             "hardshrink.default heaviside.default remainder.Scalar fmod.Scalar floor_divide.default "
             "round.decimals div.Tensor_mode div.Scalar_mode argsort.default"),
)  # fmt: skip
"""Every operator that is recognised; one that is not listed is refused by name."""
