"""Which tensors of a captured graph are bounded: a file's outputs, any other of its values, or what lies before jumps.

Detectors and classifiers often end in a step: the index of the largest score, a threshold, a choice of boxes. No finite
constant exists there, and one does for the tensor that the step reads. `auto` leaves such heads out and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import fx

from ...contract.result import OutputView
from ..artifact.captured import Captured, Origin, TensorSpec
from ..artifact.graphs import dependent_nodes, results
from ..errors import Discontinuous, InvalidRequest, LipschitzError
from .build import values_of
from .values import Linear

AUTO = "auto"
LISTED = 20
"""Names that a refusal tells."""


@dataclass(frozen=True)
class Selection:
    """The positions of the graph's outputs that are bounded; `record` is the result's `output` where some were not."""

    captured: Captured
    positions: list[int]
    record: OutputView | None = None


def select(captured: Captured, output: str | None) -> Selection:
    """What a request's `output` asks for: all outputs for None, one by its name, another value, or `auto`.

    Changes the graph in place: other values become outputs behind those that it has. InvalidRequest for other names.
    """
    names = [spec.name for spec in captured.outputs]
    if output is None and captured.left_out:
        listed = ", ".join(map(repr, names[:LISTED]))
        raise Discontinuous(f'{captured.left_out}. What comes before it is {listed}: output "auto" analyses that')
    if output is None:
        return Selection(captured, list(range(len(names))))
    if output in names:
        return Selection(captured, [names.index(output)])
    if output == AUTO:
        return _continuous(captured)
    return _of_nodes(captured, [_named(captured, output)])


def choices(captured: Captured) -> list[str]:
    """The names of what `auto` would take, where that is not all of the file's outputs."""
    try:
        chosen, _ = _chosen(captured)
    except LipschitzError:
        return []
    return [_name(captured, node) for node in chosen or ()]


def with_choices(refusal: Discontinuous, captured: Captured) -> Discontinuous:
    """The refusal of a head, with the tensor before it."""
    names = choices(captured)
    if not names:
        return refusal
    listed = ", ".join(map(repr, names[:LISTED]))
    return Discontinuous(f'{refusal.detail}. What comes before it is {listed}: output "auto" analyses that')


def _continuous(captured: Captured) -> Selection:
    chosen, why = _chosen(captured)
    if chosen is None:
        return Selection(captured, list(range(len(captured.outputs))))
    names = [_name(captured, node) for node in chosen]
    return replace(_of_nodes(captured, chosen), record=OutputView(name=names[0], names=names, reason=why))


def _chosen(captured: Captured) -> tuple[list[fx.Node] | None, str]:
    """The outputs that do not jump; where all do, the values that the jumps read. None where all are continuous.

    Raises the refusal of an output that has another reason, or nothing before it.
    """
    values, ends = values_of(captured), results(captured.graph)
    broken = [node for node in ends if isinstance(values[node], LipschitzError)]
    others = [values[node] for node in broken if not isinstance(values[node], Discontinuous)]
    if others:
        raise others[0]
    if not broken:
        return (ends, f"other outputs were left out: {captured.left_out}") if captured.left_out else (None, "")
    detail = values[broken[0]].detail
    if sound := [node for node in ends if isinstance(values[node], Linear)]:
        return sound, f"other outputs were left out: {detail}"
    before = list(dict.fromkeys(_before(broken, values)))
    if not before:
        raise values[broken[0]]
    return before, f"what comes before it was taken: {detail}"


def _before(broken: Sequence[fx.Node], values: dict[fx.Node, Any]) -> Iterator[fx.Node]:
    """The last values on the way to the broken ones that have a constant, nearest to the end first."""
    seen, waiting = set(broken), list(broken)
    while waiting:
        for source in waiting.pop(0).all_input_nodes:
            if isinstance(values[source], Linear):
                yield source
            elif isinstance(values[source], LipschitzError | tuple | list) and source not in seen:
                seen.add(source)
                waiting.append(source)


def _named(captured: Captured, name: str) -> fx.Node:
    """The node of a value that is no output: by its own name, or the last of its place in the file."""
    dependent = dependent_nodes(captured.graph)
    tensors = [node for node in captured.graph.graph.nodes if node in dependent and node.meta.get("shape") is not None]
    of_name = [node for node in tensors if node.name == name] or [n for n in tensors if _origin(n).name == name]
    if of_name:
        node: fx.Node = of_name[-1]
        return node
    names = ", ".join(spec.name for spec in captured.outputs)
    raise InvalidRequest(f"the model has no output {name!r}: its outputs are {names}, and its graph lists other values")


def _of_nodes(captured: Captured, nodes: Sequence[fx.Node]) -> Selection:
    ends = results(captured.graph)
    new = [node for node in nodes if node not in ends]
    specs = tuple(
        TensorSpec(_name(captured, node), str(node.meta.get("datatype")), tuple(node.meta["shape"])) for node in new
    )
    all_ends = [*ends, *new]
    if new:
        captured.graph.graph.output_node().args = (tuple(all_ends),)
        captured.graph.recompile()
        captured = replace(captured, outputs=(*captured.outputs, *specs))
    return Selection(captured, [all_ends.index(node) for node in nodes])


def _name(captured: Captured, node: fx.Node) -> str:
    ends = dict(zip(results(captured.graph), captured.outputs, strict=True))
    return ends[node].name if node in ends else _origin(node).name


def _origin(node: fx.Node) -> Origin:
    return node.meta.get("origin") or Origin(node.name, node.name)
