"""Operators of the domain `ai.onnx.ml` that are continuous: linear models and the scaling before them.

Ensembles of trees, labels and categories jump; they are refused elsewhere, or cut off with `output: auto`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .table import OnnxCall, classical, const, op


@op(classical("Scaler"))
def scaler(call: OnnxCall) -> Tensor:
    """(x - offset) scale."""
    return (call.tensor(0).float() - _stored(call, "offset")) * _stored(call, "scale")


@op(classical("LinearRegressor"))
def linear_regressor(call: OnnxCall) -> Tensor:
    """x W^T + b."""
    return _post(call, _linear(call, int(call.attr("targets", 1))))


@op(classical("LinearClassifier"))
def linear_classifier(call: OnnxCall) -> tuple[Tensor, Tensor]:
    """The label, and the scores x W^T + b; of one row of weights those of both classes."""
    classes = len(call.attr("classlabels_ints", []) or call.attr("classlabels_strings", []))
    scores = _linear(call, len(call.attr("coefficients")) // call.tensor(0).shape[-1])
    if scores.shape[-1] != classes:
        raise call.refuse("one row of weights for two classes")
    return scores.argmax(-1), _post(call, scores)


@op(classical("Normalizer"))
def normalizer(call: OnnxCall) -> Tensor:
    """Rows divided by their norms."""
    x, kind = call.tensor(0).float(), call.attr("norm", "MAX")
    if kind == "MAX":
        return x / x.amax(-1, keepdim=True)
    length: Tensor = torch.linalg.vector_norm(x, {"L1": 1, "L2": 2}[kind], [-1], keepdim=True)
    return x / length


def _linear(call: OnnxCall, rows: int) -> Tensor:
    weight = _stored(call, "coefficients").reshape(rows, -1)
    bias = _stored(call, "intercepts") if "intercepts" in call.attributes else None
    return F.linear(call.tensor(0).float(), weight, bias)


def _stored(call: OnnxCall, name: str) -> Tensor:
    return const(list(call.attributes[name]), torch.float32)


def _post(call: OnnxCall, scores: Tensor) -> Tensor:
    transform = call.attr("post_transform", "NONE")
    if transform == "NONE":
        return scores
    if transform == "LOGISTIC":
        return torch.sigmoid(scores)
    if transform == "SOFTMAX":
        return torch.softmax(scores, -1)
    raise call.refuse(f"post-transform {transform}")
