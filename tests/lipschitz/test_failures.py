"""A defect of one method costs that method's answer and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from app.lipschitz import analysis
from app.lipschitz.errors import LipschitzError, MethodSkipped, NotGloballyLipschitz
from app.lipschitz.failures import is_exhaustion
from app.lipschitz.files import analyze
from tests.effort import sampled
from tests.lipschitz.onnx_networks import mlp

WEIGHTS = [np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]]), np.array([[1.0, -1.0, 3.0]])]


def ends_in_relu(weights: list[np.ndarray], biases: list[np.ndarray]) -> bytes:
    model = onnx.load_from_string(mlp(weights, biases))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Relu", ["before"], ["y"], name="last"))
    return model.SerializeToString()


def raising(error: Exception) -> Any:
    def method(*_: Any) -> Any:
        raise error

    return method


def test_the_others_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(analysis.IMPLEMENTATIONS, "exact", raising(IndexError("index 7 is out of range")))
    result = analyze(mlp(WEIGHTS), {"methods": ["autolip", "exact", "gradient"]})["result"]
    records = {record["method"]: record for record in result["estimates"]}
    assert [records[name]["status"] for name in ("autolip", "exact", "gradient")] == ["ok", "failed", "ok"]
    assert "IndexError: index 7 is out of range" in records["exact"]["reason"]
    assert result["upper"]["method"] == "autolip"
    assert result["lower"]["method"] == "gradient"
    assert "Traceback" in capsys.readouterr().err


def test_the_job_fails_where_no_method_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(analysis.IMPLEMENTATIONS, "exact", raising(KeyError("x")))
    with pytest.raises(LipschitzError, match=r"no requested method could answer.*KeyError") as caught:
        analyze(mlp(WEIGHTS), {"methods": ["exact"]})
    assert caught.value.slug == "analysis-failed"
    assert not isinstance(caught.value, MethodSkipped)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), NotGloballyLipschitz("x")]
)
def test_what_concerns_the_whole_job_ends_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setitem(analysis.IMPLEMENTATIONS, "exact", raising(error))
    with pytest.raises(type(error)):
        analyze(mlp(WEIGHTS), {"methods": ["autolip", "exact"]})


def test_a_certificate_that_fails_leaves_the_bracket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "certified", raising(ZeroDivisionError("oh")))
    answer = analyze(mlp(WEIGHTS), {"methods": ["autolip"]})
    assert answer["result"]["upper"]["value"] > 0
    assert answer["certificate"] is None
    assert any("ZeroDivisionError: oh" in warning for warning in answer["result"]["warnings"])


@pytest.mark.parametrize(("seed", "scale"), sampled(range(3), [1.0, 1e120], every=2))
def test_exact_on_networks_that_end_in_an_activation(seed: int, scale: float) -> None:
    """Phases of the outputs that are free while all others are fixed, a duplicated neuron, a zero one; products of the
    weights may overflow.
    """
    random = np.random.default_rng(seed)
    first, last = random.normal(size=(4, 3)) * scale, random.normal(size=(2, 4)) * scale
    first[1], first[2] = first[0], 0.0
    model = ends_in_relu([first, last], [random.normal(size=4), random.normal(size=2)])
    (record,) = analyze(model, {"methods": ["exact"], "options": {"exact": {"seconds": 2}}})["result"]["estimates"]
    assert record["status"] == "ok", record["reason"]


@pytest.mark.parametrize("words", ["CUDA error: an illegal memory access", "CUSOLVER_STATUS_EXECUTION_FAILED"])
def test_a_gpu_that_fails_ends_the_job(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its context is lost: no other method would answer, and the service must hear of it."""
    monkeypatch.setitem(analysis.IMPLEMENTATIONS, "exact", raising(RuntimeError(words)))
    with pytest.raises(RuntimeError, match=words):
        analyze(mlp(WEIGHTS), {"methods": ["autolip", "exact"]})


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
              RuntimeError("CUDA error: out of memory"), torch.OutOfMemoryError("CUDA out of memory.")]
)  # fmt: skip
def test_memory_of_a_gpu_that_runs_out_is_memory_that_runs_out(error: Exception) -> None:
    assert is_exhaustion(error)
