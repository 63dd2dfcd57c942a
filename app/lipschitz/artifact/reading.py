"""Hostile bytes in, a captured graph out, or InvalidArtifact: nothing of it is run before all of it is checked.

In this order: the frame, the JSON's form and types (`records`), the stored tensors, every operator and argument
against the closed list and the operator's schema, every size by a dry run without memory (`sizes`), and at last
the graph itself on the samples that travel along, which it must reproduce (`agreement`).
"""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, fx

from ..errors import InvalidArtifact, LipschitzError
from . import dtypes, records
from .agreement import Run, check
from .arguments import check_call, decode
from .captured import Batch, Captured, Inspection, Origin, TensorSpec
from .graphs import results, unsupported
from .masks import is_broken
from .operators import overload
from .sizes import check_sizes
from .writing import LENGTH, MARK, canonical

MAX_JSON = 64 << 20
"""Bytes of the graph's half."""


def from_bytes(data: bytes) -> Captured:
    """The captured graph in an artifact. Raises InvalidArtifact for anything that `to_bytes` cannot have written."""
    try:
        record, tensors = _parts(data)
        return _captured(record, tensors)
    except InvalidArtifact:
        raise
    except MemoryError:
        raise
    except LipschitzError as error:
        raise InvalidArtifact(f"The captured graph does not hold: {error.detail}") from error
    except Exception as error:  # torch's operators do not say what they raise on arguments that do not fit
        raise InvalidArtifact(f"The captured graph cannot be read ({type(error).__name__}).") from error


def _parts(data: bytes) -> tuple[records.Graph, dict[str, Tensor]]:
    start = len(MARK) + LENGTH
    if not data.startswith(MARK) or len(data) < start:
        raise InvalidArtifact("The bytes are no captured graph.")
    length = int.from_bytes(data[len(MARK) : start], "little")
    if length > min(MAX_JSON, len(data) - start):
        raise InvalidArtifact("The captured graph is cut off, or too large.")
    text = data[start : start + length]
    try:
        if canonical(json.loads(text)) != text:
            raise InvalidArtifact("The captured graph is not in its canonical form.")
        return records.Graph.model_validate_json(text), safetensors.torch.load(data[start + length :])
    except (ValidationError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise InvalidArtifact(f"The captured graph is damaged ({type(error).__name__}).") from error


def _captured(record: records.Graph, tensors: dict[str, Tensor]) -> Captured:
    inputs, outputs = _specs(record.inputs), _specs(record.outputs)
    if any(spec.datatype not in dtypes.FLOATING for spec in inputs):
        raise InvalidArtifact("An input of the captured graph is no real number.")
    runs = [_run(number, inputs, outputs, tensors) for number in range(record.samples)]
    graph = _graph(record, tensors)
    if tensors:
        raise InvalidArtifact("The captured graph stores tensors that nothing reads.")
    for node in graph.graph.find_nodes(op="get_attr"):
        if is_broken(getattr(graph, node.target), node):
            raise InvalidArtifact("A stored tensor holds NaN, or infinity where it is no mask.")
    check_sizes(graph, [spec.shape for spec in inputs])
    _check_outputs(graph, outputs)
    if runs:
        check(graph, runs, [spec.name for spec in outputs])
    batch = None if record.batch is None else Batch(**record.batch.model_dump())
    return Captured(graph, inputs, outputs, _declared(record.declared), tuple(record.warnings), batch, record.left_out)


def _specs(given: Sequence[records.Spec]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(spec.name, spec.datatype, tuple(spec.shape)) for spec in given)


def _declared(given: records.Declared) -> Inspection:
    return Inspection(
        given.format,
        _specs(given.inputs),
        _specs(given.outputs),
        given.parameters,
        given.operators,
        tuple(given.unsupported),
        tuple(given.warnings),
    )


def _run(number: int, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], tensors: dict[str, Tensor]) -> Run:
    def group(kind: str, specs: Sequence[TensorSpec]) -> list[Tensor]:
        return [_sample(tensors, f"sample{number}.{kind}{i}", spec) for i, spec in enumerate(specs)]

    return Run(group("input", inputs), group("original", outputs), group("traced", outputs))


def _sample(tensors: dict[str, Tensor], name: str, spec: TensorSpec) -> Tensor:
    value = tensors.pop(name, None)
    if value is None or tuple(value.shape) != spec.shape or dtypes.from_torch(value.dtype) != spec.datatype:
        raise InvalidArtifact(f"The sample {name} is missing, or not of its tensor's type.")
    return value


def _graph(record: records.Graph, tensors: dict[str, Tensor]) -> fx.GraphModule:
    graph = fx.Graph()
    nodes: list[fx.Node] = []
    stored: dict[str, Tensor] = {}
    for given in record.nodes:
        node = _node(graph, given, nodes, tensors, stored)
        origin = Origin(given.place.name, given.place.op)
        node.meta = {"origin": origin, "datatype": given.datatype, "target": given.target}
        if given.shape is not None:
            node.meta["shape"] = tuple(given.shape)
        nodes.append(node)
    if max(record.results) >= len(nodes) or sum(node.op == "placeholder" for node in nodes) != len(record.inputs):
        raise InvalidArtifact("The captured graph's ends are not those that it declares.")
    graph.output(tuple(nodes[index] for index in record.results))
    return fx.GraphModule(stored, graph)


def _node(
    graph: fx.Graph,
    given: records.Node,
    nodes: Sequence[fx.Node],
    tensors: dict[str, Tensor],
    stored: dict[str, Tensor],
) -> fx.Node:
    if given.kind == "input":
        return graph.create_node("placeholder", given.name, name=given.name)
    if given.kind == "stored":
        name = f"stored{len(nodes)}"
        if given.args != [name] or name not in tensors:
            raise InvalidArtifact("A stored tensor is missing.")
        stored[name] = _stored(tensors.pop(name), given)
        return graph.create_node("get_attr", name, name=given.name)
    args, kwargs = decode(given.args, nodes), {key: decode(value, nodes) for key, value in given.kwargs.items()}
    if given.kind == "item":
        _check_item(args, kwargs)
        return graph.create_node("call_function", operator.getitem, tuple(args), name=given.name)
    if given.kind == "unsupported":
        if given.target is None or kwargs or not all(isinstance(source, fx.Node) for source in args):
            raise InvalidArtifact("An operator without a rule reads what is no node.")
        return graph.create_node("call_function", unsupported, tuple(args), name=given.name)
    target = overload(given.target or "")
    if target is None:
        raise InvalidArtifact(f"Operator {given.target} is not one that a captured graph may call.")
    check_call(target, args, kwargs)
    return graph.create_node("call_function", target, tuple(args), kwargs, name=given.name)


def _stored(tensor: Tensor, given: records.Node) -> Tensor:
    """In float64 where it is floating; its booleans 0 or 1."""
    if list(tensor.shape) != given.shape or dtypes.from_torch(tensor.dtype) == dtypes.UNKNOWN:
        raise InvalidArtifact("A stored tensor is not of the shape stated.")
    if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
        raise InvalidArtifact("A stored boolean is neither true nor false.")
    return tensor.double() if tensor.is_floating_point() else tensor


def _check_item(args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    if len(args) != 2 or kwargs or type(args[1]) is not int or args[1] < 0:
        raise InvalidArtifact("An item is one numbered result of an operator.")
    source = args[0]
    if not isinstance(source, fx.Node) or source.op != "call_function":
        raise InvalidArtifact("An item is one numbered result of an operator.")


def _check_outputs(graph: fx.GraphModule, outputs: Sequence[TensorSpec]) -> None:
    ends = results(graph)
    if len(ends) != len(outputs):
        raise InvalidArtifact("The captured graph has another number of outputs than it declares.")
    for node, spec in zip(ends, outputs, strict=True):
        if node.meta.get("shape") != spec.shape:
            raise InvalidArtifact("An output of the captured graph is not of the shape declared.")
