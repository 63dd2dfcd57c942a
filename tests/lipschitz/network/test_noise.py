"""Rounding counted as noise: |f(x) - f(y)| <= L |x - y| + e holds for the model as it is executed, rounding and all."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto, TensorProto, helper
from pydantic import ValidationError
from torch import Tensor, nn

from app.api.views import bracket_of
from app.commands.show import summary
from app.contract.question import Question
from app.contract.result import ResultView
from app.contract.series import asked_of
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.function import function
from app.lipschitz.errors import Discontinuous, InvalidRequest, LipschitzError
from app.lipschitz.files import analyze
from app.pages.words import interval, meaning
from app.pages.words import question as asked
from tests.lipschitz.ingest.onnx_models import node, onnx_bytes

BOX = {"kind": "box", "lower": -1.0, "upper": 1.0}
ALL = {"kind": "all"}


def result(model: bytes, **fields: Any) -> dict[str, Any]:
    plain = {"methods": ["autolip", "lipsdp"], "rounding": "noise", "budget_s": 20}
    answer: dict[str, Any] = analyze(model, plain | fields)["result"]
    return answer


def one_step(operator: str, **attributes: Any) -> bytes:
    return onnx_bytes([node(operator, ["x"], ["y"], **attributes)], {"x": (1, 4)}, ["y"])


def traced(model: nn.Module, size: int) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, size),)), buffer)
    return buffer.getvalue()


def norm_of(rows: np.ndarray, p: str) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(rows, float(p), axis=-1)
    return lengths


def worst(run: Any, size: int, answer: dict[str, Any], p: str = "2") -> float:
    """The largest |f(x) - f(y)| - L |x - y| - e over pairs of the box, far apart and close."""
    random = np.random.default_rng(5)
    x = random.uniform(-1, 1, (400, size))
    y = np.concatenate([random.uniform(-1, 1, (100, size)), x[100:] + 0.02 * random.normal(size=(300, size))]).clip(
        -1, 1
    )
    moved = np.stack([run(a) - run(b) for a, b in zip(x, y, strict=True)])
    bound = answer["upper"]["value"] * norm_of(x - y, p) + answer["offset"]["value"]
    return float((norm_of(moved, p) - bound).max())


@pytest.mark.parametrize(("operator", "step"), [("Floor", 1.0), ("Ceil", 1.0), ("Round", 1.0)])
@pytest.mark.parametrize(("norm", "factor"), [("1", 4.0), ("2", 2.0), ("inf", 1.0)])
def test_one_step_is_the_identity_plus_its_step(operator: str, step: float, norm: str, factor: float) -> None:
    answer = result(one_step(operator), methods=["autolip"], norm=norm)
    assert answer["upper"]["value"] == pytest.approx(1.0, rel=1e-9)
    assert answer["offset"]["value"] == pytest.approx(step * factor, rel=1e-9)
    assert answer["offset"]["guarantee"] == "certified"
    assert answer["offset"]["steps"] == [{"name": operator, "op": operator, "step": step, "entries": 4}]


def test_the_step_is_attained() -> None:
    """floor(1) - floor(1 - 2^-40) is 1: no smaller e would do."""
    answer = result(one_step("Floor"), methods=["autolip"], norm="inf")
    assert 1.0 <= answer["upper"]["value"] * 2.0**-40 + answer["offset"]["value"] <= 1.0 + 1e-9


def test_noise_of_two_steps_goes_through_what_comes_after() -> None:
    weight = np.array([[3.0], [4.0]], dtype=np.float32)
    nodes = [node("Round", ["x"], ["a"]), node("MatMul", ["a", "w"], ["b"]), node("Floor", ["b"], ["y"])]
    answer = result(onnx_bytes(nodes, {"x": (1, 2)}, ["y"], {"w": weight}), methods=["autolip"])
    assert answer["upper"]["value"] == pytest.approx(5.0, rel=1e-6)
    assert answer["offset"]["value"] == pytest.approx(5.0 * np.sqrt(2.0) + 1.0, rel=1e-6)


def quantised(random: np.random.Generator) -> tuple[list[NodeProto], dict[str, Any]]:
    constants = {
        "s": np.float32(0.07), "z": np.int8(3), "u": np.array([0.1, 0.2, 0.05, 0.1, 0.3], dtype=np.float32),
        "v": np.zeros(5, dtype=np.uint8),
        "a": random.normal(size=(3, 5)).astype(np.float32), "b": random.normal(size=(5, 2)).astype(np.float32),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("MatMul", ["d", "a"], ["h"]), node("Relu", ["h"], ["r"]),
        node("QuantizeLinear", ["r", "u", "v"], ["k"], axis=1),
        node("DequantizeLinear", ["k", "u", "v"], ["e"], axis=1),
        node("Mul", ["e", "e"], ["g"]), node("MatMul", ["g", "b"], ["y"]),
    ]  # fmt: skip
    return nodes, constants


@pytest.mark.parametrize("norm", ["2", "inf"])
@pytest.mark.parametrize("seed", range(2))
def test_quantised_onnx_as_onnxruntime_runs_it(seed: int, norm: str) -> None:
    nodes, constants = quantised(np.random.default_rng(seed))
    data = onnx_bytes(nodes, {"x": (1, 3)}, ["y"], constants)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(x: np.ndarray) -> np.ndarray:
        value: np.ndarray = session.run(None, {"x": x[None].astype(np.float32)})[0][0]
        return value

    answer = result(data, domain=BOX, norm=norm)
    assert len(answer["offset"]["steps"]) == 2
    assert worst(run, 3, answer, norm) <= 1e-4
    with pytest.raises(Discontinuous, match=r'QuantizeLinear.*"rounding": "noise".*send the float model'):
        result(data, domain=BOX, rounding="refuse")


class Steps(nn.Module):
    """Every kind of step, one after another, with a product that needs the ranges after the noise."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(len(kind))
        self.kind, self.first, self.last = kind, nn.Linear(3, 6), nn.Linear(6, 2)
        self.scale, self.zero = nn.Buffer(0.1 + 0.02 * torch.arange(6)), nn.Buffer(torch.zeros(6, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        rounded = {
            "trunc": lambda: torch.trunc(3 * h) / 3,
            "decimals": lambda: torch.round(h, decimals=1),
            "quotient": lambda: torch.div(h, 0.25, rounding_mode="floor") * 0.25,
            "cast": lambda: (h * 10).to(torch.int32).to(torch.float32) / 10,
            "fake": lambda: torch.fake_quantize_per_tensor_affine(h, 0.1, 2, 0, 15),
            "tensors": lambda: torch.fake_quantize_per_tensor_affine(h, self.scale[0], self.zero[0], 0, 15),
            "channels": lambda: torch.fake_quantize_per_channel_affine(h, self.scale, self.zero, 1, 0, 15),
            "product": lambda: torch.round(2 * h) * h,
        }[self.kind]()
        return self.last(rounded)


@pytest.mark.parametrize("kind", ["trunc", "decimals", "quotient", "cast", "fake", "tensors", "channels", "product"])
def test_sampled_pairs_of_torch_models(kind: str) -> None:
    model = Steps(kind)
    answer = result(traced(model, 3), domain=BOX, methods=["autolip"])

    def run(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            value: np.ndarray = model(torch.tensor(x[None], dtype=torch.float32))[0].numpy()
        return value

    assert worst(run, 3, answer) <= 1e-4
    assert worst(run, 3, {**answer, "offset": {"value": 0.0}}) > 0.0, "without e the inequality is broken"


def test_ranges_after_a_step_hold_the_noise() -> None:
    """round(x)^2 on [-0.6, 0.6] takes slopes up to 2: (x + d)^2 with |d| <= 1/2 is as steep as 2.2."""
    nodes = [node("Round", ["x"], ["r"]), node("Mul", ["r", "r"], ["y"])]
    box = {"kind": "box", "lower": -0.6, "upper": 0.6}
    answer = result(onnx_bytes(nodes, {"x": (1, 1)}, ["y"]), methods=["autolip"], domain=box)
    assert 2.2 <= answer["upper"]["value"] <= 2.2001
    assert 2.2 <= answer["offset"]["value"] <= 2.2001


def test_a_cast_whose_argument_may_leave_the_integers_is_refused() -> None:
    nodes = [node("Cast", ["x"], ["i"], to=6), node("Cast", ["i"], ["y"], to=1)]
    data = onnx_bytes(nodes, {"x": (1, 2)}, ["y"])
    with pytest.raises(Discontinuous, match="not known to stay there"):
        result(data, methods=["autolip"])
    assert result(data, methods=["autolip"], domain=BOX)["offset"]["value"] == pytest.approx(2 * np.sqrt(2), rel=1e-9)


def test_methods_that_say_nothing_are_skipped_and_no_certificate_is_written() -> None:
    answer = analyze(
        one_step("Round"), {"rounding": "noise", "methods": ["autolip", "exact", "jacobian"], "domain": BOX}
    )
    assert answer["certificate"] is None
    told = {one["method"]: one["status"] for one in answer["result"]["estimates"]}
    assert told == {"autolip": "ok", "exact": "skipped", "jacobian": "skipped"}
    assert answer["result"]["sensitivities"] is None
    assert any("no Lipschitz constant of the model itself" in warning for warning in answer["result"]["warnings"])


def test_the_witness_is_of_the_model_without_rounding() -> None:
    answer = result(one_step("Round"), methods=["autolip", "gradient"], domain=BOX)
    assert answer["lower"]["value"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("norm", [{"input": "inf", "output": "2"}, {"input": "2", "output": "1"}])
def test_the_offset_is_in_the_output_s_norm(norm: dict[str, str]) -> None:
    answer = result(one_step("Round"), norm=norm)
    assert answer["offset"]["value"] == pytest.approx({"2": 2.0, "1": 4.0}[norm["output"]], rel=1e-9)


def test_units_scale_the_noise() -> None:
    answer = result(one_step("Round"), methods=["autolip"], norm="inf", output_scale=0.5)
    assert answer["offset"]["value"] == pytest.approx(2.0, rel=1e-9)


@pytest.mark.parametrize("more", [{"certify": True}, {"gate": {"max_upper": 1.0}}, {"target": {"kind": "margins"}}])
def test_what_needs_a_constant_of_the_model_itself_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="rounding: noise"):
        Question.model_validate({"rounding": "noise", **more})
    with pytest.raises((InvalidRequest, LipschitzError)):
        result(one_step("Round"), **more)


def test_other_jumps_stay_refused() -> None:
    with pytest.raises(Discontinuous, match="sign"):
        result(one_step("Sign"))


def test_a_model_without_rounding_has_no_noise() -> None:
    answer = result(one_step("Relu"))
    assert (answer["offset"]["value"], answer["offset"]["steps"]) == (0.0, [])
    assert result(one_step("Relu"), rounding="refuse")["offset"] is None


def test_the_page_says_plus_e() -> None:
    question = Question.model_validate({"rounding": "noise"})
    view = ResultView.model_validate(result(one_step("Floor"), methods=["autolip"], norm="inf"))
    assert interval(view) == "L ≤ 1, ‖f(x) − f(y)‖ ≤ L ‖x − y‖ + 1"
    assert "moves the output by at most 1.0" in meaning(question, view)
    assert "a pair reaches" not in meaning(question, view)
    assert asked(question).endswith("rounding as noise")
    printed = summary("m.onnx", view)
    assert "- <= Lipschitz constant without rounding" in printed
    assert "|f(x) - f(y)| <= 1 |x - y| + 1.0" in printed


def test_a_result_in_short_says_it_too() -> None:
    view = bracket_of(result(one_step("Floor"), methods=["autolip"], norm="inf"))
    assert view is not None
    assert (view.upper, view.offset) == (1.0, 1.0)


def test_a_series_has_one_question_where_rounding_is_refused() -> None:
    """Answers that are older than the field stay comparable."""
    assert asked_of({"norm": "2", "rounding": "refuse"}) == asked_of({"norm": "2"}) == {"norm": "2"}


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT8E4M3FN])
def test_grids_that_torch_does_not_hold_are_refused(kind: int) -> None:
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    model = onnx.load_model_from_string(onnx_bytes(nodes, {"x": (1, 3)}, ["y"], {"s": np.float32(0.1)}, opset=21))
    model.graph.initializer.append(helper.make_tensor("z", kind, [], [0]))
    with pytest.raises(LipschitzError, match="QuantizeLinear"):
        result(model.SerializeToString())


def test_no_certificate_speaks_of_noise() -> None:
    stated = {"inputs": None, "input": None, "output": None, "norm": "2", "domain": {"kind": "all"}}
    assert function({**stated, "target": {"kind": "all"}})
    with pytest.raises(InvalidCertificate):
        function({**stated, "target": {"kind": "all"}, "rounding": "noise"})
