"""Files beside an ONNX file are found without parsing it, and a model that onnx split is the model that it was."""

from __future__ import annotations

import hashlib
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from app.lipschitz.bundle import Member, trailer
from app.lipschitz.errors import InvalidModel
from app.lipschitz.external_data import external_files, files_beside
from app.lipschitz.ingest import onnx_file


def network(sizes: list[int]) -> onnx.ModelProto:
    """Layers of random weights; the small tensors stay in the file when it is split."""
    generator = np.random.default_rng(0)
    nodes, tensors = [], []
    for index, (columns, rows) in enumerate(pairwise(sizes)):
        weight = generator.standard_normal((columns, rows)).astype(np.float32)
        tensors += [numpy_helper.from_array(weight, f"w{index}"), numpy_helper.from_array(weight[0], f"b{index}")]
        nodes.append(helper.make_node("Gemm", [f"x{index}", f"w{index}", f"b{index}"], [f"x{index + 1}"]))
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [1, sizes[i]]) for i in (0, len(sizes) - 1)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("to_one_file", [True, False])
def test_a_split_model_is_whole_again(tmp_path: Path, to_one_file: bool) -> None:
    whole = network([300, 200, 5])
    onnx.save_model(
        whole,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=to_one_file,
        size_threshold=100,
    )
    split = (tmp_path / "model.onnx").read_bytes()
    assert len(external_files(split)) == (1 if to_one_file else 3)
    assert len(split) < 5000
    assert files_beside(tmp_path / "model.onnx") == external_files(split)
    again = onnx_file.parse(bundled(tmp_path / "model.onnx", *external_files(split)))
    onnx.checker.check_model(again, full_check=True)
    assert not any(tensor.data_location for tensor in again.graph.initializer)
    for one, other in zip(network([300, 200, 5]).graph.initializer, again.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
    assert again.graph.node == whole.graph.node


def test_a_model_in_one_piece_names_no_files() -> None:
    assert external_files(network([4, 3]).SerializeToString()) == []


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "a/../../b", "", "a\\b", "a\nb"])
def test_places_elsewhere_are_refused(location: str) -> None:
    with pytest.raises(InvalidModel):
        external_files(pointing(location=location))


@pytest.mark.parametrize(
    "place",
    [{"offset": "99"}, {"length": "99"}, {"offset": "-1"}, {"length": "x"}, {"offset": "٣"}, {"length": "9" * 5000}],
)
def test_places_beyond_the_file_are_refused(tmp_path: Path, place: dict[str, str]) -> None:
    (tmp_path / "weights").write_bytes(bytes(16))
    (tmp_path / "model.onnx").write_bytes(pointing(location="weights", **place))
    with pytest.raises(InvalidModel):
        onnx_file.parse(bundled(tmp_path / "model.onnx", "weights"))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for candidate in (data, b"\x3a" + bytes([len(data) & 0x7F]) + data):
        try:
            external_files(candidate)
        except InvalidModel:
            continue


def bundled(model: Path, *beside: str) -> bytes:
    """The model and those files as one, whatever the model itself names."""
    data = {name: (model.parent / name).read_bytes() for name in (model.name, *beside)}
    members = [Member(name, hashlib.sha256(file).hexdigest(), len(file)) for name, file in data.items()]
    return b"".join((*data.values(), trailer(model.name, members)))


def pointing(**place: str) -> bytes:
    model = network([2, 2])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    return model.SerializeToString()


def field(number: int, payload: bytes) -> bytes:
    length, digits = len(payload), bytearray([number << 3 | 2])
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(digits) + bytes([length]) + payload


EIGHT_MIB = 8 * 2**20
EXTERNALLY = b"\x70\x01"
HOSTILE = {
    "tiny fields": b"\x08\x00" * (EIGHT_MIB // 2),
    "tiny fields of a graph": field(7, b"\x08\x00" * (EIGHT_MIB // 2)),
    "tiny fields of a tensor": field(7, field(5, b"\x08\x00" * (EIGHT_MIB // 2))),
    "many graphs": field(7, b"") * (EIGHT_MIB // 2),
    "many tensors": field(7, field(5, EXTERNALLY + field(13, field(1, b"location") + field(2, b"w"))) * 400_000),
    "many places": field(7, field(5, EXTERNALLY + field(13, field(1, b"location") + field(2, b"w")) * 500_000)),
    "a long place": field(7, field(5, EXTERNALLY + field(13, field(1, b"location") + field(2, b"w" * EIGHT_MIB)))),
    "long numbers": b"\xff" * EIGHT_MIB,
    "a length beyond the end": b"\x3a" + b"\xff" * 9 + b"\x01",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little(name: str) -> None:
    start = time.process_time()
    with pytest.raises(InvalidModel):
        external_files(HOSTILE[name])
    assert time.process_time() - start < 3  # 22 s before there was a limit


def test_a_payload_of_any_size_is_skipped_not_copied() -> None:
    """What is large, and no place of weights, costs nothing."""
    model = field(7, field(5, field(9, bytes(64 * 2**20)))) + field(2, b"producer")
    tracemalloc.start()
    assert external_files(model) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20
