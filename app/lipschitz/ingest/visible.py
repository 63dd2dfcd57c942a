"""Which operators leave their trace: those that a graph captured in one run shows with all that they depend on.

Everything that the dispatcher is asked for is recorded. Two things are not: what a composite operator decides from
numbers that it reads in C++ before it calls others, and what is no call of the dispatcher. So an operator is allowed

- if it has a kernel of its own, makes tensors of tensors (or is in `FACTORIES`) and writes at most to its first
  operand: the trace then has it as a node, and the rule table judges it; or
- if it is in `COMPOSITES`, operators that are made of others and look at shapes only; or
- if it is in `SHAPES`, which read shapes and types, or numbers by calls that the trace shows.
"""

from __future__ import annotations

from typing import Any

import torch


def words(text: str) -> frozenset[str]:
    """A list of names."""
    return frozenset(text.split())


COMPOSITES = words(
    """
    __and__ __or__ __xor__ _cast_Byte _cast_Char _cast_Double _cast_Float _cast_Half _cast_Int _cast_Long
    _cast_Short _convolution _pad_circular _pad_enum _scaled_dot_product_attention_math _upsample_bicubic2d_aa
    _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d _weight_norm absolute adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adjoint alpha_dropout arccos arccosh arcsin arcsinh arctan arctan2 arctanh argsort
    atleast_1d atleast_2d atleast_3d avg_pool1d batch_norm bilinear broadcast_tensors broadcast_to cartesian_prod
    cdist chain_matmul chunk clip column_stack concat concatenate contiguous conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d cosine_similarity cross diag diagflat diff divide dropout dsplit dstack einsum
    expand_as fake_quantize_per_channel_affine fake_quantize_per_tensor_affine
    feature_alpha_dropout feature_dropout fft_fft fft_fft2 fft_fftn fft_ifft fft_ifft2 fft_ifftn fft_irfft
    fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn fix flatten fliplr flipud float_power frobenius_norm ger
    greater greater_equal grid_sampler group_norm gru gru_cell hsplit hstack inner instance_norm inverse isclose
    isfinite kron layer_norm less less_equal linalg_diagonal linalg_inv linalg_matmul linalg_matrix_norm
    linalg_matrix_power linalg_multi_dot linalg_norm linalg_solve linalg_vecdot linear log_sigmoid log_softmax lstm
    lstm_cell mH mT matmul matrix_H matrix_exp matrix_power max max_pool1d max_pool1d_with_indices max_pool2d
    max_pool3d meshgrid min moveaxis movedim msort multiply nanmean narrow negative norm_except_dim not_equal
    numpy_T outer pad pairwise_distance positive prelu ravel relu6 reshape reshape_as rms_norm rnn_relu
    rnn_relu_cell rnn_tanh rnn_tanh_cell row_stack rrelu scaled_dot_product_attention selu softmax special_erf
    special_erfc special_exp2 special_expit special_expm1 special_log1p special_log_softmax special_logit
    special_logsumexp special_ndtr special_round special_sinc special_softmax special_xlogy split square std
    std_mean stft subtract sum_to_size swapaxes swapdims take_along_dim tensor_split tensordot tile to trapezoid
    trapz true_divide type_as unflatten unsafe_chunk upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d vander var var_mean view_as vsplit
    vstack where
    """
)
"""Composites by name, but for the overloads below."""

FACTORIES = words(
    """
    arange bartlett_window blackman_window empty empty_strided eye full hamming_window hann_window kaiser_window
    linspace logspace normal ones rand randint randn randperm scalar_tensor tril_indices triu_indices zeros
    """
)
"""What makes tensors of numbers alone; others without an operand read files or the like."""

READING = frozenset(
    {"tensor_split.tensor_indices_or_sections", "narrow.Tensor", "lstm.data", "gru.data", "rnn_tanh.data",
     "rnn_relu.data"}
)  # fmt: skip
"""Overloads of composites that read positions or lengths out of tensors."""

SHAPES = words(
    """
    _local_scalar_dense equal get_device is_complex is_contiguous is_floating_point is_nonzero is_same_size
    is_signed item dim numel promote_types result_type size stride sym_numel sym_size sym_storage_offset sym_stride
    can_cast _assert_scalar _assert_tensor_metadata sym_constrain_range sym_constrain_range_for_size
    """
)


def is_visible(name: str, overload: str, schema: Any) -> bool:
    """Whether the operator `aten::name.overload` is one of those above; `schema` is its function schema."""
    if name in SHAPES:
        return not schema.is_mutable
    full = f"{name}.{overload}" if overload else name
    if not any("Tensor" in str(argument.type) for argument in schema.arguments) and name not in FACTORIES:
        return False
    if full in READING or not schema.returns or not all(_holds_tensors(result.type) for result in schema.returns):
        return False
    if _is_composite(f"aten::{full}"):
        return name.removesuffix("_") in COMPOSITES and _writes_to_itself_only(schema)
    return _writes_to_itself_only(schema)


def is_dispatched(full: str) -> bool:
    """Whether the dispatcher knows the operator, `aten::add.Tensor`."""
    try:
        torch._C._dispatch_has_kernel_for_dispatch_key(full, "CPU")
    except RuntimeError:
        return False
    return True


def _is_composite(full: str) -> bool:
    composite: bool = torch._C._dispatch_has_kernel_for_dispatch_key(full, "CompositeImplicitAutograd")
    return composite


def _holds_tensors(kind: Any) -> bool:
    return str(kind) in ("Tensor", "List[Tensor]", "Tensor[]")


def _writes_to_itself_only(schema: Any) -> bool:
    """At most the first operand is written to, and its shape and storage stay; `x.set_(y)` is another tensor."""
    written = [argument.alias_info is not None and argument.alias_info.is_write for argument in schema.arguments]
    return not any(written[1:]) and schema.name.rpartition("::")[2] not in REBINDING


REBINDING = words(
    """
    set_ resize_ resize_as_ detach_ rename_ as_strided_ requires_grad_ retain_grad set_data swap_ _resize_output_
    unsqueeze_ squeeze_ t_ transpose_ swapaxes_ swapdims_ resize_as_sparse_ copy_sparse_to_sparse_
    """
)
"""What makes a tensor another one, or changes how it is differentiated."""
