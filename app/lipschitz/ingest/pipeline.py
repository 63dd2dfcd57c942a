"""The two questions asked of a file: what does it say, and which function is it?"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..artifact import dtypes
from ..artifact.agreement import Run, check
from ..artifact.captured import Captured, InputShapes, Inspection, TensorSpec
from ..artifact.writing import to_bytes
from ..errors import InvalidInputs, InvalidModel, UnsupportedOperator
from ..failures import failure
from ..formats import detect
from . import exported, inputs, onnx_declared, onnx_file, onnx_program, torchscript
from .agreement import run_both
from .dependence import refuse_dependence
from .labels import label
from .probes import probe
from .promote import promote
from .trace import clean, pure, trace

SAMPLES = 3
"""Random inputs on which capture and original are compared."""

SEED = 0
"""Of those inputs: the artifact depends on the model, the shapes and this version alone."""

CARRIED = 1
"""Samples that go with the artifact, to be run again by its reader."""

_INSPECT = {
    "onnx": lambda data: onnx_declared.inspect(onnx_file.parse(data)),
    "torchscript": torchscript.inspect,
    "torch_export": exported.inspect,
}

_LOAD = {"onnx": onnx_program.load, "torchscript": torchscript.load, "torch_export": exported.load}


def inspect(data: bytes) -> Inspection:
    """What the file declares, without running it. Raises InvalidModel for what is no model."""
    with _text_errors():
        return _INSPECT[detect(io.BytesIO(data))](data)


def capture(data: bytes, shapes: InputShapes | None = None) -> Captured:
    """The model as one float64 graph of ATen operators, compared with the original on random inputs.

    `shapes` gives what the file leaves open; a leading open dimension is taken as a batch of one. Raises the
    refusals of `app.lipschitz.errors`: nothing is captured unless it is the same function.
    """
    return _captured(data, shapes)[0]


def capture_artifact(data: bytes, shapes: InputShapes | None = None) -> bytes:
    """The same as an artifact: all that later questions about the model need."""
    captured, runs = _captured(data, shapes)
    return to_bytes(captured, runs[:CARRIED])


def _captured(data: bytes, shapes: InputShapes | None) -> tuple[Captured, list[Run]]:
    with _named():
        return _traced(data, shapes)


def _traced(data: bytes, shapes: InputShapes | None) -> tuple[Captured, list[Run]]:
    """The model's graph, and its runs beside the original."""
    with _text_errors():
        program = _LOAD[detect(io.BytesIO(data))](data, shapes)
    _require_entries(program.inputs, "Input")
    samples = list(inputs.samples(program.inputs, SEED, SAMPLES))
    traced = trace(program, [x.clone() for x in samples[0]])
    graph = refuse_dependence(traced)
    traced = pure(traced, samples[0])
    clean(traced)
    label(traced, [spec.name for spec in program.inputs], program.constant_names)
    if program.differentiable:
        probe(traced, program.reference, program.inputs, program.inspection.parameters)
    runs, names = run_both(traced, program.reference, samples), program.output_names
    concrete, inspection, warnings = program.inputs, program.inspection, (*program.warnings, *dict.fromkeys(graph))
    batch, left_out = program.batch, program.left_out
    del program  # the original's weights must not lie beside their float64 copies
    captured = promote(traced)
    check(captured, runs, names)
    outputs = tuple(
        TensorSpec(name, dtypes.from_torch(y.dtype), tuple(y.shape))
        for name, y in zip(names, runs[0].original, strict=True)
    )
    _require_entries(outputs, "Output")
    return Captured(captured, concrete, outputs, inspection, warnings, batch, left_out), runs


def _require_entries(specs: Sequence[TensorSpec], what: str) -> None:
    empty = [spec.name for spec in specs if 0 in spec.shape]
    if empty:
        raise InvalidInputs(f"{what} '{empty[0]}' has no entries, so there is no constant to bound: give other shapes.")


@contextmanager
def _named() -> Iterator[None]:
    """What torch, onnxruntime or our own code meets unexpectedly in a model is a refusal of that model."""
    try:
        yield
    except Exception as error:
        raise UnsupportedOperator(f"The model cannot be captured: {failure(error)}") from error


@contextmanager
def _text_errors() -> Iterator[None]:
    """Protobuf decodes text on access, so damaged names surface anywhere."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InvalidModel(f"The file holds text that is not UTF-8: {error}.") from error
