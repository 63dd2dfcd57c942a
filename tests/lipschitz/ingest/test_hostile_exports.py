"""torch.export archives that would run something if torch loaded them: here nothing of them runs."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from app.lipschitz.errors import InvalidInputs, InvalidModel, LipschitzError, UnsupportedOperator
from app.lipschitz.ingest import capture, inspect
from tests.lipschitz.ingest.test_torch_formats import export, outputs


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("shift", torch.ones(2))
        self.constant = torch.tensor([1.0, 2.0])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layer(x)) + self.shift * self.constant + torch.tensor([3.0, 4.0])


@pytest.fixture(scope="module")
def honest() -> dict[str, bytes]:
    torch.manual_seed(0)
    return members(export(Model(), torch.zeros(2, 3), dynamic_shapes=({0: torch.export.Dim("batch", max=7)},)))


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return buffer.getvalue()


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def changed(files: dict[str, bytes], name: str, change: Callable[[Any], object]) -> dict[str, bytes]:
    told = json.loads(files[name])
    change(told)
    return files | {name: json.dumps(told).encode()}


MODEL = "archive/models/model.json"
WEIGHTS = "archive/data/weights/"
CONSTANTS = "archive/data/constants/"


def weight(told: Any) -> None:
    told["config"]["layer.weight"]["use_pickle"] = True


def constant(prefix: str) -> Callable[[Any], None]:
    def change(told: Any) -> None:
        told["config"]["constant"] |= {"path_name": f"{prefix}0", "use_pickle": True}

    return change


def test_what_is_honest_is_read(honest: dict[str, bytes]) -> None:
    torch.manual_seed(0)
    module, x = Model(), torch.randn(1, 3)
    captured = capture(archive(honest))
    assert torch.allclose(outputs(captured, x.double())[0].float(), module(x), atol=1e-6)
    with pytest.raises(InvalidInputs, match="exported for"):
        capture(archive(honest), [[9, 3]])


def bombs(files: dict[str, bytes], bomb: bytes) -> dict[str, dict[str, bytes]]:
    """Archives with a bomb in every place that torch unpickles."""
    weights = changed(files, f"{WEIGHTS}model_weights_config.json", weight)
    constants = f"{CONSTANTS}model_constants_config.json"
    program = files[MODEL]
    return {
        "a weight": weights | {f"{WEIGHTS}weight_0": bomb},
        "a constant": changed(files, constants, constant("tensor_")) | {f"{CONSTANTS}tensor_0": bomb},
        "a custom object": changed(files, constants, constant("custom_obj_")) | {f"{CONSTANTS}custom_obj_0": bomb},
        "an opaque object": changed(files, constants, constant("opaque_obj_")) | {f"{CONSTANTS}opaque_obj_0": bomb},
        "all weights": files | {f"{WEIGHTS}model.pt": bomb},
        "all constants": files | {f"{CONSTANTS}model.pt": bomb},
        "an older archive": {"version": b"8.8", "serialized_exported_program.json": program,
                             "serialized_state_dict.pt": bomb, "serialized_constants.pt": bomb,
                             "serialized_example_inputs.pt": bomb},
    }  # fmt: skip


def test_no_pickle_runs(honest: dict[str, bytes], tmp_path: Path) -> None:
    made = tmp_path / "made"
    for content in (Bomb(made), {"layer.weight": Bomb(made)}):
        for place, files in bombs(honest, pickled(content)).items():
            for question in (inspect, capture):
                with pytest.raises(InvalidModel, match="pickle"):
                    question(archive(files))
                assert not made.exists(), place
    assert capture(archive(honest | {"archive/data/sample_inputs/model.pt": pickled(Bomb(made))}))
    assert not made.exists()


def test_pickled_tensors_are_read(honest: dict[str, bytes]) -> None:
    """As archives up to torch 2.7 hold them."""
    module = Model()
    constants = {"constant": module.constant, "lifted_tensor_0": torch.tensor([3.0, 4.0])}
    older = {"version": b"8.8", "serialized_exported_program.json": honest[MODEL],
             "serialized_state_dict.pt": pickled(dict(module.state_dict())),
             "serialized_constants.pt": pickled(constants)}  # fmt: skip
    x = torch.randn(1, 3)
    (y,) = outputs(capture(archive(older)), x.double())
    assert torch.allclose(y.float(), module(x), atol=1e-6)


def test_no_text_runs(honest: dict[str, bytes], tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"__import__('os').mkdir('{made}')"

    def first_target(target: str) -> Callable[[Any], object]:
        return lambda told: told["graph_module"]["graph"]["nodes"][0].update(target=target)

    changes: list[Callable[[Any], object]] = [
        lambda told: told.update(guards_code=[code]),
        lambda told: told["graph_module"]["graph"]["tensor_values"]["x"]["sizes"].__setitem__(
            0, {"as_expr": {"expr_str": code, "hint": {"as_int": 2}}}
        ),
        *(first_target(target) for target in ("torch.os.mkdir", "torch.hub.load", "math.inf", code, "os.mkdir",
                                              "torch.ops.aten.from_file.default", "_operator.attrgetter",
                                              "torch.ops.higher_order.cond", "torch.ops.aten.nothing.default")),
    ]  # fmt: skip
    for change in changes:
        data = archive(changed(honest, MODEL, change))
        with suppress(LipschitzError):
            inspect(data)
        with suppress(LipschitzError):
            capture(data, [[1, 3]])
        assert not made.exists()
    with pytest.raises(UnsupportedOperator, match="from_file"):
        capture(archive(changed(honest, MODEL, first_target("torch.ops.aten.from_file.default"))))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


VALUES: list[Any] = [None, True, -1, 2**70, "x", "layer", [], {}, {"as_int": 3}, {"as_tensor": {"name": "x"}}, 1e300]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_graphs_are_read_or_refused(honest: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([MODEL, f"{WEIGHTS}model_weights_config.json"]))
    told = json.loads(honest[name])
    for node in told.get("graph_module", {"graph": {"nodes": []}})["graph"]["nodes"]:
        node["metadata"] = {}
    path = data.draw(st.sampled_from([place for place in places(told) if place]))
    target = told
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = deepcopy(data.draw(st.sampled_from(VALUES)))
    with suppress(LipschitzError):
        capture(archive(honest | {name: json.dumps(told).encode()}))
