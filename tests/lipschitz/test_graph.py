"""A model's captured graph as JSON, of every format."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz import graph as module
from app.lipschitz.errors import DataDependentControlFlow, UnsupportedOperator
from app.lipschitz.files import analyze, graph
from app.worker.warmup import tiny_model
from tests.lipschitz.ingest.test_torch_formats import export, script


class Norm(nn.Module):
    """Linear, batch norm (an operator with several results), ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.first(x)))


class Bessel(nn.Module):
    """An operator that has no rule, and a constant."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x) + torch.arange(2.0)


class Branch(nn.Module):
    """No single graph."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def calls(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes that compute something."""
    return [node for node in told["nodes"] if node["op"] not in ("input", "stored")]


def test_an_onnx_file() -> None:
    told = graph(tiny_model())
    x, weight, first, relu, again, last = told["nodes"]
    assert [x["op"], weight["op"], weight["parameters"], weight["constant"]] == ["input", "stored", 4, True]
    assert weight["origin"] == again["origin"] == {"name": "W", "op": "Parameter"}
    assert first == {
        "index": 2, "name": "mm", "op": "aten.mm.default", "inputs": [0, 1], "shape": [1, 2], "datatype": "FP32",
        "parameters": 0, "rule": "matrix product", "origin": {"name": "first", "op": "Gemm"}, "constant": False,
    }  # fmt: skip
    assert (relu["inputs"], relu["rule"], relu["origin"]["op"]) == ([2], "nondecreasing 1-Lipschitz function", "Relu")
    assert last["inputs"] == [3, 4]
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [1, 2], "node": 0}]
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "node": 5}]
    assert (told["node_count"], told["truncated"]) == (6, False)


def test_a_script_names_its_modules() -> None:
    data = script(Norm())
    told = graph(data, [[5, 3]])
    norm, item = (
        next(node for node in told["nodes"] if node["op"] == op) for op in ("aten.native_batch_norm.default", "getitem")
    )
    assert (norm["shape"], norm["datatype"], norm["origin"]["name"]) == (None, None, "norm")
    assert item["inputs"] == [norm["index"]]
    assert (item["shape"], item["rule"], item["origin"]) == ([5, 4], norm["rule"], None)
    assert norm["rule"] == "batch norm with stored statistics"
    assert sum(node["parameters"] for node in told["nodes"]) == 4 * 3 + 4 + 4 * 4
    assert told["outputs"][0]["shape"] == [5, 4]


def test_an_operator_without_a_rule_is_shown() -> None:
    data = export(Bessel(), torch.zeros(1, 2))
    bessel, numbers, add = calls(graph(data))
    assert (bessel["op"], bessel["rule"], bessel["constant"]) == ("aten.special_bessel_j0.default", None, False)
    assert (numbers["rule"], numbers["constant"]) == (None, True)
    assert add["rule"] == "sum"
    with pytest.raises(UnsupportedOperator, match=r"special_bessel_j0\.default"):
        analyze(data, {})


def test_what_has_no_graph_is_refused() -> None:
    with pytest.raises(DataDependentControlFlow):
        graph(script(Branch()), [[1, 2]])


def test_every_node_comes_after_what_it_reads() -> None:
    told = graph(export(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.zeros(1, 3, 8)))
    assert [node["index"] for node in told["nodes"]] == list(range(told["node_count"]))
    assert all(source < node["index"] for node in told["nodes"] for source in node["inputs"])
    assert any(len(node["inputs"]) > 1 for node in told["nodes"])
    json.dumps(told, allow_nan=False)


def test_a_large_graph_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model has 6 nodes and 5 edges; what is left of it ends before the second product."""
    monkeypatch.setattr(module, "MAX_SIZE", 8)
    told = graph(tiny_model())
    assert [node["op"] for node in calls(told)] == ["aten.mm.default", "aten.relu.default"]
    assert (len(told["nodes"]), told["node_count"], told["truncated"]) == (5, 6, True)
    assert (told["inputs"][0]["node"], told["outputs"][0]["node"]) == (0, None)
