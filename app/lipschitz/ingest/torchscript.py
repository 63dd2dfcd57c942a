"""TorchScript archives: `torch.jit.load` from memory. The caller must have confined the process.

A script carries no input shapes, so the caller gives them; where the first layer's weight fixes its input,
the refusal proposes a shape. Hidden state and hidden reading are kept out by what a script may consist of
(`script_graph`), and looked for by calling in different orders (`probes`).
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..artifact import dtypes
from ..artifact.captured import InputShapes, Inspection, TensorSpec
from ..errors import Discontinuous, InvalidModel, UnsupportedOperator
from . import inputs, script_graph, state, torch_module
from .messages import first_line
from .program import Program
from .proposal import found_shapes

TUPLE = re.compile(r"Tuple\[Tensor(, Tensor)*\]")
SCALARS = {"int": "INT64", "bool": "BOOL", "str": "BYTES"}


def _load(data: bytes) -> torch.jit.ScriptModule:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch advertises torch.export on every load
            module = torch.jit.load(io.BytesIO(data), map_location="cpu")
        assert isinstance(module, torch.jit.ScriptModule)
        module.inlined_graph  # noqa: B018  (raises where there is no forward)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError, EOFError, OSError) as error:
        raise _unloadable(str(error)) or InvalidModel(
            f"The TorchScript archive cannot be loaded: {first_line(error)}"
        ) from error
    module.eval()
    script_graph.without_prints(module)
    return module


def _unloadable(words: str) -> UnsupportedOperator | None:
    """What to do about an archive that needs code which torch alone does not have; None for other faults."""
    if "torch.classes.xnnpack" in words:
        return UnsupportedOperator(
            "The TorchScript archive was optimised for mobile devices, its weights packed for XNNPACK: send the module "
            "as it was before `optimize_for_mobile`."
        )
    foreign = re.search(r"Unknown (?:builtin op: |type name '__torch__\.torch\.classes\.)([\w:.]+\w)", words)
    return foreign and UnsupportedOperator(
        f"The TorchScript archive calls {foreign[1]}, which is no operator of torch itself: export the module without "
        "it."
    )


def inspect(data: bytes) -> Inspection:
    """Operators of the inlined forward graph; shapes and outputs are unknown until it is run."""
    return _describe(_load(data))


def load(data: bytes, shapes: InputShapes | None) -> Program:
    """Load, refuse hidden state and foreign operators, and run once on inputs of the caller's shapes."""
    module = _load(data)
    inspection = _describe(module)
    if quantised := [kind for kind in inspection.unsupported if kind.startswith("quantized::")]:
        raise Discontinuous(
            f"TorchScript operator {quantised[0]} rounds to a grid, a step function without a finite constant: send "
            "the float model that was quantised."
        )
    if inspection.unsupported:
        raise UnsupportedOperator(f"TorchScript operator {inspection.unsupported[0]} is not supported.")
    script_graph.check(module)
    inputs.require_floating(inspection.inputs)
    remarks: tuple[str, ...] = ()
    callee, held = _nested(module), state.asked_for(module, shapes)
    if isinstance(shapes, dict):
        shapes = {name: shape for name, shape in shapes.items() if name not in held}
    if shapes is None:
        shapes, remark = found_shapes(module, callee, inspection.inputs)
        remarks = (remark,)
    concrete = inputs.concrete(inspection.inputs, [None] * len(inspection.inputs), shapes)
    state.require_asked(module, callee, concrete, held)
    if held:
        concrete, callee = (*concrete, *state.specs(module, held)), state.one_step(module, callee, held)
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    program = torch_module.program(parameters, buffers, callee, inspection, concrete)
    given = program.output_names[: len(program.output_names) - len(held)] if held else program.output_names
    names = (*(given if len(given) > 1 or not held else ("output",)), *(f"next_{name}" for name in held))
    return replace(program, warnings=(*program.warnings, *remarks), output_names=names)


def _describe(module: torch.jit.ScriptModule) -> Inspection:
    graph = module.inlined_graph
    kinds = (node.kind() for node in script_graph.nodes(graph))
    histogram = Counter(kind.removeprefix("aten::") for kind in kinds if not kind.startswith("prim::"))
    return Inspection(
        "torchscript",
        tuple(_arguments(module)),
        (),
        torch_module.parameters(module),
        dict(histogram),
        tuple(sorted(kind for kind in histogram if "::" in kind)),
    )


def _arguments(module: torch.jit.ScriptModule) -> Iterator[TensorSpec]:
    """Forward's arguments without default, tuples of tensors as their parts; what is no tensor by its scalar type."""
    datatype = dtypes.from_torch(torch_module.floating_type(module))
    for name, kind in _declared(module):
        for position in range(_tensors(kind)):
            yield TensorSpec(f"{name}.{position}", datatype, ())
        if not _tensors(kind):
            yield TensorSpec(name, datatype if kind == "Tensor" else SCALARS.get(kind, "UNKNOWN"), ())


def _declared(module: torch.jit.ScriptModule) -> list[tuple[str, str]]:
    """Names and types of forward's arguments without default."""
    schema: torch._C.FunctionSchema = module.forward.schema  # type: ignore[attr-defined]
    return [(given.name, str(given.type)) for given in schema.arguments[1:] if not given.has_default_value()]


def _tensors(kind: str) -> int:
    """The number of tensors in a tuple of nothing else, as that of a recurrent layer's states; 0 for other types."""
    return kind.count("Tensor") if TUPLE.fullmatch(kind) else 0


def _nested(module: torch.jit.ScriptModule) -> Callable[..., Any]:
    """The module as a function of tensors alone."""
    counts = [_tensors(kind) for _, kind in _declared(module)]

    def call(*tensors: Tensor) -> Any:
        left = iter(tensors)
        return module(*(tuple(next(left) for _ in range(count)) if count else next(left) for count in counts))

    return call if any(counts) else module
