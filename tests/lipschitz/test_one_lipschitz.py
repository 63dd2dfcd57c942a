"""Networks that are 1-Lipschitz by construction come out at 1, whichever way they were exported."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from app.lipschitz import files
from tests.conftest import ROOT
from tests.lipschitz.ingest.exporters import EXPORTERS
from tests.lipschitz.one_lipschitz import NETWORKS, built

WAYS = ("onnx (dynamo)", "onnx (TorchScript)", "jit.trace", "torch.export")

IN_TORCH_ONLY = ("orthogonal", "Cayley", "sandwich", "weight norm")
"""ONNX has no operator for what these compute their weights with: torch's exporters refuse them."""

CASES = [
    (name, way)
    for name in NETWORKS
    for way in WAYS
    if "onnx" not in way or not name.startswith(IN_TORCH_ONLY)
    if (name, way) != ("spectral norm", "onnx (TorchScript)")
]

QUICK = [(name, "jit.trace") for name in ("orthogonal by Cayley's map, MaxMin", "Bjorck, GroupSort", "spectral norm")]


def bracket(name: str, way: str) -> tuple[float, float]:
    _, shape, norm = NETWORKS[name]
    is_open = way in ("onnx (dynamo)", "torch.export")
    data = EXPORTERS[way](built(name), torch.randn(2 if is_open else 1, *shape))
    inputs: dict[str, Any] = {} if "onnx" in way else {"inputs": [[1, *shape]]}
    found = files.analyze(data, {"norm": norm, "budget_s": 10.0, **inputs})["result"]
    return found["lower"]["value"], found["upper"]["value"]


def check(name: str, way: str) -> None:
    lower, upper = bracket(name, way)
    assert 0.0 < lower <= upper <= 1.0 + 1e-5


@pytest.mark.parametrize(("name", "way"), QUICK)
def test_the_bound_is_one(name: str, way: str) -> None:
    check(name, way)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), [case for case in CASES if case not in QUICK])
def test_whichever_way_it_was_exported(name: str, way: str) -> None:
    check(name, way)


def test_a_norm_that_was_not_iterated_to_its_end_is_witnessed() -> None:
    """Vectors from before the last step of training leave a weight above 1, and the pair of points says so."""
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(6, 6)).eval()
    with torch.no_grad():
        layer.parametrizations.weight.original.add_(0.2 * torch.randn(6, 6))
    data = EXPORTERS["jit.trace"](torch.nn.Sequential(layer), torch.randn(1, 6))
    found = files.analyze(data, {"inputs": [[1, 6]], "methods": ["autolip", "gradient"]})["result"]
    true = float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2))
    assert true > 1.0 + 1e-6
    assert found["lower"]["value"] == pytest.approx(true, rel=1e-6)
    assert found["upper"]["value"] == pytest.approx(true, rel=1e-6)
    assert found["lower"]["value"] > 1.0


def test_the_table_names_the_networks() -> None:
    page = (ROOT / "docs" / "one-lipschitz.md").read_text()
    rows = re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)
    assert set(NETWORKS) <= set(rows)
