"""Operators outside the standard's domain against onnxruntime, and bounds through them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.lipschitz import files
from app.lipschitz.errors import Discontinuous, UnsupportedOperator
from app.lipschitz.ingest import capture
from tests.lipschitz.ingest.onnx_models import i64, node, onnx_bytes, weights
from tests.lipschitz.ingest.test_onnx_operators import agrees

WIDTH, HEADS, WORDS = 8, 2, 3
TOKENS = (1, WORDS, WIDTH)
VECTOR = weights(WIDTH, seed=5)


def microsoft(operator: str, inputs: list[str], **attributes: Any) -> Any:
    return node(operator, inputs, ["y"], domain="com.microsoft", **attributes)


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.3, "transB": 1}, {"transA": 1, "transB": 1}])
def test_scaled_matrix_product(attributes: dict[str, Any]) -> None:
    shape = (1, WIDTH, WORDS) if "transA" in attributes else TOKENS
    w = weights(5, WIDTH) if "transB" in attributes else weights(WIDTH, 5)
    agrees([microsoft("FusedMatMul", ["x", "w"], **attributes)], shape, {"w": w})


@pytest.mark.parametrize("operator", ["Gelu", "FastGelu", "QuickGelu"])
def test_activations(operator: str) -> None:
    agrees([microsoft(operator, ["x"])], TOKENS)


@pytest.mark.parametrize("operator", ["BiasGelu", "FastGelu"])
def test_activations_of_a_sum(operator: str) -> None:
    agrees([microsoft(operator, ["x", "b"])], TOKENS, {"b": VECTOR})


@pytest.mark.parametrize("activation", [
    {"activation": "Relu"}, {"activation": "LeakyRelu", "activation_params": [0.2]},
    {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
    {"activation": "Clip", "activation_params": [-0.5, 0.5]},
])  # fmt: skip
def test_activated_convolution(activation: dict[str, Any]) -> None:
    constants = {"w": weights(4, 2, 3, 3), "b": weights(4)}
    agrees([microsoft("FusedConv", ["x", "w", "b"], **activation)], (1, 2, 5, 5), constants)


def test_activated_product() -> None:
    constants = {"w": weights(WIDTH, 3), "b": weights(3)}
    found = microsoft("FusedGemm", ["x", "w", "b"], activation="LeakyRelu", activation_alpha=0.1)
    agrees([found], (2, WIDTH), constants)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_layer_norm_of_a_sum(count: int) -> None:
    constants = {"g": VECTOR, "b": VECTOR[::-1].copy(), "c": 0.5 * VECTOR}
    names = ["x", "z", "g", "b", "c"][:count]
    nodes = [node("Tanh", ["x"], ["z"]), microsoft("SkipLayerNormalization", names, epsilon=0.1)]
    agrees(nodes, TOKENS, {name: constants[name] for name in names[2:]})


def test_the_sum_goes_on_beside_its_layer_norm() -> None:
    made = node("SkipLayerNormalization", ["x", "z", "g"], ["n", "", "", "s"], domain="com.microsoft", epsilon=0.1)
    nodes = [node("Tanh", ["x"], ["z"]), made, node("Add", ["n", "s"], ["y"])]
    agrees(nodes, TOKENS, {"g": VECTOR})


def test_root_mean_square_norm_of_a_sum() -> None:
    made = node("SkipSimplifiedLayerNormalization", ["x", "z", "g"], ["n", "", "", "s"], domain="com.microsoft")
    agrees([node("Tanh", ["x"], ["z"]), made, node("Add", ["n", "s"], ["y"])], TOKENS, {"g": VECTOR})


@pytest.mark.parametrize(("operator", "opset"), [
    ("SimplifiedLayerNormalization", 17), ("SimplifiedLayerNormalization", 23), ("LayerNormalization", 12),
])  # fmt: skip
def test_onnxruntimes_own_operators_in_the_standards_domain(operator: str, opset: int) -> None:
    agrees([node(operator, ["x", "g"], ["y"], epsilon=0.1)], TOKENS, {"g": VECTOR}, opset=opset)


@pytest.mark.parametrize("attributes", [{}, {"unidirectional": 1}, {"scale": 0.7}])
def test_packed_attention(attributes: dict[str, Any]) -> None:
    constants = {"w": weights(WIDTH, 3 * WIDTH), "b": weights(3 * WIDTH)}
    agrees([microsoft("Attention", ["x", "w", "b"], num_heads=HEADS, **attributes)], TOKENS, constants)


@pytest.mark.parametrize("bias", [[], ["b"]])
def test_multi_head_attention(bias: list[str]) -> None:
    nodes = [
        node("Tanh", ["x"], ["k"]),
        node("Neg", ["x"], ["v"]),
        microsoft("MultiHeadAttention", ["x", "k", "v", *bias], num_heads=HEADS),
    ]
    agrees(nodes, TOKENS, {"b": weights(3 * WIDTH)} if bias else {})


def packed_weights(zeros: bool) -> tuple[Any, dict[str, Any]]:
    """Five rows of 32 weights in blocks of 16."""
    random = np.random.default_rng(3)
    constants: dict[str, Any] = {
        "q": random.integers(0, 256, (5, 2, 8), dtype=np.uint8),
        "s": random.random(10, dtype=np.float32) + np.float32(0.1),
    }
    if zeros:
        constants["z"] = random.integers(0, 256, 5, dtype=np.uint8)
    names = ["x", "q", "s", *(["z"] if zeros else [])]
    return microsoft("MatMulNBits", names, K=32, N=5, bits=4, block_size=16), constants


@pytest.mark.parametrize("zeros", [False, True])
def test_weights_of_four_bits(zeros: bool) -> None:
    made, constants = packed_weights(zeros)
    agrees([made], (2, 32), constants)


def test_weights_of_four_bits_have_their_norm() -> None:
    made, constants = packed_weights(zeros=False)
    q = constants["q"].reshape(5, -1)
    levels = np.stack([q & 15, q >> 4], -1).reshape(5, 2, 16).astype(float) - 8.0
    norm = np.linalg.norm((levels * constants["s"].reshape(5, 2, 1)).reshape(5, 32), 2)
    model = onnx_bytes([made], {"x": (1, 32)}, ["y"], constants)
    found = files.analyze(model, {"methods": ["autolip"]})["result"]["upper"]["value"]
    assert norm * (1 - 1e-12) <= found <= norm * (1 + 1e-6)


def test_stored_integers_with_a_scale() -> None:
    constants = {"q": np.arange(-8, 8, dtype=np.int8).reshape(4, 4), "s": np.float32(0.1), "z": np.int8(2)}
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"], domain="com.microsoft"),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    agrees(nodes, (2, 4), constants)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_distances(metric: str) -> None:
    agrees([microsoft("CDist", ["x", "c"], metric=metric)], (2, WIDTH), {"c": weights(4, WIDTH)})


def classical(operator: str, outputs: list[str] | None = None, **attributes: Any) -> Any:
    return node(operator, ["x"], outputs or ["y"], domain="ai.onnx.ml", **attributes)


@pytest.mark.parametrize("made", [
    classical("Scaler", offset=[1.0, 2.0, 3.0], scale=[0.5, 0.25, 2.0]),
    classical("Scaler", offset=[1.0], scale=[0.5]),
    classical("LinearRegressor", coefficients=[1.0, 2.0, 3.0, -1.0, 0.5, 0.0], intercepts=[1.0, -1.0], targets=2),
    classical("Normalizer", norm="L2"), classical("Normalizer", norm="L1"), classical("Normalizer", norm="MAX"),
])  # fmt: skip
def test_classical_operators(made: Any) -> None:
    agrees([made], (2, 3), offset=4.0)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX"])
def test_the_scores_of_a_linear_classifier_are_bounded_beside_its_label(transform: str) -> None:
    """skl2onnx: one output jumps, the other does not."""
    attributes = {"coefficients": [1.0, 2.0, -1.0, 0.5, 0.0, 3.0], "intercepts": [0.0, 1.0, 2.0]}
    made = classical(
        "LinearClassifier", ["label", "y"], classlabels_ints=[0, 1, 2], post_transform=transform, **attributes
    )
    model = onnx_bytes([made], {"x": (1, 2)}, ["y"])
    found = files.analyze(model, {"methods": ["autolip"], "output": "auto"})["result"]["upper"]["value"]
    norm = np.linalg.norm(np.array(attributes["coefficients"]).reshape(3, 2), 2)
    factor = 1.0 if transform == "NONE" else 0.5
    assert factor * norm * (1 - 1e-9) <= found <= factor * norm * (1 + 1e-6)


def test_what_another_domain_calls_by_a_known_name_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match=r"domain 'org\.example'"):
        capture(onnx_bytes([node("Relu", ["x"], ["y"], domain="org.example")], {"x": (1, 3)}, ["y"]))


def test_quantised_activations_jump() -> None:
    made = node("QuantizeLinear", ["x", "s"], ["q"], domain="com.microsoft")
    back = node("DequantizeLinear", ["q", "s"], ["y"], domain="com.microsoft")
    model = onnx_bytes([made, back], {"x": (1, 3)}, ["y"], {"s": np.float32(0.1)})
    with pytest.raises(Discontinuous, match="send the float model"):
        files.analyze(model, {"methods": ["autolip"]})
    offset = files.analyze(model, {"methods": ["autolip"], "rounding": "noise", "norm": "inf"})["result"]["offset"]
    assert offset["value"] == pytest.approx(np.float32(0.1), rel=1e-6)


def test_an_ensemble_of_trees_jumps() -> None:
    made = classical(
        "TreeEnsembleRegressor", n_targets=1, nodes_falsenodeids=[2, 0, 0], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_nodeids=[0, 1, 2], nodes_treeids=[0, 0, 0],
        nodes_truenodeids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0], target_ids=[0, 0], target_nodeids=[1, 2],
        target_treeids=[0, 0], target_weights=[1.0, 2.0],
    )  # fmt: skip
    with pytest.raises(Discontinuous, match="ensemble of trees, which jumps at every split"):
        capture(onnx_bytes([made], {"x": (1, 2)}, ["y"]))


def test_a_mask_of_padding_is_refused_by_name() -> None:
    constants = {"w": weights(WIDTH, 3 * WIDTH), "b": weights(3 * WIDTH), "m": i64(1, 1, 0).astype(np.int32)[None]}
    made = microsoft("Attention", ["x", "w", "b", "m"], num_heads=HEADS)
    with pytest.raises(UnsupportedOperator, match=r"Attention at .*com.microsoft.*masks of padding"):
        capture(onnx_bytes([made], {"x": TOKENS}, ["y"], constants))
