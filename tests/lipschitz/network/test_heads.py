"""Heads that jump: the tensor before them is named, and analysed with `output: auto`."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto

from app.lipschitz.errors import Discontinuous, InvalidRequest
from app.lipschitz.files import analyze, graph
from tests.lipschitz.ingest.onnx_models import i64, node, onnx_bytes, weights

BODY = [node("Gemm", ["x", "w"], ["h"], name="hidden"), node("Relu", ["h"], ["a"], name="relu"),
        node("Gemm", ["a", "v"], ["logits"], name="last")]  # fmt: skip
STORED = {"w": weights(4, 5), "v": weights(5, 3)}
REQUEST = {"methods": ["autolip"], "budget_s": 30}

CAST = node("Cast", ["g"], ["y"], to=TensorProto.FLOAT)
HEADS = {
    "argmax": ([node("ArgMax", ["logits"], ["g"], axis=1), CAST], ["last"]),
    "indices": ([node("TopK", ["logits", "k"], ["t", "g"]), CAST], ["last"]),
    "threshold": ([node("Greater", ["logits", "zero"], ["g"]), CAST], ["last"]),
    "sign": ([node("Sign", ["logits"], ["y"])], ["last"]),
    "round": ([node("Sigmoid", ["logits"], ["p"], name="squash"), node("Round", ["p"], ["y"])], ["squash"]),
}  # fmt: skip


def model(head: list[NodeProto], outputs: tuple[str, ...] = ("y",)) -> bytes:
    return onnx_bytes([*BODY, *head], {"x": [1, 4]}, outputs, STORED | {"zero": np.zeros(1, "f4"), "k": i64(1)})


@pytest.mark.parametrize("name", HEADS)
def test_what_comes_before_a_jump_is_named_listed_and_analysed(name: str) -> None:
    head, before = HEADS[name]
    data = model(head)
    with pytest.raises(Discontinuous, match=f"before it is '{before[0]}'"):
        analyze(data, REQUEST)
    assert graph(data)["choices"] == before
    result = analyze(data, REQUEST | {"output": "auto"})["result"]
    assert (result["output"]["name"], result["output"]["names"]) == (before[0], before)
    assert "discontinuous" in result["output"]["reason"]
    named = analyze(data, REQUEST | {"output": before[0]})["result"]
    assert result["upper"] == named["upper"]
    if before == ["last"]:
        plain = analyze(model([], ("logits",)), REQUEST)["result"]
        assert plain["upper"] == result["upper"]


def test_outputs_that_do_not_jump_are_kept() -> None:
    data = model(HEADS["argmax"][0], ("logits", "y"))
    result = analyze(data, REQUEST | {"output": "auto"})["result"]
    assert result["output"]["names"] == ["logits"]
    assert "left out" in result["output"]["reason"]


def test_auto_without_jumps_is_all_outputs() -> None:
    data = model([], ("logits", "a"))
    auto, plain = (analyze(data, REQUEST | {"output": output})["result"] for output in ("auto", None))
    assert auto["upper"] == plain["upper"]
    assert auto["output"] is None
    assert graph(data)["choices"] == []


def test_a_witness_and_a_certificate_are_those_of_what_was_chosen() -> None:
    data = model(HEADS["argmax"][0])
    found = analyze(data, {"methods": ["autolip", "gradient"], "output": "auto", "budget_s": 30})
    plain = analyze(model([], ("logits",)), {"methods": ["autolip"], "budget_s": 30})["result"]
    assert 0 < found["result"]["lower"]["value"] <= found["result"]["upper"]["value"]
    assert found["result"]["upper"]["value"] == plain["upper"]["value"]
    assert found["certificate"]["function"]["output"] == "auto"


def test_names_that_there_are_none_of() -> None:
    with pytest.raises(InvalidRequest, match="no output 'z'"):
        analyze(model([], ("logits",)), REQUEST | {"output": "z"})


def detector() -> bytes:
    """Boxes and scores out of one layer, then a choice of them."""
    nodes = [
        *BODY,
        node("Reshape", ["logits", "b"], ["boxes"], name="boxes"),
        node("Reshape", ["a", "s"], ["raw"]),
        node("Sigmoid", ["raw"], ["scores"], name="scores"),
        node("NonMaxSuppression", ["boxes", "scores", "k"], ["chosen"], name="nms"),
        node("Cast", ["chosen"], ["y"], to=TensorProto.FLOAT),
    ]
    stored = {"w": weights(4, 2), "v": weights(2, 8), "b": i64(1, 2, 4), "s": i64(1, 1, 2), "k": i64(3)}
    return onnx_bytes(nodes, {"x": [1, 4]}, ["y"], stored)


def test_a_choice_of_boxes_is_left_out() -> None:
    data = detector()
    with pytest.raises(Discontinuous, match=r"NonMaxSuppression at 'nms'.*before it is 'boxes', 'scores'"):
        analyze(data, REQUEST)
    assert graph(data)["choices"] == ["boxes", "scores"]
    result = analyze(data, REQUEST | {"output": "auto"})["result"]
    assert result["output"]["names"] == ["boxes", "scores"]
    assert "NonMaxSuppression" in result["output"]["reason"]
    assert result["upper"]["value"] > 0
    assert analyze(data, REQUEST | {"output": "scores"})["result"]["upper"]["value"] <= result["upper"]["value"]
