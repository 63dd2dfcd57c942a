"""TorchScript and torch.export: the same function as the ONNX file, or a refusal that says why."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import Interpreter

from app.lipschitz import files
from app.lipschitz.artifact.captured import Captured
from app.lipschitz.errors import (
    DataDependentControlFlow,
    Discontinuous,
    InvalidInputs,
    InvalidModel,
    LipschitzError,
    StatefulModel,
    UnsupportedOperator,
)
from app.lipschitz.ingest import capture, inspect
from tests.lipschitz.ingest.onnx_models import mlp, weights


def script(module: nn.Module) -> bytes:
    return archive(module, torch.jit.script)


def archive(module: nn.Module, compiled: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(compiled(module.eval()), buffer)
    return buffer.getvalue()


def export(module: nn.Module, *example: Tensor, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module.eval(), example, **options), buffer)
    return buffer.getvalue()


class Mlp(nn.Module):
    """The network of `mlp()`."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0, self.fc1 = nn.Linear(3, 4), nn.Linear(4, 2)
        stored = [weights(4, 3), weights(4, seed=1), weights(2, 4, seed=2), weights(2, seed=3)]
        with torch.no_grad():
            for parameter, value in zip(self.parameters(), stored, strict=True):
                parameter.copy_(torch.from_numpy(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc1(torch.relu(self.fc0(x)))


def outputs(captured: Captured, *inputs: Tensor) -> list[Tensor]:
    return list(Interpreter(captured.graph).run(*inputs))


def three_formats() -> dict[str, Captured]:
    example = torch.zeros(2, 3)
    dynamic = export(Mlp(), example, dynamic_shapes=({0: torch.export.Dim("batch")},))
    return {
        "onnx": capture(mlp()),
        "torchscript": capture(script(Mlp()), [[1, 3]]),
        "traced": capture(archive(Mlp(), lambda m: torch.jit.trace(m, example)), {"x": [1, 3]}),
        "torch_export": capture(dynamic),
    }


def test_three_formats_give_one_function() -> None:
    x = torch.from_numpy(weights(1, 3, seed=7)).double()
    expected = Mlp().double()(x)
    for name, captured in three_formats().items():
        assert [spec.shape for spec in captured.inputs] == [(1, 3)], name
        assert [spec.shape for spec in captured.outputs] == [(1, 2)], name
        (found,) = outputs(captured, x)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


def test_graphs_keep_the_contract() -> None:
    for name, captured in three_formats().items():
        graph = captured.graph.graph
        assert isinstance(next(n for n in graph.nodes if n.op == "output").args[0], tuple)
        for node in graph.nodes:
            assert node.op in {"placeholder", "get_attr", "call_function", "output"}
            assert node.meta["origin"].name, (name, node)
            if node.op == "call_function":
                assert isinstance(node.target, torch._ops.OpOverload)
                assert node.meta["shape"] == tuple(node.meta["val"].shape)
            if node.op == "get_attr":
                assert getattr(captured.graph, node.target).dtype == torch.float64


def test_layers_are_called_as_in_the_file() -> None:
    expected = {"onnx": ("fc0", "Gemm"), "torchscript": ("fc0", "addmm"), "torch_export": ("fc0", "addmm")}
    found = three_formats()
    for name, label in expected.items():
        product = next(n for n in found[name].graph.graph.nodes if n.target is torch.ops.aten.addmm.default)
        assert (product.meta["origin"].name, product.meta["origin"].op) == label


def test_inspections() -> None:
    scripted = inspect(script(Mlp()))
    assert (scripted.format, scripted.parameters, scripted.operators) == ("torchscript", 26, {"linear": 2, "relu": 1})
    assert [(spec.name, spec.datatype, spec.shape) for spec in scripted.inputs] == [("x", "FP32", ())]
    exported = inspect(export(Mlp(), torch.zeros(2, 3), dynamic_shapes=({0: torch.export.Dim("batch")},)))
    assert (exported.format, exported.parameters, exported.operators) == ("torch_export", 26, {"linear": 2, "relu": 1})
    assert [spec.shape for spec in exported.inputs] == [(-1, 3)]


def test_double_and_half_precision() -> None:
    x = torch.from_numpy(weights(1, 3)).double()
    captured = capture(script(Mlp().double()), [[1, 3]])
    assert captured.inputs[0].datatype == "FP64"
    torch.testing.assert_close(outputs(captured, x)[0], Mlp().double()(x), rtol=1e-14, atol=1e-14)
    half = capture(script(Mlp().half()), [[1, 3]])
    assert half.inputs[0].datatype == "FP16"
    torch.testing.assert_close(outputs(half, x)[0], Mlp().half().double()(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("layer", "proposal"), [
    (nn.Conv2d(3, 8, 3), "[[1, 3, H, W]]"), (nn.Conv1d(4, 8, 3, groups=2), "[[1, 4, L]]"),
])  # fmt: skip
def test_missing_shapes_are_proposed(layer: nn.Module, proposal: str) -> None:
    with pytest.raises(InvalidInputs, match=re.escape(f"inputs={proposal}")):
        capture(script(nn.Sequential(layer, nn.ReLU())))


class History(nn.Module):
    """A policy that encodes six observations of 45 numbers and puts the result beside the last."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.actor = nn.Linear(270, 16), nn.Linear(45 + 16, 12)

    def forward(self, history: Tensor) -> Tensor:
        return self.actor(torch.cat([history[:, :45], torch.relu(self.encoder(history))], 1))


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step, self.last = nn.Linear(45, 8), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.step(x.view(-1, 6, 45))).flatten(1))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.actor = nn.Linear(100, 20), nn.Linear(65, 3)

    def forward(self, observation: Tensor, history: Tensor) -> Tensor:
        return self.actor(torch.cat([observation, torch.relu(self.encoder(history))], 1))


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(4, 2, 3, 2), nn.Linear(2 * 41 * 41, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.conv(x)).flatten(1))


@pytest.mark.parametrize(
    ("module", "shapes"),
    [(Mlp(), [[1, 3]]), (History(), [[1, 270]]), (Steps(), [[1, 270]]), (Two(), [[1, 45], [1, 100]]),
     (Image(), [[1, 4, 84, 84]])],
)  # fmt: skip
def test_the_only_shapes_that_run_are_taken_and_told(module: nn.Module, shapes: list[list[int]]) -> None:
    captured = capture(script(module))
    assert [list(spec.shape) for spec in captured.inputs] == shapes
    assert [warning for warning in captured.warnings if f"inputs={shapes}" in warning]


class Frames(nn.Module):
    """A policy that slices its history: of a longer one the end is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.actor = nn.Linear(12, 3)

    def forward(self, history: Tensor) -> Tensor:
        return self.actor(torch.cat([history[:, 6:14], history[:, 30:34]], 1))


class Normalised(nn.Module):
    """A policy that first subtracts what it has seen on average: one number alone would be repeated."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.linspace(-1.0, 1.0, 45))
        self.actor = nn.Linear(45, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.actor(x - self.mean)


@pytest.mark.parametrize(("module", "shapes", "why"), [
    (Frames(), [[1, 34]], "all that it reads of longer ones"),
    (Normalised(), [[1, 45]], "without repeating one number"),
])  # fmt: skip
def test_what_else_runs_and_means_nothing_is_not_counted(module: nn.Module, shapes: list[list[int]], why: str) -> None:
    captured = capture(script(module))
    assert [list(spec.shape) for spec in captured.inputs] == shapes
    assert [warning for warning in captured.warnings if why in warning]


def test_a_vector_of_which_the_end_counts_is_asked_for() -> None:
    class Total(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 3:].sum(1)

    with pytest.raises(InvalidInputs, match="give inputs"):
        capture(script(Total()))


class UnitLatent(nn.Module):
    """As himloco's policies are exported: with a branch on an argument that is None."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.encoder(x), p=2.0, dim=-1)


def test_branches_that_are_never_taken_are_no_obstacle() -> None:
    module = UnitLatent()
    x = torch.from_numpy(weights(1, 6)).double()
    captured = capture(script(module))
    torch.testing.assert_close(outputs(captured, x)[0], module.double()(x), rtol=1e-12, atol=1e-12)


class WithStates(nn.Module):
    """A recurrent actuator whose states go in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 3)

    def forward(self, x: Tensor, states: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, states = self.lstm(x, states)
        return y, states


def test_a_tuple_of_states_is_several_inputs() -> None:
    module, shapes = WithStates(), [[4, 1, 2], [1, 1, 3], [1, 1, 3]]
    captured = capture(script(module), shapes)
    assert [spec.name for spec in captured.inputs] == ["x", "states.0", "states.1"]
    x, h, c = (torch.from_numpy(weights(*shape, seed=k)).double() for k, shape in enumerate(shapes))
    y, (last, cell) = module.double()(x, (h, c))
    for found, expected in zip(outputs(captured, x, h, c), (y, last, cell), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    box = {"kind": "box", "lower": -1, "upper": 1}
    fields = {"inputs": shapes, "domain": box, "methods": ["autolip", "gradient"], "budget_s": 1}
    result = files.analyze(script(module.float()), fields)["result"]
    assert 0.1 < result["lower"]["value"] <= result["upper"]["value"] < 1e5


@pytest.mark.parametrize(("words", "answer"), [
    ("Unknown builtin op: torchvision::nms.\nCould not find", "torchvision::nms, which is no operator of torch itself"),
    ("Unknown type name '__torch__.torch.classes.xnnpack.Conv2dOpContext':", "optimize_for_mobile"),
    ("Unknown type name '__torch__.torch.classes.mine.Thing':", "mine.Thing"),
])  # fmt: skip
def test_archives_that_need_other_code_say_which(words: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(words)

    data = script(Mlp())
    monkeypatch.setattr(torch.jit, "load", fail)
    with pytest.raises(UnsupportedOperator, match=re.escape(answer)):
        inspect(data)


class Quantised(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        q = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        return torch.dequantize(torch.ops.quantized.add(q, q, 0.1, 0))


def test_quantised_activations_jump() -> None:
    with pytest.raises(Discontinuous, match=r"quantized::add rounds to a grid.*send the float model"):
        capture(script(Quantised()), [[1, 3]])


def test_of_several_shapes_none_is_taken() -> None:
    with pytest.raises(InvalidInputs, match="give inputs"):
        capture(script(nn.ReLU()))


def test_shapes_that_the_model_rejects() -> None:
    with pytest.raises(InvalidInputs, match=r"\[\[1, 5\]\]"):
        capture(script(Mlp()), [[1, 5]])


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if bool(x.sum() > 0):
            return x * 2
        return x * 3


class Trips(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x.abs().sum().item())):
            x = x * 0.5
        return x


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Compared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if torch.equal(x, x * 2) else x * 2


class Positions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.nonzero(x).sum() * x


@pytest.mark.parametrize("module", [Branch(), Trips(), Masked(), Compared(), Positions()])
def test_data_dependent_control_flow(module: nn.Module) -> None:
    with pytest.raises(DataDependentControlFlow):
        capture(script(module), [[1, 3]])


class OnShape(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2 and x.shape[0] == 1:
            return x * 2
        return x * 3


class OnConstant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([2.0]))

    def forward(self, x: Tensor) -> Tensor:
        if bool(self.gain > 1):
            return x * 2
        return x * 3


@pytest.mark.parametrize("module", [OnShape(), OnConstant()])
def test_conditions_on_shapes_and_constants_fold(module: nn.Module) -> None:
    x = torch.ones(1, 3, dtype=torch.float64)
    assert torch.equal(outputs(capture(script(module), [[1, 3]]), x)[0], 2 * x)


class Memory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("h", torch.zeros(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.h.copy_(0.5 * self.h + x)
        return self.h * 1.0


class SilentCounter(Memory):
    def forward(self, x: Tensor) -> Tensor:
        self.h.add_(1.0)
        return x * 2


class Attribute(Memory):
    def forward(self, x: Tensor) -> Tensor:
        self.h = self.h + x
        return self.h


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.rand_like(x)


@pytest.mark.parametrize("module", [Memory(), SilentCounter(), Attribute(), Noise()])
def test_state_and_randomness(module: nn.Module) -> None:
    with pytest.raises(StatefulModel):
        capture(script(module), [[1, 3]])


def test_one_step_of_a_model_with_state() -> None:
    data = script(Memory())
    with pytest.raises(StatefulModel, match=r'inputs={"x": \[1, 3\], "h": \[1, 3\]}'):
        capture(data, [[1, 3]])
    captured = capture(data, {"x": [1, 3], "h": [1, 3]})
    assert [spec.name for spec in captured.inputs] == ["x", "h"]
    assert [spec.name for spec in captured.outputs] == ["output", "next_h"]
    x, h = torch.tensor([[1.0, 2.0, 3.0]]).double(), torch.tensor([[4.0, 5.0, 6.0]]).double()
    for y in captured.graph(x, h):
        torch.testing.assert_close(y, 0.5 * h + x)
    upper = files.analyze(data, {"inputs": {"x": [1, 3], "h": [1, 3]}, "output": "next_h", "input": "h"})["result"][
        "upper"
    ]
    assert upper["value"] == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize("shape", [[3], [1, 4]])
def test_state_of_another_shape(shape: list[int]) -> None:
    with pytest.raises(InvalidInputs, match=r"Buffer 'h' holds \[1, 3\]"):
        capture(script(Memory()), {"x": [1, 3], "h": shape})


def test_dropout_in_training_mode_of_an_export() -> None:
    class Training(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x, 0.5, training=True)

    with pytest.raises(StatefulModel):
        capture(export(Training(), torch.ones(1, 8)))


def test_integer_inputs() -> None:
    class Lookup(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.table(x)

    with pytest.raises(UnsupportedOperator, match="integer"):
        capture(script(Lookup()), [[1, 3]])
    with pytest.raises(UnsupportedOperator, match="INT64"):
        capture(export(Lookup(), torch.zeros(1, 3, dtype=torch.int64)))


def test_scalar_arguments() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, rate: int) -> Tensor:
            return x * rate

    class Optional(nn.Module):
        def forward(self, x: Tensor, rate: int = 3) -> Tensor:
            return x * rate

    with pytest.raises(UnsupportedOperator, match="'rate' is INT64"):
        capture(script(Scaled()), [[1, 3]])
    x = torch.ones(1, 3, dtype=torch.float64)
    assert torch.equal(outputs(capture(script(Optional()), [[1, 3]]), x)[0], 3 * x)


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x + 1
        y[:, :2].mul_(3.0)
        x.relu_()
        return y + x


def test_overwriting_through_views_is_undone() -> None:
    x = torch.tensor([[-1.0, 2.0, 3.0]], dtype=torch.float64)
    captured = capture(script(InPlace()), [[1, 3]])
    assert not any(n.target._schema.is_mutable for n in captured.graph.graph.nodes if n.op == "call_function")
    assert torch.equal(outputs(captured, x)[0], InPlace()(x.clone()))


class Integers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n = torch.arange(3)
        return x * (n / 3) + 0.1 * torch.sqrt(n) + torch.zeros(3) + torch.full((3,), 0.1) @ torch.eye(3)


def test_constants_made_of_integers_are_promoted() -> None:
    x = torch.ones(1, 3, dtype=torch.float64)
    n = torch.arange(3, dtype=torch.float64)
    expected = x * (n / 3) + 0.1 * n.sqrt() + 0.1
    torch.testing.assert_close(outputs(capture(script(Integers()), [[1, 3]]), x)[0], expected, rtol=0, atol=1e-15)


def test_nested_outputs_are_flattened() -> None:
    class Nested(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
            return x * 2, [x * 3, x.argmax(-1)]

    captured = capture(script(Nested()), [[1, 3]])
    assert [spec.datatype for spec in captured.outputs] == ["FP32", "FP32", "INT64"]


def test_transformers_and_recurrent_layers_decompose() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.lstm = nn.LSTM(4, 3, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.lstm(self.encoder(x))[0]

    captured = capture(export(Sequence(), torch.zeros(1, 2, 4)))
    names = {str(n.target) for n in captured.graph.graph.nodes if n.op == "call_function"}
    assert not any("encoder" in name or "rnn" in name or "attention" in name for name in names)


def test_a_view_of_the_exporters_layout_is_a_reshape_of_ours() -> None:
    """torch 2.11 exports its encoder layer so: its kernel of attention lays heads side by side, the traced one not."""

    class Heads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = x.view(2, 2, 2).transpose(0, 1)[None]
            heads = nn.functional.scaled_dot_product_attention(heads, heads, heads)
            return heads.permute(2, 0, 1, 3).view(2, 4)

    graph = capture(export(Heads(), torch.zeros(2, 4))).graph.graph
    assert any("softmax" in str(node.target) for node in graph.nodes)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


def test_a_script_that_asks_whether_gradients_are_on_is_not_one_function() -> None:
    """The script of torch's encoder layer takes another way without gradients."""
    with pytest.raises(UnsupportedOperator, match=r"torch\.export"):
        capture(script(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)), [[1, 2, 4]])
    assert capture(script(Recurrent()), [[1, 2, 4]])


def test_scalars_computed_in_the_models_precision_are_told() -> None:
    class Gain(OnConstant):
        def forward(self, x: Tensor) -> Tensor:
            return x * float((self.gain * self.gain).sum())

    assert "frozen as rounded" in capture(script(Gain()), [[1, 3]]).warnings[0]


def test_broken_parameters() -> None:
    module = Mlp()
    with torch.no_grad():
        module.fc0.weight[0, 0] = float("nan")
    with pytest.raises(InvalidModel, match=r"fc0\.weight"):
        capture(script(module), [[1, 3]])


@pytest.mark.parametrize("cut", [10, 100, 1000, -1])
def test_truncated_archives(cut: int) -> None:
    for data in (script(Mlp()), export(Mlp(), torch.zeros(1, 3))):
        with pytest.raises(LipschitzError):
            inspect(data[:cut])
