"""Results in the contract's form, as a worker could send them."""

from __future__ import annotations

from typing import Any

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>&amp;\u202e\x00{{7*7}}"


def estimate(method: str, kind: str, value: float | None, **others: Any) -> dict[str, Any]:
    guarantee = {"upper": "certified", "lower": "witnessed"}.get(kind, "estimate")
    named = {"method": method, "kind": kind, "guarantee": guarantee, "value": value, "status": "ok", "reason": None}
    return named | {"seconds": 0.25, "details": {}, "layers": []} | others


def layer(index: int, name: str, share: float | None = 0.5, **others: Any) -> dict[str, Any]:
    row = {"index": index, "name": name, "op": "Gemm", "kind": "affine", "parameters": 12, "slope": None}
    row |= {"input_shape": [1, 4], "output_shape": [1, 4], "branches": [], "share": share}
    row |= {"norm": {"upper": 2.0, "lower": 2.0, "method": "gram"}, "lipschitz": 2.0, "cumulative": 2.0 ** (index + 1)}
    return row | others


def sample(index: int, radius: float | None, label: int | None = 1, prediction: int = 1) -> dict[str, Any]:
    return {"index": index, "label": label, "prediction": prediction, "radius": radius, "against": 2, "method": "local"}


def result(name: str = "fc", depth: int = 4, **others: Any) -> dict[str, Any]:
    """A bracket of [8, 16] by one method of each kind, and one that was skipped."""
    trail = [[0.1, 20.0, 4.0], [0.4, 16.0, 8.0]]
    found = {
        "norm": "2",
        "domain": {"kind": "all"},
        "target": {"kind": "all"},
        "upper": {"value": 16.0, "method": "exact", "guarantee": "certified"},
        "lower": {"value": 8.0, "method": "gradient", "guarantee": "witnessed"},
        "ratio": 2.0,
        "verdict": None,
        "estimates": [
            estimate("autolip", "upper", 32.0),
            estimate("exact", "upper", 16.0, details={"trail": trail}),
            estimate("greedy_seqlip", "estimate", 12.0),
            estimate("gradient", "lower", 8.0),
            estimate("seqlip", "upper", None, status="skipped", reason=f"no pairs in {name}"),
        ],
        "layers": [layer(index, f"{name}{index}", 1 / depth) for index in range(depth)],
        "certificates": [],
        "model": {"inputs": [{"name": name, "datatype": "FP32", "shape": [1, 4]}], "outputs": []},
        "engine": {"version": "0.1.0", "device": "cpu", "dtype": "float64", "torch": "none"},
        "warnings": [],
    }
    return found | others
