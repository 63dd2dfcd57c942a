"""One module, one bound, whichever way it was exported: families of modules by today's exporters."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz import files
from app.lipschitz.errors import UnsupportedOperator
from tests.lipschitz.bundles import bundle_of
from tests.lipschitz.ingest.families import FAMILIES, built, examples

Examples = tuple[Tensor, ...]

TOLERANCE = 1e-6
"""Exporters fold and store constants in float32."""


def dynamo(module: nn.Module, given: Examples) -> bytes:
    """As `torch.onnx.export(m, x, "f.onnx")` writes it: a file, and its weights beside it."""
    with TemporaryDirectory() as folder:
        torch.onnx.export(module, given, Path(folder) / "f.onnx", dynamo=True, verbose=False)
        return bundle_of({path.name: path.read_bytes() for path in Path(folder).iterdir()}, "f.onnx")


def by_script(module: nn.Module, given: Examples) -> bytes:
    buffer = io.BytesIO()
    torch.onnx.export(module, given, buffer, dynamo=False, opset_version=20)
    return buffer.getvalue()


def traced(module: nn.Module, given: Examples) -> bytes:
    return saved(torch.jit.trace(module, given, check_trace=False))  # which minds its own fast path of attention


def scripted(module: nn.Module, _given: Examples) -> bytes:
    return saved(torch.jit.script(module))


def saved(module: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    return buffer.getvalue()


def exported(module: nn.Module, given: Examples) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(module, given), buffer)
    return buffer.getvalue()


EXPORTERS: Mapping[str, Callable[[nn.Module, Examples], bytes]] = {
    "onnx (dynamo, external data)": dynamo, "onnx (TorchScript)": by_script, "jit.trace": traced,
    "jit.script": scripted, "torch.export": exported,
}  # fmt: skip

NOT_EXPORTED = {
    "onnx (dynamo, external data)": {"orthogonal"},
    "onnx (TorchScript)": {"grouped heads", "rotary attention", "norms", "spectral norm", "orthogonal"},
    "jit.trace": set[str](),
    "jit.script": {
        "causal attention",
        "grouped heads",
        "rotary attention",
        "spectral norm",
        "weight norm",
        "orthogonal",
    },
}
"""What torch's own exporters refuse."""

ASKING = {"multi-head attention", "padding mask", "vision transformer"}
"""Scripts of torch's attention ask whether autocast is on, which no trace shows."""

ROUND_TRIPS = [
    (name, exporter)
    for exporter, refused in NOT_EXPORTED.items()
    for name in FAMILIES
    if name not in refused and (exporter != "jit.script" or name not in ASKING)
]
QUICK = {
    ("mlp", "onnx (dynamo, external data)"), ("gated units", "onnx (TorchScript)"), ("given embeddings", "jit.script"),
    ("policy with history", "jit.script"),
}  # fmt: skip


@functools.cache
def bound(name: str, exporter: str) -> float:
    family = FAMILIES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exporters announce each other's end
        data = EXPORTERS[exporter](built(name), examples(name))
    fields: dict[str, object] = {"methods": ["autolip"], "budget_s": 600}
    if "jit" in exporter:
        fields["inputs"] = [list(shape) for shape in family.shapes]
    if family.box is not None:
        fields["domain"] = {"kind": "box", "lower": -family.box, "upper": family.box}
    return files.analyze(data, fields)["result"]["upper"]["value"]


@pytest.mark.parametrize(
    ("name", "exporter"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in ROUND_TRIPS],
)
def test_one_bound_whichever_way_it_was_exported(name: str, exporter: str) -> None:
    assert bound(name, exporter) == pytest.approx(bound(name, "torch.export"), rel=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ASKING))
def test_scripts_that_ask_for_autocast_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedOperator, match="is_autocast_enabled"):
        bound(name, "jit.script")
