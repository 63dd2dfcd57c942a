"""ONNX files that point elsewhere, claim too much, loop for ever or nest too deep: refused at once, by name."""

from __future__ import annotations

import gzip
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from app.jobs.child_factory import WarmChild
from tests.effort import sampled
from tests.lipschitz.ingest.onnx_models import i64, node, onnx_bytes
from tests.worker.children import ask

TINY = onnx_bytes(
    [node("Gemm", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])], {"x": [1, 2]}, ["y"], {"w": np.eye(2, dtype="f4")}
)
SECONDS = 5.0


def refused(warm: WarmChild, data: bytes, **request: Any) -> str:
    """Why, after both an inspection and an analysis; the child then serves an honest model."""
    start = time.monotonic()
    ask(warm, "inspect", data)
    answer = ask(warm, "analyze", data, **request)
    assert answer["type"] == "error", answer
    assert time.monotonic() - start < SECONDS
    assert "result" in ask(warm, "analyze", TINY)
    return f"{answer['slug']}: {answer['detail']}"


def external(location: str) -> bytes:
    model = onnx.load_model_from_string(TINY)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    return model.SerializeToString()


def symlink(target: Path, link: Path) -> None:
    link.symlink_to(target)


def hard_link(target: Path, link: Path) -> None:
    os.link(target, link)


@pytest.mark.parametrize(
    "place", sampled(["/etc/passwd", "../../../../etc/passwd", "etc/passwd", "/proc/self/environ"], every=2)
)
def test_external_data_by_path(warm: WarmChild, place: str) -> None:
    assert refused(warm, external(place)).split(":")[0] in ("invalid-model", "missing-data")


@pytest.mark.parametrize("make", [symlink, hard_link])
def test_external_data_by_link(warm: WarmChild, tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    target = tmp_path / "weights"
    target.write_bytes(bytes(16))
    make(target, tmp_path / "link")
    for location in (str(tmp_path / "link"), "link"):
        assert refused(warm, external(location)).split(":")[0] in ("invalid-model", "missing-data")


@pytest.mark.parametrize("size", [-1, -(2**40), 2**40, 2**62])
def test_dimensions_of_weights(warm: WarmChild, size: int) -> None:
    model = onnx.load_model_from_string(TINY)
    model.graph.initializer[0].dims[:] = [size, 2]
    assert "invalid-model" in refused(warm, model.SerializeToString())


@pytest.mark.parametrize("size", [-7, 2**40, 2**62])
def test_dimensions_of_inputs(warm: WarmChild, size: int) -> None:
    data = onnx_bytes([node("Relu", ["x"], ["y"])], {"x": [1, size]}, ["y"])
    assert refused(warm, data).split(":")[0] in ("invalid-model", "invalid-inputs", "out-of-memory")


@pytest.mark.parametrize("size", [2**40, 2**62])
def test_dimensions_of_intermediates(warm: WarmChild, size: int) -> None:
    nodes = [
        node("ConstantOfShape", ["n"], ["c"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])),
        node("ReduceSum", ["c"], ["s"], keepdims=0),
        node("Add", ["x", "s"], ["y"]),
    ]
    refused(warm, onnx_bytes(nodes, {"x": [1, 2]}, ["y"], {"n": i64(size)}))


def looped(trips: int) -> bytes:
    tensor = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Relu", ["v"], ["w"])],
        "body",
        [
            tensor("i", TensorProto.INT64, []),
            tensor("go", TensorProto.BOOL, []),
            tensor("v", TensorProto.FLOAT, [1, 2]),
        ],
        [tensor("on", TensorProto.BOOL, []), tensor("w", TensorProto.FLOAT, [1, 2])],
    )
    loop = node("Loop", ["trips", "go0", "x"], ["y"], body=body)
    return onnx_bytes([loop], {"x": [1, 2]}, ["y"], {"trips": np.array(trips), "go0": np.array(True)})


def test_a_loop_that_would_outlast_us_all(warm: WarmChild) -> None:
    assert refused(warm, looped(2**62)).split(":")[0] in ("data-dependent-control-flow", "unsupported-operator")


def nested(depth: int) -> bytes:
    """`depth` branches, each inside the last one; written outside in, for protobuf's own recursion is limited."""
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    inner = helper.make_graph([node("Identity", ["x"], ["y"])], "g", [], [value]).SerializeToString()
    for _ in range(depth):
        inner = _field(1, _field(1, b"c") + _field(2, b"y") + _field(4, b"If") + _branches(inner)) + _field(2, b"g")
        inner += _field(12, value.SerializeToString())
    graph = GraphProto.FromString(b"")
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2]))
    graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    model = onnx.load_model_from_string(TINY)
    model.ClearField("graph")
    return model.SerializeToString() + _field(7, inner + graph.SerializeToString())


def _branches(graph: bytes) -> bytes:
    """Only one of the two branches nests: 2,000 deep, not 2 to the power of 2,000."""
    last = helper.make_graph([node("Identity", ["x"], ["y"])], "e", [], []).SerializeToString()
    attribute = {b"then_branch": graph, b"else_branch": last}
    return b"".join(
        _field(5, _field(1, name) + _field(6, content) + b"\xa0\x01\x05") for name, content in attribute.items()
    )


def _field(number: int, content: bytes) -> bytes:
    length, digits = len(content), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2]) + bytes(digits) + bytes([length]) + content


@pytest.mark.parametrize("depth", [30, 2000])
def test_branches_within_branches(warm: WarmChild, depth: int) -> None:
    assert "invalid-model" in refused(warm, nested(depth))


def test_noise_and_bombs(warm: WarmChild) -> None:
    source = random.Random(0)
    noise = [source.randbytes(size) for size in (1, 100, 100_000)]
    bombs = [gzip.compress(bytes(50_000_000)), b"\x1f\x8b" + TINY, TINY + TINY[:40]]
    for data in (*noise, *bombs, b"\x3a" + b"\xff" * 9):
        answer = ask(warm, "inspect", data)
        assert answer["type"] == "error", data[:20]
    assert "result" in ask(warm, "analyze", TINY)
