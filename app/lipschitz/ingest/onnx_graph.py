"""Runs an ONNX graph on torch tensors, node by node: under tracing this is the capture.

Values that do not depend on the model's inputs are told apart, because only they may steer the computation:
shapes, axes, the condition of an `If`, the steps of a `Loop`. Shapes count as known, since the inputs' shapes are
fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto
from torch import Tensor

from ..artifact.captured import Origin
from ..errors import (
    DataDependentControlFlow,
    Discontinuous,
    InvalidModel,
    LipschitzError,
    UnsupportedOperator,
)
from .messages import first_line
from .onnx_declared import declared_inputs, opset
from .onnx_ops import implementation, supports
from .onnx_ops.quantization import grid_refusal, require_known_types
from .onnx_ops.table import OnnxCall, Value, const
from .onnx_tensors import to_torch

EXACT = frozenset({
    "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Split", "Slice",
    "Gather", "GatherElements", "GatherND", "Expand", "Tile", "ConstantOfShape", "Constant", "Cast",
    "CastLike", "Dropout", "DepthToSpace", "SpaceToDepth", "Neg", "Where",
})  # fmt: skip
"""Operators that do not round: stored constants stay exact through them."""

SHAPE_READERS = frozenset({"Shape", "Size"})

SHAPED_BY_VALUES = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress"})
"""Operators whose result's size depends on the values of their input."""

QUANTIZERS = frozenset({"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})
"""Of what depends on the input; stored integers are read by DequantizeLinear."""

MOST_STEPS = 4096
"""Of a loop, each of which becomes operators of its own."""

SCAN_WITHOUT_BATCH = 9
"""The operator set from which Scan has no axis for a batch of sequences."""

Scope = Callable[[Origin], AbstractContextManager[None]]
"""Marks everything that is traced inside with an origin."""


class OnnxGraph:
    """The function that an ONNX file describes, callable on tensors. It keeps no reference to `model`, whose
    memory holds the weights once more."""

    def __init__(self, model: ModelProto, scope: Scope) -> None:
        self._graph = GraphProto(node=model.graph.node, output=model.graph.output)
        self._opset = opset(model)
        self._scope = scope
        self._flow = {"If": self._branch, "Loop": self._repeat, "Scan": self._scan}
        _name_nodes(self._graph)
        require_known_types(model.graph)
        for node in _all_nodes(self._graph):
            _require_support(node, self._opset)
        self._inputs = [value.name for value in declared_inputs(model.graph)]
        self._constants = _initializers(model.graph)

    @property
    def constant_names(self) -> dict[int, str]:
        """Names of the stored tensors by `id`."""
        return {id(value.tensor): name for name, value in self._constants.items()}

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """The graph's outputs, in order."""
        given = {name: Value(x, False, False) for name, x in zip(self._inputs, inputs, strict=True)}
        return [value.tensor for value in self._run(self._graph, {**self._constants, **given})]

    def _run(self, graph: GraphProto, values: dict[str, Value]) -> list[Value]:
        for node in graph.node:
            with self._scope(Origin(node.name, node.op_type)):
                results = self._evaluate(node, values)
            values.update((name, value) for name, value in zip(node.output, results, strict=False) if name)
        return [_value(values, output.name, "the graph's outputs") for output in graph.output]

    def _evaluate(self, node: NodeProto, values: Mapping[str, Value]) -> Sequence[Value]:
        inputs = [_value(values, name, f"node '{node.name}'") if name else None for name in node.input]
        call = OnnxCall.of(node, self._opset, inputs)
        if node.op_type in self._flow:
            return self._flow[node.op_type](call, values)
        if node.op_type in SHAPED_BY_VALUES and not _all_known(inputs):
            raise DataDependentControlFlow(f"The result of {call.place} has a size that depends on the input.")
        return _as_values(call, _guarded(call))

    def _branch(self, call: OnnxCall, values: Mapping[str, Value]) -> Sequence[Value]:
        """A constant condition folds; any other makes the model more than one graph."""
        chosen = "then_branch" if call.number(0) else "else_branch"
        return self._run(call.attr(chosen), {**values, **_initializers(call.attr(chosen))})

    def _repeat(self, call: OnnxCall, values: Mapping[str, Value]) -> Sequence[Value]:
        """As many steps as the constant count and conditions tell, one after the other."""
        most = call.number(0) if call.has(0) else None
        goes_on = call.inputs[1] if call.has(1) else None
        condition = goes_on or Value(const(True, torch.bool), known=True, exact=True)
        carried, collected = _present(call.inputs[2:]), list[list[Value]]()
        if most is not None and _hands_its_condition_on(call.attr("body")):
            _require_few(call, most - 1 if call.entries(condition, "The condition")[0] else 0)
        while call.entries(condition, "The condition")[0] and (most is None or len(collected) < most):
            _require_few(call, len(collected))
            step = Value(const(len(collected)), known=True, exact=True)
            condition, *results = self._call(call.attr("body"), [step, condition, *carried], values)
            carried, gathered = results[: len(carried)], results[len(carried) :]
            collected.append(gathered)
        if not collected and len(call.node.output) > len(carried):
            raise call.refuse("a loop without steps has nothing to collect")
        return [*carried, *(_stacked(column, 0) for column in zip(*collected, strict=True))]

    def _scan(self, call: OnnxCall, values: Mapping[str, Value]) -> Sequence[Value]:
        """One step for each slice of the scanned inputs."""
        if call.opset < SCAN_WITHOUT_BATCH:
            raise call.refuse("Scan of operator set 8")
        count = call.attr("num_scan_inputs")
        carried, scanned = _present(call.inputs[:-count]), _present(call.inputs[-count:])
        slices = list(zip(*_slices(call, scanned), strict=True))
        _require_few(call, len(slices) - 1)
        collected = list[list[Value]]()
        for now in slices:
            results = self._call(call.attr("body"), [*carried, *now], values)
            carried, gathered = results[: len(carried)], results[len(carried) :]
            collected.append(gathered)
        columns = list(zip(*collected, strict=True))
        axes = call.attr("scan_output_axes", [0] * len(columns))
        backward = call.attr("scan_output_directions", [0] * len(columns))
        ordered = [column[::-1] if flag else column for column, flag in zip(columns, backward, strict=True)]
        return [*carried, *map(_stacked, ordered, axes)]

    def _call(self, body: GraphProto, given: Sequence[Value], values: Mapping[str, Value]) -> list[Value]:
        """A subgraph's outputs for its inputs; it sees the values around it."""
        named = dict(zip((value.name for value in body.input), given, strict=True))
        return self._run(body, {**values, **_initializers(body), **named})


def _hands_its_condition_on(body: GraphProto) -> bool:
    """Whether no step of a loop can be its last one: the condition after it is the one before."""
    name, sources = body.output[0].name, {node.output[0]: node for node in body.node if node.op_type == "Identity"}
    while name in sources:
        name = sources[name].input[0]
    return bool(name == body.input[1].name)


def _require_few(call: OnnxCall, steps: int) -> None:
    if steps >= MOST_STEPS:
        raise call.refuse(f"more than {MOST_STEPS} steps")


def _present(values: Sequence[Value | None]) -> list[Value]:
    return [value for value in values if value is not None]


def _stacked(column: Sequence[Value], axis: int) -> Value:
    return Value(torch.stack([value.tensor for value in column], axis), *_flags(column))


def _flags(values: Sequence[Value]) -> tuple[bool, bool]:
    return all(value.known for value in values), all(value.exact for value in values)


def _slices(call: OnnxCall, scanned: Sequence[Value]) -> list[list[Value]]:
    """Each scanned input's slices in the order of its direction."""
    axes = call.attr("scan_input_axes", [0] * len(scanned))
    backward = call.attr("scan_input_directions", [0] * len(scanned))
    cut = [
        [Value(part, value.known, value.exact) for part in value.tensor.unbind(axis)]
        for value, axis in zip(scanned, axes, strict=True)
    ]
    return [parts[::-1] if flag else parts for parts, flag in zip(cut, backward, strict=True)]


def _guarded(call: OnnxCall) -> Sequence[Tensor]:
    """Run the node; errors of torch become refusals that name it."""
    try:
        result = implementation(call.node)(call)
    except LipschitzError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError,
            ZeroDivisionError, NotImplementedError, ArithmeticError) as error:  # fmt: skip
        raise InvalidModel(f"ONNX operator {call.place} cannot be run: {first_line(error)}") from error
    return (result,) if isinstance(result, Tensor) else result


def _as_values(call: OnnxCall, results: Sequence[Tensor]) -> list[Value]:
    known = call.node.op_type in SHAPE_READERS or _all_known(call.inputs)
    stored = all(value is None or value.exact for value in call.inputs) and call.node.op_type in EXACT
    return [Value(x, known, known and (stored or not x.is_floating_point())) for x in results]


def _all_known(inputs: Sequence[Value | None]) -> bool:
    return all(value is None or value.known for value in inputs)


def _value(values: Mapping[str, Value], name: str, reader: str) -> Value:
    if name not in values:
        raise UnsupportedOperator(
            f"The value '{name}' read by {reader} is not available: it is undefined, or an optional output "
            "(statistics, indices) that is not captured."
        )
    return values[name]


def _initializers(graph: GraphProto) -> dict[str, Value]:
    return {tensor.name: Value(to_torch(tensor), known=True, exact=True) for tensor in graph.initializer}


def _require_support(node: NodeProto, version: int) -> None:
    domain = node.domain or "ai.onnx"
    if node.op_type in QUANTIZERS or node.op_type.startswith("QLinear"):
        raise grid_refusal(node)
    if node.op_type.startswith("TreeEnsemble"):
        raise Discontinuous(
            f"ONNX operator {node.op_type} at '{node.name}' is an ensemble of trees, which jumps at every split: "
            "it has no finite constant."
        )
    if not supports(node, version):
        raise UnsupportedOperator(
            f"ONNX operator {node.op_type} (domain '{domain}') at '{node.name}' is not supported."
        )


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


def _name_nodes(graph: GraphProto) -> None:
    """Give every node a name of its own: unnamed ones are called by their operator, repeats are counted."""
    seen: Counter[str] = Counter()
    for node in _all_nodes(graph):
        name = node.name or node.op_type
        node.name = f"{name}_{seen[name]}" if seen[name] else name
        seen[name] += 1
