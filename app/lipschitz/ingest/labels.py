"""Names every node of the graph after its place in the source file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch.fx import GraphModule, Node

from ..artifact.captured import Origin
from ..artifact.graphs import dependent_nodes, short_name


def label(graph: GraphModule, inputs: Sequence[str], constant_names: Mapping[int, str]) -> None:
    """Fill in `meta["origin"]` where tracing left none.

    Inputs and stored tensors go by their names. An operator belongs to the module whose parameter it reads
    ('fc1' for 'fc1.weight'); others go by their node's name.
    """
    dependent = dependent_nodes(graph)
    owners: dict[Node, str] = {}
    names = iter(inputs)
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            node.meta["origin"] = Origin(next(names), "Input")
        elif node.op == "get_attr":
            _label_constant(graph, node, constant_names, owners)
        else:
            owner = next((owners[source] for source in node.all_input_nodes if source in owners), None)
            if owner is not None and node not in dependent:
                owners[node] = owner
            node.meta.setdefault("origin", Origin(owner or node.name, short_name(node)))


def _label_constant(graph: GraphModule, node: Node, constant_names: Mapping[int, str], owners: dict[Node, str]) -> None:
    assert isinstance(node.target, str)
    name = constant_names.get(id(getattr(graph, node.target)))
    if name is None:
        node.meta.setdefault("origin", Origin(node.name, "Constant"))
        return
    node.meta["origin"] = Origin(name, "Parameter")
    owners[node] = name.rpartition(".")[0] or name
