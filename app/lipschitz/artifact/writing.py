"""A captured graph as one deterministic byte string: a mark, the length of the JSON, the JSON, the tensors.

The tensors are a safetensors file. Weights that are float32 numbers are stored as such: their conversion to float64,
which is what the graph holds, is exact.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter, getitem
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, fx

from ...contract.plain import Json
from ..errors import InvalidModel, UnsupportedOperator
from . import dtypes, records
from .agreement import Run
from .arguments import NotEncodable, encode
from .captured import Captured, Inspection, Origin, TensorSpec
from .graphs import operator_name, results
from .masks import is_broken
from .operators import overload

MARK = b"lipgraph"
LENGTH = 8
"""Bytes of the length of the JSON, little end first."""

_UNPRINTABLE = re.compile(records.PRINTABLE.replace("^[^", "[").replace("]*$", "]"))
_TARGET = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+){1,2}")


def digest(data: bytes) -> str:
    """SHA-256 of an artifact, which names it."""
    return hashlib.sha256(data).hexdigest()


def to_bytes(captured: Captured, samples: Sequence[Run]) -> bytes:
    """The artifact; the same bytes for the same graph. `samples` are what a reader runs the graph on again.

    Raises UnsupportedOperator for tensors that a file of real numbers cannot hold, InvalidModel for broken ones.
    """
    tensors: dict[str, Tensor] = {}
    position: dict[fx.Node, int] = {}
    nodes = []
    for node in captured.graph.graph.nodes:
        if node.op != "output":
            nodes.append(_node(captured.graph, node, position, tensors))
            position[node] = len(position)
    for number, run in enumerate(samples):
        tensors |= _run(number, run)
    graph = {
        "version": records.VERSION,
        "declared": _declared(captured.inspection),
        "inputs": [_spec(spec) for spec in captured.inputs],
        "outputs": [_spec(spec) for spec in captured.outputs],
        "warnings": [clean(text) for text in captured.warnings],
        "nodes": nodes,
        "results": [position[node] for node in results(captured.graph)],
        "samples": len(samples),
    }
    if captured.batch is not None:
        graph["batch"] = asdict(captured.batch)
    if captured.left_out:
        graph["left_out"] = clean(captured.left_out)
    text = canonical(graph)
    return b"".join((MARK, len(text).to_bytes(LENGTH, "little"), text, safetensors.torch.save(tensors)))


def canonical(graph: Any) -> bytes:
    """JSON in the one form that a reader accepts."""
    return json.dumps(graph, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def clean(text: str) -> str:
    """A name out of a model's file, without control characters and of bounded length."""
    return _UNPRINTABLE.sub("\ufffd", text.encode(errors="replace").decode())[: records.MAX_TEXT]


def _node(graph: fx.GraphModule, node: fx.Node, position: Mapping[fx.Node, int], tensors: dict[str, Tensor]) -> Any:
    origin = node.meta.get("origin") or Origin(node.name, operator_name(node))
    shape = node.meta.get("shape")
    common = {
        "name": node.name,
        "place": {"name": clean(origin.name), "op": clean(origin.op)},
        "shape": None if shape is None else list(shape),
        "datatype": node.meta.get("datatype"),
    }
    if node.op == "placeholder":
        return common | {"kind": "input"}
    if node.op == "get_attr":
        name = f"stored{len(position)}"
        tensors[name] = _stored(attrgetter(str(node.target))(graph), node)
        return common | {"kind": "stored", "args": [name], "shape": list(tensors[name].shape)}
    return common | _call(node, position)


def _call(node: fx.Node, position: Mapping[fx.Node, int]) -> Json:
    if node.target is getitem:
        return {"kind": "item", "args": encode(node.args, position)}
    name = operator_name(node)
    try:
        if overload(name) is node.target:
            kwargs = {key: encode(value, position) for key, value in node.kwargs.items()}
            return {"kind": "call", "target": name, "args": encode(node.args, position), "kwargs": kwargs}
    except NotEncodable:
        pass
    sources = [{"node": position[source]} for source in node.all_input_nodes]
    return {"kind": "unsupported", "target": name if _TARGET.fullmatch(name) else "unknown.operator", "args": sources}


def _stored(tensor: Tensor, node: fx.Node) -> Tensor:
    """The tensor as the file holds it: not shared, and float32 where that is exact."""
    if tensor.layout != torch.strided or dtypes.from_torch(tensor.dtype) == dtypes.UNKNOWN:
        raise UnsupportedOperator(f"The stored tensor '{node.name}' is {tensor.layout}, {tensor.dtype}.")
    if is_broken(tensor, node):
        name = node.meta["origin"].name if "origin" in node.meta else node.name
        raise InvalidModel(f"The stored tensor '{clean(name)}' holds NaN, or infinity where it is no mask.")
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.float64:
        narrow = tensor.float()
        if torch.equal(narrow.double(), tensor):
            return narrow.contiguous()
    return tensor.clone(memory_format=torch.contiguous_format)


def _run(number: int, run: Run) -> dict[str, Tensor]:
    groups = {"input": run.inputs, "original": run.original, "traced": run.traced}
    return {
        f"sample{number}.{kind}{index}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for kind, group in groups.items()
        for index, tensor in enumerate(group)
    }


def _spec(spec: TensorSpec) -> Json:
    return {"name": clean(spec.name), "datatype": spec.datatype, "shape": list(spec.shape)}


def _declared(inspection: Inspection) -> Json:
    return asdict(inspection) | {
        "inputs": [_spec(spec) for spec in inspection.inputs],
        "outputs": [_spec(spec) for spec in inspection.outputs],
        "operators": {clean(name): count for name, count in inspection.operators.items()},
        "unsupported": [clean(name) for name in inspection.unsupported],
        "warnings": [clean(text) for text in inspection.warnings],
    }
