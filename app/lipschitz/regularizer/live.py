"""A torch module as a graph of ATen operators on its own weights, which can be run in part."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..artifact.captured import Inspection, TensorSpec
from ..errors import UnsupportedOperator
from ..ingest import torch_module
from ..ingest.dependence import refuse_dependence
from ..ingest.labels import label
from ..ingest.program import Program
from ..ingest.trace import clean, pure, trace

Values = Mapping[fx.Node, Any]


def live_graph(module: nn.Module, shape: Sequence[int]) -> fx.GraphModule:
    """The module in evaluation mode as ATen operators that read its own parameters and buffers.

    Raises a LipschitzError where the module's course depends on its input's values.
    """
    spec = (TensorSpec("input", "FP64", tuple(shape)),)
    names = torch_module.constant_names(module)
    stored = next(module.parameters(), torch.empty(0))
    example = torch.zeros(tuple(shape), dtype=torch_module.floating_type(module), device=stored.device)

    def function(x: Tensor) -> Sequence[Tensor]:
        return (module(x),)

    program = Program(Inspection("torch_export", spec, (), 0, {}), spec, (), function, function, names, True)
    with _evaluating(module):
        traced = trace(program, [example])
        refuse_dependence(traced)
        graph = pure(traced, [example])
    clean(graph)
    label(graph, ["input"], names)
    return graph


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def only_output(graph: fx.GraphModule) -> fx.Node:
    """The node of the module's one output; UnsupportedOperator where that is more than a tensor."""
    results: Any = graph.graph.output_node().args[0]
    (result,) = results
    if not isinstance(result, fx.Node):
        raise UnsupportedOperator("the module's output is not one tensor")
    return result


def stored_values(graph: fx.GraphModule, constants: Sequence[fx.Node]) -> dict[fx.Node, Tensor]:
    """What no input reaches, from the weights of now, differentiable in them.

    Buffers are copied, since a training step may overwrite statistics before the backward pass reads them.
    """
    values: dict[fx.Node, Tensor] = {}
    for node in constants:
        if node.op == "get_attr":
            stored = operator.attrgetter(str(node.target))(graph)
            values[node] = stored if isinstance(stored, nn.Parameter) else stored.clone()
        else:
            values[node] = evaluate(node, values)
    return values


def evaluate(node: fx.Node, values: Values) -> Any:
    """The result of one operator."""
    assert callable(node.target)
    args: Any = fx.node.map_arg(node.args, values.__getitem__)
    kwargs: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    return node.target(*args, **kwargs)


def run(nodes: Iterable[fx.Node], start: fx.Node, x: Tensor, stored: Values) -> dict[fx.Node, Any]:
    """The values of `nodes`, in order, for the value x of `start` and zero in all other values that they read."""
    values = {**stored, start: x}
    for node in nodes:
        for other in node.all_input_nodes:
            if other not in values:
                values[other] = torch.zeros(other.meta["shape"], dtype=x.dtype, device=x.device)
        values[node] = evaluate(node, values)
    return values
