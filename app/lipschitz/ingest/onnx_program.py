"""An ONNX file as a program: the graph on torch tensors, and onnxruntime on the uploaded bytes beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import onnx.inliner
import onnx.version_converter
import torch
from onnx import ModelProto
from torch import Tensor

from .. import bundle
from ..artifact import dtypes
from ..artifact.captured import Batch, InputShapes
from ..errors import LipschitzError, UnsupportedOperator
from . import inputs, onnx_declared, onnx_file, rows
from .messages import first_line
from .onnx_graph import OnnxGraph
from .program import Function, Program
from .runtime import FATAL, NotSupported, onnxruntime
from .selections import before_selection
from .trace import origin_scope

MAX_REWRITTEN = 1 << 30
"""Bytes of a model that is written again for another batch."""

UPGRADE = 13
"""The operator set that files are lifted to when onnxruntime has no kernels for theirs."""


def load(data: bytes, shapes: InputShapes | None) -> Program:
    """Parse, fix the inputs' shapes and prepare both implementations."""
    model, batch, left_out = onnx_file.parse(data), None, ""
    inspection = onnx_declared.inspect(model)
    inputs.require_floating(inspection.inputs)
    if model.ByteSize() <= MAX_REWRITTEN and (cut := before_selection(model)) is not None:
        model, left_out = cut
        data = model.SerializeToString()
    if (loaded := _of_another_batch(model, shapes)) is not None:
        model, batch = loaded
        data = model.SerializeToString()
    declared = onnx_declared.declared_inputs(model.graph)
    symbols = [onnx_declared.symbols(value) for value in declared]
    concrete = inputs.concrete([onnx_declared.spec(value) for value in declared], symbols, shapes)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = OnnxGraph(model, origin_scope)
    return Program(
        inspection,
        concrete,
        tuple(output.name for output in model.graph.output),
        graph,
        _onnxruntime(data, [spec.name for spec in concrete]),
        graph.constant_names,
        differentiable=False,
        warnings=inputs.assumed(concrete, symbols, shapes),
        batch=batch,
        left_out=left_out,
    )


def _of_another_batch(model: ModelProto, shapes: InputShapes | None) -> tuple[ModelProto, Batch] | None:
    """The model for one row of the batch that it fixes, or for as many as are asked for, where that is to be had.

    None where the file is to be taken as it is; a model that may mix rows is given another batch only if asked.
    """
    of = rows.fixed_batch(model)
    count = 1 if shapes is None else rows.asked_for(model, shapes)
    if of is None or count in (None, of) or model.ByteSize() > MAX_REWRITTEN:
        return None
    reshapes = rows.reshapes_by_row(model, of)
    if reshapes is None and shapes is None:
        return None
    other = rows.with_batch(model, count, reshapes or {})
    if shapes is None and not _gives_rows(other):
        return None
    return other, Batch(count, of, rows.MIXED if reshapes is None else rows.BY_ROW)


def _gives_rows(model: ModelProto) -> bool:
    """Whether a model for one row runs, and its results have one."""
    specs = [onnx_declared.spec(value) for value in onnx_declared.declared_inputs(model.graph)]
    if any(size < 1 for spec in specs for size in spec.shape):
        return False
    zeros = [torch.zeros(spec.shape, dtype=dtypes.to_torch(spec.datatype)) for spec in specs]
    try:
        return all(y.shape[:1] == (1,) for y in OnnxGraph(model, lambda _: nullcontext())(*zeros))
    except (LipschitzError, RuntimeError):
        return False


def _onnxruntime(data: bytes, names: Sequence[str]) -> Function:
    """The original, unoptimised (what it optimises it may also change) and started when first called."""
    session: onnxruntime.InferenceSession | None = None

    def run(*tensors: Tensor) -> list[Tensor]:
        nonlocal session
        if session is None:
            session = _session(data)
        feed = {name: x.numpy() for name, x in zip(names, tensors, strict=True)}
        return [torch.from_numpy(y) for y in session.run(None, feed)]

    return run


def _session(data: bytes) -> onnxruntime.InferenceSession:
    try:
        return _start(data)
    except NotSupported:
        return _upgraded(data)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _not_runnable(error) from error


def _upgraded(data: bytes) -> onnxruntime.InferenceSession:
    """onnxruntime dropped the kernels of operator sets below 7; onnx's own converter lifts such files."""
    try:
        model = onnx.version_converter.convert_version(onnx_file.parse(data), UPGRADE)
        model.graph.ClearField("value_info")  # the converter leaves its own values without a type there
        return _start(model.SerializeToString())
    except Exception as error:  # the converter raises C++ exceptions of any kind
        raise _not_runnable(error) from error


def _start(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    options.enable_cpu_mem_arena = False
    beside = onnx_file.external_buffers(data)
    files = list(beside.values())
    options.add_external_initializers_from_files_in_memory(list(beside), files, [len(file) for file in files])
    model = bundle.split(data).model
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _not_runnable(error: Exception) -> UnsupportedOperator:
    return UnsupportedOperator(f"onnxruntime cannot run the original to check against: {first_line(error)}")
