"""One flat graph of ATen operators from any function of tensors, by running it once under make_fx."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.fx.node import Target
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..artifact import dtypes
from ..artifact.captured import Origin
from ..errors import StatefulModel
from .decompositions import DECOMPOSITIONS
from .program import Program
from .rewriting import as_mean, read_through, without_sign

aten = torch.ops.aten

IDENTITIES = frozenset({aten.detach.default, aten.alias.default, aten.clone.default, aten.lift_fresh_copy.default})

VIEWS = frozenset({aten.view.default, aten._unsafe_view.default})


@contextmanager
def origin_scope(origin: Origin) -> Iterator[None]:
    """Every node traced inside carries `origin`, unless an inner scope marked it."""
    yield
    mode = get_proxy_mode()
    if mode is None:
        return
    for node in reversed(mode.tracer.graph.nodes):
        if "origin" in node.meta:
            break
        node.meta["origin"] = origin


def trace(program: Program, examples: Sequence[Tensor]) -> GraphModule:
    """The program's graph on these examples, before clean-up: dead nodes tell what the run depended on."""
    shapes = TracingContext(FakeTensorMode())  # one for all nodes: a third of a trace went into making one for each
    with _plain_operators(), tracing(shapes), torch.set_grad_enabled(program.differentiable):
        tracer = make_fx(program.function, dict(DECOMPOSITIONS), _error_on_data_dependent_ops=False)
        return tracer(*(x.requires_grad_(program.differentiable) for x in examples))


@contextmanager
def _plain_operators() -> Iterator[None]:
    """No vendor kernels: recurrent layers and attention then decompose into matrix products."""
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags also touches TF32 and warns of it
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)


def pure(graph: GraphModule, examples: Sequence[Tensor]) -> GraphModule:
    """The same graph without operators that overwrite tensors; refuses those that overwrite the model's own.

    Overwriting through views is undone by torch's functionalisation, in a second trace of the first graph.
    """
    writes = [node for node in graph.graph.nodes if _overwrites(node)]
    if not writes:
        return graph
    for node in writes:
        if isinstance(node.args[0], Node) and node.args[0].op == "get_attr":
            raise StatefulModel(f"The model overwrites one of its own tensors ({node.target}): it keeps state.")
    names = list(dict.fromkeys(str(node.target) for node in graph.graph.find_nodes(op="get_attr")))
    stored = [operator.attrgetter(name)(graph) for name in names]

    def run(*values: Tensor) -> Any:
        return _Labelled(graph, dict(zip(names, values, strict=False))).run(*values[len(names) :])

    with torch.no_grad():
        function = make_fx(torch.func.functionalize(run, remove="mutations"), _error_on_data_dependent_ops=False)
        result: GraphModule = function(*(x.detach() for x in (*stored, *examples)))
    _store(result, names, stored)
    return result


def _store(graph: GraphModule, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
    """The first inputs become the graph's own tensors again: functionalisation only follows what is an input."""
    for node, name, tensor in zip(graph.graph.find_nodes(op="placeholder"), names, tensors, strict=False):
        flat = f"stored_{name.replace('.', '_')}"
        graph.register_buffer(flat, tensor)
        with graph.graph.inserting_before(node):
            own = graph.graph.get_attr(flat)
        own.meta = dict(node.meta)
        node.replace_all_uses_with(own)
        graph.graph.erase_node(node)
    graph.recompile()


class _Labelled(Interpreter):
    """Replays a graph under tracing; the new nodes inherit their origins.

    Operators without overwriting may lay their results out in another order in memory, where a view is
    impossible: it is replayed as a reshape.
    """

    def __init__(self, graph: GraphModule, stored: Mapping[str, Tensor]) -> None:
        super().__init__(graph)
        self._stored = stored

    def get_attr(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG002
        """One of the graph's tensors, as it is given."""
        return self._stored[str(target)]

    def call_function(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Evaluate one operator."""
        return super().call_function(aten.reshape.default if target in VIEWS else target, args, kwargs)

    def run_node(self, n: Node) -> Any:
        """Evaluate one node."""
        if "origin" not in n.meta:
            return super().run_node(n)
        with origin_scope(n.meta["origin"]):
            return super().run_node(n)


def _overwrites(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def clean(graph: GraphModule) -> None:
    """Drop dead nodes and identities in place, and note every tensor's shape and type.

    Views become reshapes: memory layout is not part of the function and differs between element types. Tables are
    read by their indices, and what was written to parts of a tensor in place is read where it came from.
    """
    for node in graph.graph.nodes:
        if node.target in IDENTITIES:
            node.replace_all_uses_with(node.args[0])
        elif node.target in VIEWS:
            node.target = aten.reshape.default
        elif node.target is aten.embedding.default:
            node.target, node.args, node.kwargs = aten.index.Tensor, (node.args[0], [node.args[1]]), {}
        elif node.target is aten.slice.Tensor:
            read_through(node)
        elif node.target is aten.add.Tensor:
            as_mean(node)
        elif node.target is aten.mul.Tensor:
            without_sign(node)
    graph.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    for node in graph.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            node.meta["shape"] = tuple(value.shape)
            node.meta["datatype"] = dtypes.from_torch(value.dtype)
