"""Networks with a published answer, through the library's front door."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import onnxruntime
import pytest

from app.lipschitz.errors import InvalidRequest
from app.lipschitz.files import analyze
from tests.lipschitz.onnx_networks import mlp, published

EXACT = {
    "lipsdp_random": 36.48222959637795,
    "exlipbab_iris": 11.634355134114875,
    "exlipbab_wine12": 1.7433699967107172,
    "exlipbab_abalone": 11.121602332235268,
}
UPPER_OF_MNIST = 24.36635


@pytest.mark.parametrize("name", [*EXACT, "lipsdp_mnist"])
def test_autolip_is_the_product_of_norms(name: str) -> None:
    weights, biases = published(name)
    want = math.prod(float(np.linalg.norm(weight, 2)) for weight in weights)
    result = analyze(mlp(weights, biases), {"methods": ["autolip", "frobenius", "autolip_power"]})["result"]
    autolip, frobenius, power = (entry["value"] for entry in result["estimates"])
    assert want * (1 - 1e-13) <= autolip <= want * (1 + 1e-9)
    assert frobenius >= autolip
    assert power <= want * (1 + 1e-12)
    assert [entry["guarantee"] for entry in result["estimates"]] == ["certified", "certified", "estimate"]
    assert result["upper"] == {"value": autolip, "method": "autolip", "guarantee": "certified"}
    assert result["lower"] is None


@pytest.mark.parametrize("name", [*EXACT, pytest.param("lipsdp_mnist", marks=pytest.mark.slow)])
def test_the_lower_bound_keeps_below_the_exact_constant(name: str) -> None:
    result = analyze(mlp(*published(name)), {"methods": ["gradient"], "seed": 3})["result"]
    exact = EXACT.get(name, UPPER_OF_MNIST)
    assert 0.6 * exact <= result["lower"]["value"] <= exact * (1 + 1e-12)


def test_the_witness_can_be_evaluated_by_anyone() -> None:
    weights, biases = published("exlipbab_iris")
    model = mlp(weights, biases)
    answer = analyze(model, {})
    witness = np.load(io.BytesIO(base64.b64decode(answer["witness"])))
    session = onnxruntime.InferenceSession(model)
    (at_x,), (at_y,) = (session.run(None, {"x": witness[f"{end}.x"]}) for end in "xy")
    slope = np.linalg.norm(at_x - at_y) / np.linalg.norm(witness["x.x"] - witness["y.x"])
    assert slope == pytest.approx(answer["result"]["lower"]["value"], rel=1e-6)
    assert slope >= answer["result"]["lower"]["value"] * (1 - 1e-12), "the slope is rounded, the value is not"


def test_a_gate_gives_a_verdict() -> None:
    model = mlp(*published("exlipbab_iris"))
    verdicts = [
        analyze(model, {"methods": ["autolip", "gradient"], "gate": {"max_upper": limit}})["result"]["verdict"]
        for limit in (20.0, 12.0, 1.0)
    ]
    assert verdicts == ["pass", "inconclusive", "fail"]


def test_targets_select_outputs() -> None:
    weights, biases = published("exlipbab_iris")
    model = mlp(weights, biases)
    head = math.prod(float(np.linalg.norm(weight, 2)) for weight in weights[:-1])
    logit = analyze(model, {"methods": ["autolip"], "target": {"kind": "logit", "index": 2}})["result"]
    assert logit["upper"]["value"] == pytest.approx(head * float(np.linalg.norm(weights[-1][2])), rel=1e-9)
    margin = analyze(model, {"methods": ["autolip"], "target": {"kind": "margin", "i": 0, "j": 2}})["result"]
    row = weights[-1][0] - weights[-1][2]
    assert margin["upper"]["value"] == pytest.approx(head * float(np.linalg.norm(row)), rel=1e-9)
    with pytest.raises(InvalidRequest, match="0 to 2"):
        analyze(model, {"target": {"kind": "logit", "index": 3}})


def test_the_layer_table_is_autolips_walk() -> None:
    weights, biases = published("exlipbab_wine12")
    result = analyze(mlp(weights, biases), {"methods": ["autolip"]})["result"]
    rows = result["layers"]
    assert [row["name"] for row in rows] == ["fc0", "act0", "fc1", "act1", "fc2"]
    assert [row["op"] for row in rows] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    assert [row["kind"] for row in rows] == ["affine", "activation", "affine", "activation", "affine"]
    assert [row["parameters"] for row in rows] == [11 * 12 + 12, 0, 12 * 12 + 12, 0, 12 + 1]
    assert rows[-1]["cumulative"] == result["upper"]["value"]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert rows[0]["norm"]["lower"] <= rows[0]["norm"]["upper"]
    assert rows[1]["slope"] == [0.0, 1.0]


@pytest.mark.parametrize("scale", [1.0, 0.5, 1e-160, 1e150])
def test_shares_are_parts_of_what_the_layers_do_also_when_the_bound_is_one(scale: float) -> None:
    """Norms 8, 1/8 and 1 and a last one of `scale`: by log L a layer's share would be infinite."""
    sizes = [8.0, 0.125, 1.0, scale]
    weights = [np.diag([size, size / 2]) for size in sizes]
    rows = analyze(mlp(weights, [np.zeros(2)] * 4), {"methods": ["autolip"]})["result"]["layers"]
    shares, factors = [row["share"] for row in rows], [row["factor"] for row in rows]
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1.0)
    assert math.prod(factors) == pytest.approx(rows[-1]["cumulative"], rel=1e-6)
    assert shares[0] == pytest.approx(shares[2])
    assert [factor > 1 for factor in (factors[0], factors[2])] == [True, False]


def test_a_bound_of_one_by_layers_of_one_has_no_hot_spot() -> None:
    rows = analyze(mlp([np.eye(3)] * 3, [np.zeros(3)] * 3), {"methods": ["autolip"]})["result"]["layers"]
    assert {row["share"] for row in rows} == {0.0}
    assert [row["factor"] for row in rows] == pytest.approx([1.0] * len(rows))
