"""Examples for the OpenAPI document; a test validates them against the types."""

from __future__ import annotations

from .domain import Document

SHA256 = "5b7c0b0a2c4f3f6b7c7dd0b1cf2a2c4fd8a1d1f0a9a7a1b4e8c9a6b5d4c3b2a1"
JOB_ID = "0b6f7f0e-5a53-4a5e-8a77-3b1c6a3b1f11"

MODEL: Document = {
    "id": SHA256,
    "name": "m.onnx",
    "format": "onnx",
    "size_bytes": 159_443,
    "files": [{"name": "m.onnx", "sha256": SHA256, "size_bytes": 159_443}],
    "created_at": "2026-01-02T03:04:05Z",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 784]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}],
    "parameters": 39_760,
    "operators": {"Gemm": 2, "Relu": 1},
    "unsupported": [],
    "warnings": [],
}

GRAPH: Document = {
    "model": SHA256,
    "graph": {"sha256": SHA256},
    "nodes": [
        {
            "index": 0,
            "name": "arg0_1",
            "op": "input",
            "inputs": [],
            "shape": [1, 784],
            "datatype": "FP32",
            "parameters": 0,
            "rule": None,
            "origin": {"name": "x", "op": "Input"},
            "constant": False,
        },
        {
            "index": 1,
            "name": "relu",
            "op": "aten.relu.default",
            "inputs": [0],
            "shape": [1, 784],
            "datatype": "FP32",
            "parameters": 0,
            "rule": "nondecreasing 1-Lipschitz function",
            "origin": {"name": "relu1", "op": "Relu"},
            "constant": False,
        },
    ],
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 784], "node": 0}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 784], "node": 1}],
    "node_count": 2,
    "truncated": False,
    "choices": [],
}

DATASET: Document = {
    "id": SHA256,
    "name": "digits.npz",
    "size_bytes": 917_890,
    "created_at": "2026-01-02T03:04:05Z",
    "inputs": {"datatype": "FP64", "shape": [1797, 64]},
    "labels": {"datatype": "INT64", "shape": [1797]},
}

PROGRESS: Document = {
    "method": "gradient",
    "phase": "ascent",
    "done": 12,
    "total": 20,
    "upper": 24.36635,
    "lower": 23.9,
}

REQUEST: Document = {
    "methods": ["autolip", "gradient"],
    "inputs": None,
    "input": None,
    "output": None,
    "norm": "2",
    "domain": {"kind": "all"},
    "target": {"kind": "all"},
    "input_scale": None,
    "output_scale": None,
    "input_names": None,
    "output_names": None,
    "options": {},
    "dataset": None,
    "certify": False,
    "rounding": "refuse",
    "gate": None,
    "budget_s": 60.0,
    "seed": 0,
}

LAYER: Document = {
    "index": 0,
    "name": "fc1",
    "op": "Gemm",
    "kind": "affine",
    "input_shape": [1, 784],
    "output_shape": [1, 50],
    "parameters": 39_250,
    "norm": {"upper": 4.1, "lower": 4.1, "method": "svd"},
    "slope": None,
    "lipschitz": 4.1,
    "cumulative": 4.1,
    "factor": 4.1,
    "share": 0.6,
}

RESULT: Document = {
    "norm": "2",
    "domain": {"kind": "all"},
    "target": {"kind": "all"},
    "upper": {"value": 26.1, "method": "autolip", "guarantee": "certified"},
    "lower": {"value": 23.9, "method": "gradient", "guarantee": "witnessed"},
    "ratio": 1.092,
    "verdict": None,
    "estimates": [
        {
            "method": "autolip",
            "kind": "upper",
            "guarantee": "certified",
            "status": "ok",
            "reason": None,
            "value": 26.1,
            "seconds": 0.01,
            "details": {},
            "layers": [LAYER],
        }
    ],
    "layers": [LAYER],
    "certificates": [
        {
            "index": 0,
            "label": 7,
            "prediction": 7,
            "radius": 0.21,
            "reason": None,
            "against": 9,
            "method": "local",
        }
    ],
    "model": {"parameters": 39_760},
    "graph": {"sha256": SHA256},
    "engine": {"version": "0.1.0", "device": "cpu", "dtype": "float64", "torch": "2.15.0"},
    "warnings": [],
}

JOB: Document = {
    "id": JOB_ID,
    "status": "succeeded",
    "model": SHA256,
    "request": REQUEST,
    "metadata": {},
    "priority": 5,
    "timeout_s": 600.0,
    "progress": PROGRESS,
    "attempt": 1,
    "worker": "host/0",
    "device": "cpu",
    "queue": None,
    "cached": False,
    "computed": {"at": "2026-01-02T03:04:05.180Z", "seconds": 0.07},
    "bracket": {"upper": 24.36635, "lower": 24.2992, "verdict": "pass"},
    "created_at": "2026-01-02T03:04:05.100Z",
    "started_at": "2026-01-02T03:04:05.110Z",
    "finished_at": "2026-01-02T03:04:05.180Z",
    "expires_at": None,
    "error": None,
    "urls": {
        "self": f"/v1/jobs/{JOB_ID}",
        "cancel": f"/v1/jobs/{JOB_ID}/cancel",
        "events": f"/v1/jobs/{JOB_ID}/events",
        "report": None,
        "certificate": f"/v1/jobs/{JOB_ID}/certificate",
        "witness": f"/v1/jobs/{JOB_ID}/witness",
        "radii": None,
    },
    "result": RESULT,
}
