"""Small networks as captured graphs, and dense references for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from app.lipschitz.agreement import check_agreement
from app.lipschitz.artifact.captured import Captured, Inspection, TensorSpec
from app.lipschitz.ingest.trace import pure
from app.lipschitz.network.build import build
from app.lipschitz.network.nodes import Network
from app.lipschitz.operators.norm import Norm, norm
from app.lipschitz.walk.walk import walk

ORDER: dict[str, float] = {"1": 1, "2": 2, "inf": float("inf")}


def captured(function: Callable[..., object], *shapes: Sequence[int]) -> Captured:
    """A module or function of float64 tensors as one ATen graph, traced here without any file format."""
    if isinstance(function, nn.Module):
        function = function.eval().double()
    examples = [torch.randn(tuple(shape), dtype=torch.float64) for shape in shapes]

    def flat(*inputs: Tensor) -> tuple[Tensor, ...]:
        result = function(*inputs)
        return tuple(result) if isinstance(result, list | tuple) else (result,)

    graph = pure(make_fx(flat)(*examples), examples)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    inputs = tuple(TensorSpec(f"x{i}", "FP64", tuple(shape)) for i, shape in enumerate(shapes))
    outputs = tuple(TensorSpec(f"y{i}", "FP64", tuple(y.shape)) for i, y in enumerate(flat(*examples)))
    return Captured(graph, inputs, outputs, Inspection("onnx", inputs, outputs, 0, {}))


def network_of(function: Callable[..., object], *shapes: Sequence[int]) -> Network:
    """The typed network, checked against the graph."""
    graph = captured(function, *shapes)
    positions = range(len(graph.outputs))
    network = build(graph, positions)
    check_agreement(network, graph, positions, seed=1)
    return network


def autolip_of(network: Network, p: Norm) -> float:
    """The certified constant of the walk."""
    return walk(network, p, lambda operator: norm(operator, p).upper)[-1].cumulative


def jacobian_norms(network: Network, p: Norm, points: Tensor) -> Tensor:
    """Dense Jacobian norms at `(B, n)` points, by autodiff."""
    jacobians = [torch.autograd.functional.jacobian(lambda x: network(x[None])[0], point) for point in points]
    return torch.stack([torch.linalg.matrix_norm(jacobian, ORDER[p]) for jacobian in jacobians])
