"""An ONNX file as a program: the graph on torch tensors, and onnxruntime on the uploaded bytes beside it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx.inliner
import onnx.version_converter
import torch
from torch import Tensor

from app.lipschitz import bundle
from app.lipschitz.artifact.captured import InputShapes
from app.lipschitz.errors import UnsupportedOperator
from app.lipschitz.ingest import inputs, onnx_declared, onnx_file
from app.lipschitz.ingest.messages import first_line
from app.lipschitz.ingest.onnx_graph import OnnxGraph
from app.lipschitz.ingest.program import Function, Program
from app.lipschitz.ingest.runtime import FATAL, NotSupported, onnxruntime
from app.lipschitz.ingest.trace import origin_scope

UPGRADE = 13
"""The operator set that files are lifted to when onnxruntime has no kernels for theirs."""


def load(data: bytes, shapes: InputShapes | None) -> Program:
    """Parse, fix the inputs' shapes and prepare both implementations."""
    model = onnx_file.parse(data)
    inspection = onnx_declared.inspect(model)
    inputs.require_floating(inspection.inputs)
    declared = onnx_declared.declared_inputs(model.graph)
    symbols = [onnx_declared.symbols(value) for value in declared]
    concrete = inputs.concrete(inspection.inputs, symbols, shapes)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graph = OnnxGraph(model, origin_scope)
    return Program(
        inspection,
        concrete,
        tuple(spec.name for spec in inspection.outputs),
        graph,
        _onnxruntime(data, [spec.name for spec in concrete]),
        graph.constant_names,
        differentiable=False,
        warnings=inputs.assumed(concrete, symbols, shapes),
    )


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
