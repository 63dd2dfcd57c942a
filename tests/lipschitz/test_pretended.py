"""The library on a GPU that is none (`pretended`): what mixes devices fails here as it would there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from app.lipschitz.analysis import analyze
from app.lipschitz.ingest import capture_artifact
from benchmarks.gpu.analyses import BOX
from benchmarks.gpu.networks import chain, convolutional
from tests.lipschitz.pretended import DEVICE, gpu

CASES: dict[str, tuple[Callable[[], bytes], dict[str, Any]]] = {
    "autolip": (lambda: chain([30, 20, 5]), {}),
    "autolip of convolutions": (lambda: convolutional(2, 6), {}),
    "frobenius on a box": (lambda: chain([4, 6, 3]), {"domain": BOX}),
    "seqlip": (lambda: chain([6, 7, 7, 3]), {}),
    "lipsdp": (lambda: chain([6, 8, 8, 3]), {}),
    "lipsdp in another norm": (lambda: chain([4, 5, 3]), {"norm": "inf"}),
    "lipsdp of margins": (lambda: chain([4, 6, 3]), {"target": {"kind": "margins"}}),
    "gradient on a box": (lambda: chain([3, 5, 2]), {"domain": BOX}),
    "grid on a box": (lambda: chain([2, 5, 2]), {"domain": BOX}),
    "exact on a box": (lambda: chain([2, 5, 2]), {"domain": BOX}),
    "lipsdp of convolutions": (lambda: convolutional(2, 6), {}),
}
SLOW = ("exact", "lipsdp of", "autolip of", "grid", "frobenius")


def marked(name: str) -> Any:
    return pytest.param(name, marks=[pytest.mark.slow] if name.startswith(SLOW) else [])


def test_the_pretence_refuses_what_a_gpu_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with gpu(monkeypatch), torch.device(DEVICE):
        x = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
        assert x.device == DEVICE
        assert float(torch.linalg.cholesky(x @ x)[0, 0]) == pytest.approx(5**0.5)
        assert (x.cpu() + torch.ones(2, device="cpu")).tolist() == [[3.0, 2.0], [2.0, 3.0]]
        with pytest.raises(RuntimeError, match="operands on the GPU and the CPU"):
            x + torch.from_numpy(np.ones(2))
        with pytest.raises(TypeError):
            x.numpy()


@pytest.mark.parametrize("name", [marked(name) for name in CASES])
def test_no_operation_mixes_devices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, fields = CASES[name]
    artifact, method = capture_artifact(make(), None), name.split()[0]
    request = {"methods": [method], "budget_s": 0.5 if method in ("gradient", "grid") else 20.0} | fields
    with gpu(monkeypatch):
        answer = analyze(artifact, request)
    result = answer.result
    assert (result.engine.device, result.warnings) == (str(DEVICE), [])
    (estimate,) = (one for one in result.estimates if one.method == method)
    (alone,) = (one for one in analyze(artifact, request).result.estimates if one.method == method)
    assert (estimate.status, estimate.reason) == ("ok", None)
    if estimate.kind == "upper":
        assert estimate.value == pytest.approx(alone.value, rel=1e-6)
