"""The captured graph as bytes: it comes back as it was, and nothing else than what was written is read."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from app.lipschitz.artifact import Captured, Inspection, TensorSpec, digest, from_bytes, to_bytes
from app.lipschitz.artifact.agreement import Run
from app.lipschitz.artifact.graphs import evaluate, results
from app.lipschitz.artifact.operators import NAMES, overload
from app.lipschitz.artifact.writing import LENGTH, MARK, canonical
from app.lipschitz.errors import InvalidArtifact, InvalidModel
from app.lipschitz.ingest import capture, capture_artifact
from tests.effort import examples
from tests.lipschitz.ingest.test_torch_formats import export, script

START = len(MARK) + LENGTH


class Small(nn.Module):
    """Linear, batch norm (several results), a mask, a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.tensor([True, False, True, True]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.first(x)))
        return torch.softmax(y * self.mask + torch.arange(4.0), -1)


@pytest.fixture(scope="module")
def artifact() -> bytes:
    torch.manual_seed(0)
    return capture_artifact(export(Small().eval(), torch.randn(1, 3)))


def graph_of(artifact: bytes) -> dict[str, Any]:
    length = int.from_bytes(artifact[len(MARK) : START], "little")
    told: dict[str, Any] = json.loads(artifact[START : START + length])
    return told


def with_graph(artifact: bytes, graph: Any) -> bytes:
    """The same tensors under another graph."""
    length = int.from_bytes(artifact[len(MARK) : START], "little")
    text = canonical(graph)
    return MARK + len(text).to_bytes(LENGTH, "little") + text + artifact[START + length :]


def test_the_graph_comes_back(artifact: bytes) -> None:
    torch.manual_seed(0)
    before, after = capture(export(Small().eval(), torch.randn(1, 3))), from_bytes(artifact)
    assert (before.inputs, before.outputs, before.inspection) == (after.inputs, after.outputs, after.inspection)
    assert [n.name for n in before.graph.graph.nodes] == [n.name for n in after.graph.graph.nodes]
    x = [torch.randn(1, 3, dtype=torch.float64)]
    (y,), (z,) = (evaluate(c.graph, x, results(c.graph)) for c in (before, after))
    assert torch.equal(y, z)


def test_writing_is_deterministic_and_weights_keep_their_width(artifact: bytes) -> None:
    assert to_bytes(from_bytes(artifact), []) == to_bytes(from_bytes(artifact), [])
    torch.manual_seed(0)
    assert digest(capture_artifact(export(Small().eval(), torch.randn(1, 3)))) == digest(artifact)
    wide = capture_artifact(export(Small().double().eval(), torch.randn(1, 3).double()))
    stored = [n for n in from_bytes(wide).graph.graph.nodes if n.op == "get_attr"]
    assert any(getattr(from_bytes(wide).graph, n.target).dtype == torch.float64 for n in stored)
    assert len(wide) > len(artifact)


@pytest.mark.parametrize("value", [0.1, -0.0, 2.0**-149, 1e-310, 1e300, 3.4028235677973366e38])
def test_numbers_are_kept_to_the_bit(value: float) -> None:
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    weight = graph.get_attr("weight")
    y = graph.call_function(torch.ops.aten.mul.Tensor, (x, weight))
    y = graph.call_function(torch.ops.aten.add.Tensor, (y, value))
    graph.output((y,))
    for node in graph.nodes:
        node.meta["shape"] = (1,)
    module = torch.fx.GraphModule({"weight": torch.tensor([value], dtype=torch.float64)}, graph)
    spec = TensorSpec("x", "FP64", (1,))
    captured = Captured(module, (spec,), (TensorSpec("y", "FP64", (1,)),), Inspection("onnx", (spec,), (), 0, {}))
    back = from_bytes(to_bytes(captured, []))
    _, stored, _, added, _ = back.graph.graph.nodes
    assert getattr(back.graph, stored.target).double().view(torch.int64) == module.weight.view(torch.int64)
    assert str(added.args[1]) == str(value)


def test_every_listed_operator_exists_and_none_is_random_or_writes() -> None:
    missing = {name for name in NAMES if overload(name) is None}
    assert missing == {
        "aten.dropout.default",
        "aten.rrelu_with_noise.default",
        "aten.rrelu_with_noise_functional.default",
        "aten._scaled_dot_product_flash_attention_for_cpu.default",
    }
    for name in ("aten.from_file.default", "aten.set_.source_Storage", "aten.add_.Tensor", "os.system", "aten.mm"):
        assert overload(name) is None


def forged(artifact: bytes, change: Any) -> bytes:
    graph = graph_of(artifact)
    change(graph)
    return with_graph(artifact, graph)


def call(graph: dict[str, Any], part: str) -> dict[str, Any]:
    found: dict[str, Any] = next(node for node in graph["nodes"] if part in str(node.get("target")))
    return found


FORGERIES = {
    "an operator off the list": lambda g: call(g, "relu").update(target="aten.from_file.default"),
    "a function": lambda g: call(g, "relu").update(target="os.system"),
    "another operator": lambda g: call(g, "relu").update(target="aten.tanh.default"),
    "a later node": lambda g: call(g, "relu").update(args=[{"node": len(g["nodes"]) - 1}]),
    "no node": lambda g: call(g, "relu").update(args=[{"node": -1}]),
    "too few arguments": lambda g: call(g, "relu").update(args=[]),
    "too many arguments": lambda g: call(g, "relu").update(args=[{"node": 0}, 1]),
    "a wrong type": lambda g: call(g, "_softmax").update(args=[{"node": 0}, "1", False]),
    "a truth value for a number": lambda g: call(g, "_softmax").update(args=[{"node": 0}, True, False]),
    "a wrong shape": lambda g: call(g, "relu").update(shape=[1, 5]),
    "a wrong weight": lambda g: g["nodes"][1].update(shape=[12]),
    "another version": lambda g: g.update(version=2),
    "a field too many": lambda g: g.update(more=1),
    "a control character": lambda g: g["nodes"][0]["place"].update(name="\x1b[31m"),
    "half a surrogate": lambda g: g["nodes"][0]["place"].update(name="\ud800"),
    "a long name": lambda g: g["nodes"][0]["place"].update(name="x" * 1001),
    "code as a name": lambda g: g["nodes"][0].update(name="x, y=print(1)"),
    "no result": lambda g: g.update(results=[]),
    "a result that is not there": lambda g: g.update(results=[1000]),
    "a swapped result": lambda g: g.update(results=[0]),
    "two inputs": lambda g: g["inputs"].append(g["inputs"][0]),
    "an integer input": lambda g: g["inputs"][0].update(datatype="INT64"),
    "samples that are not there": lambda g: g.update(samples=2),
    "samples that are left over": lambda g: g.update(samples=0),
    "a huge number": lambda g: call(g, "_softmax").update(args=[{"node": 0}, 10**400, False]),
    "a nest": lambda g: call(g, "relu").update(args=json.loads("[" * 900 + "]" * 900)),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES)
def test_forged_graphs_are_refused(artifact: bytes, change: Any) -> None:
    with pytest.raises(InvalidArtifact):
        from_bytes(forged(artifact, change))


def made(*calls: tuple[str, list[Any], list[int]], size: int = 1) -> bytes:
    """A graph of calls on one input; a call is its operator, its arguments and its stated shape."""
    place = {"name": "n", "op": "o"}
    spec = {"name": "x", "datatype": "FP64", "shape": [size]}
    first = {"kind": "input", "name": "x", "place": place, "shape": [size], "datatype": "FP64"}
    nodes = [first] + [
        {"kind": "call", "name": f"n{i}", "place": place, "shape": shape, "datatype": "FP64", "target": target,
         "args": args, "kwargs": {}}
        for i, (target, args, shape) in enumerate(calls)
    ]  # fmt: skip
    declared = {"format": "onnx", "inputs": [spec], "outputs": [], "parameters": 0, "operators": {}, "unsupported": [],
                "warnings": []}  # fmt: skip
    output = {"name": "y", "datatype": "FP64", "shape": calls[-1][2]}
    graph = {"version": 1, "declared": declared, "inputs": [spec], "outputs": [output], "warnings": [], "nodes": nodes,
             "results": [len(nodes) - 1], "samples": 0}  # fmt: skip
    text = canonical(graph)
    return MARK + len(text).to_bytes(LENGTH, "little") + text + b"\x08\0\0\0\0\0\0\0{}      "


def test_bombs_are_refused_without_memory() -> None:
    assert from_bytes(made(("aten.relu.default", [{"node": 0}], [1])))
    huge = 1 << 40
    for bomb in (
        made(("aten.expand.default", [{"node": 0}, [huge]], [huge])),
        made(("aten.expand.default", [{"node": 0}, [1 << 28]], [1 << 28]), *[
            ("aten.add.Tensor", [{"node": i}, 1], [1 << 28]) for i in range(1, 20)
        ]),
        made(("aten.arange.default", [1 << 50], [1])),
        made(("aten.full.default", [[1 << 20, 1 << 20], {"float": "1.0"}], [1])),
        made(("aten.repeat.default", [{"node": 0}, [1 << 62, 4]], [1])),
        made(("aten.im2col.default", [{"node": 0}, [1, 1], [1, 1], [1 << 40, 0], [1, 1]], [1])),
    ):  # fmt: skip
        with pytest.raises(InvalidArtifact):
            from_bytes(bomb)


def test_a_reader_runs_the_samples_again(artifact: bytes) -> None:
    captured = from_bytes(artifact)
    x, y = torch.randn(1, 3), torch.rand(1, 4)
    wrong = Run([x], [y], [y])
    with pytest.raises(InvalidArtifact, match=r"differs from the original|too much to compare"):
        from_bytes(to_bytes(captured, [wrong]))


def read_or_refused(data: bytes) -> None:
    with suppress(InvalidArtifact):
        from_bytes(data)


@examples(150)
@given(st.data())
def test_damaged_bytes_are_read_or_refused(artifact: bytes, data: st.DataObject) -> None:
    changed = bytearray(artifact)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(changed) - 1))
        changed[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(changed))))
    read_or_refused(bytes(changed[:cut]))


LITERALS: list[Any] = [
    {"float": "nan"}, {"float": "x"}, {"dtype": "FP32"}, {"dtype": "INT8"}, {"device": "cpu"}, {"layout": "strided"},
    [], [0], [-1, 2**62], None, True, False, "", "tanh",
]  # fmt: skip
LEAVES = st.one_of(
    st.sampled_from(LITERALS),
    st.integers(-(2**70), 2**70),
    st.text(max_size=5),
    st.builds(lambda i: {"node": i}, st.integers(-2, 12)),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@examples(300)
@given(st.data())
def test_changed_graphs_are_read_or_refused(artifact: bytes, data: st.DataObject) -> None:
    graph = graph_of(artifact)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([place for place in places(graph) if place]))
        target = graph
        for key in path[:-1]:
            target = target[key]
        value = data.draw(st.one_of(LEAVES, st.sampled_from(sorted(NAMES))))
        target[path[-1]] = deepcopy(value)
    read_or_refused(with_graph(artifact, graph))


class Masked(nn.Module):
    """An infinite mask; as a weight, where `is_weight`."""

    def __init__(self, is_weight: bool) -> None:
        super().__init__()
        self.is_weight = is_weight
        self.register_buffer("mask", torch.triu(torch.full((3, 3), -torch.inf), 1))

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask[None]
        return torch.softmax(x * mask if self.is_weight else x + mask, -1)


def test_a_mask_may_be_infinite_and_a_weight_may_not() -> None:
    x = torch.rand(1, 3, 3)
    assert from_bytes(capture_artifact(export(Masked(is_weight=False), x)))
    masked = capture(export(Masked(is_weight=False), x))
    stored = next(node for node in masked.graph.graph.nodes if node.op == "get_attr")
    (added,) = (node for node in masked.graph.graph.nodes if node.target is torch.ops.aten.add.Tensor)
    added.target = torch.ops.aten.mul.Tensor
    with pytest.raises(InvalidModel, match="infinity where it is no mask"):
        to_bytes(masked, [])
    getattr(masked.graph, stored.target)[0, 0] = torch.nan
    with pytest.raises(InvalidModel, match="NaN"):
        to_bytes(masked, [])


def test_bounding_needs_no_reader_of_models(artifact: bytes, tmp_path: Any) -> None:
    path = tmp_path / "graph"
    path.write_bytes(artifact)
    check = f"""
import sys
from pathlib import Path
from app.lipschitz.analysis import analyze
from app.lipschitz.graph import graph
from app.lipschitz.certificate.verify import verify
data = Path({str(path)!r}).read_bytes()
told = analyze(data, {{"methods": ["autolip"], "domain": {{"kind": "box", "lower": -1, "upper": 1}}}})
assert told.result.graph == graph(data).graph
foreign = [name for name in sys.modules if name.split(".")[0] in ("onnx", "onnx2torch", "onnxruntime")
           or name.startswith("app.lipschitz.ingest")]
sys.exit(str(foreign) if foreign else 0)
"""
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_operator_without_a_rule_keeps_its_name() -> None:
    class Bessel(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.relu(x), torch.special.bessel_j0(x)

    artifact = capture_artifact(script(Bessel()), [[1, 2]])
    told = [node.get("target") for node in graph_of(artifact)["nodes"]]
    assert "aten.special_bessel_j0.default" in told
    assert from_bytes(artifact)
