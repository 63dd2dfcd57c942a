"""Normalisations and softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .table import OnnxCall, axis_of, op


@op("BatchNormalization")
def batch_normalization(call: OnnxCall) -> Tensor:
    """Normalisation by stored statistics; the training form depends on the batch and is refused."""
    trains = call.attr("training_mode", 0) or (call.opset < 7 and not call.attr("is_test", 0))
    if trains or (call.opset < 9 and not call.attr("spatial", 1)):
        raise call.refuse("training mode and per-entry statistics are not supported")
    x, scale, bias, mean, variance = (call.tensor(position) for position in range(5))
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.0, call.attr("epsilon", 1e-5))


@op("LayerNormalization")
def layer_normalization(call: OnnxCall) -> Tensor:
    """Normalisation over the axes from `axis` on; only the first output."""
    x = call.tensor(0)
    shape = list(x.shape[axis_of(call, x.ndim, -1) :])
    weight, bias = call.tensor(1), call.optional(2)
    epsilon = call.attr("epsilon", 1e-5)
    if list(weight.shape) == shape and (bias is None or list(bias.shape) == shape):
        return F.layer_norm(x, shape, weight, bias, epsilon)
    y = F.layer_norm(x, shape, None, None, epsilon) * weight
    return y if bias is None else y + bias


@op("RMSNormalization")
def rms_normalization(call: OnnxCall) -> Tensor:
    """x / sqrt(mean x^2 + epsilon) over the axes from `axis` on."""
    x = call.tensor(0)
    axes = list(range(axis_of(call, x.ndim, -1), x.ndim))
    scale = torch.rsqrt(x.square().mean(axes, keepdim=True) + call.attr("epsilon", 1e-5))
    return x * scale * call.tensor(1)


@op("InstanceNormalization")
def instance_normalization(call: OnnxCall) -> Tensor:
    """Each channel of each sample by its own statistics: group normalisation with one channel a group."""
    x = call.tensor(0)
    return F.group_norm(x, x.shape[1], call.tensor(1), call.tensor(2), call.attr("epsilon", 1e-5))


@op("GroupNormalization")
def group_normalization(call: OnnxCall) -> Tensor:
    """Groups of channels; before operator set 21 scale and bias hold one number a group."""
    x, groups = call.tensor(0), call.attr("num_groups")
    scale, bias = call.tensor(1), call.tensor(2)
    if call.opset < 21:
        members = x.shape[1] // groups
        scale, bias = scale.repeat_interleave(members), bias.repeat_interleave(members)
    return F.group_norm(x, groups, scale, bias, call.attr("epsilon", 1e-5))


@op("LRN")
def local_response_normalization(call: OnnxCall) -> Tensor:
    """Division by a power of the local energy across channels."""
    size = call.attr("size")
    alpha, beta, k = call.attr("alpha", 1e-4), call.attr("beta", 0.75), call.attr("bias", 1.0)
    return F.local_response_norm(call.tensor(0), size, alpha, beta, k)


@op("LpNormalization")
def lp_normalization(call: OnnxCall) -> Tensor:
    """Division by the norm along one axis."""
    x = call.tensor(0)
    length: Tensor = torch.linalg.vector_norm(x, call.attr("p", 2), axis_of(call, x.ndim, -1), keepdim=True)
    return x / length


@op("MeanVarianceNormalization")
def mean_variance_normalization(call: OnnxCall) -> Tensor:
    """(x - mean) / (standard deviation + 1e-9) over `axes`."""
    x, axes = call.tensor(0), list(call.attr("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (torch.sqrt(centred.square().mean(axes, keepdim=True)) + 1e-9)


@op("Softmax")
def softmax(call: OnnxCall) -> Tensor:
    """Along one axis; before operator set 13 over all axes from `axis` on."""
    x = call.tensor(0)
    if call.opset >= 13:
        return torch.softmax(x, axis_of(call, x.ndim, -1))
    return torch.softmax(_trailing_flat(call, x), -1).reshape(x.shape)


@op("LogSoftmax")
def log_softmax(call: OnnxCall) -> Tensor:
    """The logarithm of softmax, same axes."""
    x = call.tensor(0)
    if call.opset >= 13:
        return torch.log_softmax(x, axis_of(call, x.ndim, -1))
    return torch.log_softmax(_trailing_flat(call, x), -1).reshape(x.shape)


def _trailing_flat(call: OnnxCall, x: Tensor) -> Tensor:
    axis = axis_of(call, x.ndim, 1)
    return x.reshape([*x.shape[:axis], math.prod(x.shape[axis:])])
