"""ONNX files that end in a choice of boxes: the graph up to it, as what the choice finds has no size of its own."""

from __future__ import annotations

from onnx import ModelProto, NodeProto, ValueInfoProto

from .onnx_declared import declared_inputs

CHOICES = frozenset({"NonMaxSuppression"})
"""Operators that end detectors, whose result's size depends on the values of what they read."""


def before_selection(model: ModelProto) -> tuple[ModelProto, str] | None:
    """The model with what its choices read as outputs, and which outputs that leaves out; None without such an end."""
    chosen, lost, before = list[NodeProto](), set[str](), list[str]()
    dependent = {value.name for value in declared_inputs(model.graph)}
    for node in model.graph.node:
        if not dependent.isdisjoint(node.input):
            dependent.update(node.output)
            if node.op_type in CHOICES and lost.isdisjoint(node.input):
                chosen.append(node)
                before += [name for name in node.input[:2] if name in dependent]
            if node.op_type in CHOICES or not lost.isdisjoint(node.input):
                lost.update(node.output)
    names = [output.name for output in model.graph.output if output.name in lost]
    if not names:
        return None
    listed = ", ".join(map(repr, names))
    reason = f"{chosen[0].op_type} at '{chosen[0].name}' chooses by values, so the outputs {listed} are not functions"
    return _ending_with(model, lost, list(dict.fromkeys(before))), f"{reason} of one size"


def _ending_with(model: ModelProto, lost: set[str], before: list[str]) -> ModelProto:
    other = ModelProto()
    other.CopyFrom(model)
    kept = [node for node in model.graph.node if lost.isdisjoint(node.output)]
    outputs = [output for output in model.graph.output if output.name not in lost]
    del other.graph.node[:], other.graph.output[:]
    other.graph.node.extend(kept)
    other.graph.output.extend(outputs)
    there = {output.name for output in outputs}
    other.graph.output.extend(ValueInfoProto(name=name) for name in before if name not in there)
    return other
