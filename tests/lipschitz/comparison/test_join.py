"""One graph of two: what is equal is found equal across formats, what cannot be compared is named."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from app.lipschitz.artifact import from_bytes
from app.lipschitz.comparison.join import join
from app.lipschitz.errors import IncomparableModels
from app.lipschitz.ingest import capture_artifact
from tests.lipschitz.helpers import captured

CNN = nn.Sequential(
    nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3), nn.Tanh(), nn.Flatten(),
    nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 3), nn.Softmax(-1),
)  # fmt: skip
X = torch.zeros(1, 1, 8, 8)


def as_onnx(module: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.onnx.export(module, (X,), file, dynamo=False)
    return file.getvalue()


def as_torchscript(module: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, X), file)
    return file.getvalue()


def as_exported(module: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.export.save(torch.export.export(module, (X,)), file)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_one_function_in_three_formats_is_identical() -> None:
    torch.manual_seed(0)
    model = CNN.eval().float()
    forms = [
        from_bytes(capture_artifact(write(model), [[1, 1, 8, 8]])) for write in (as_onnx, as_torchscript, as_exported)
    ]
    assert [join(forms[i], forms[j]).identical for i, j in ((0, 1), (0, 2), (1, 2), (0, 0))] == [True] * 4


@pytest.mark.parametrize("change", ["weight", "bias", "slope", "order"])
def test_a_small_change_is_no_identity(change: str) -> None:
    linear, other = nn.Linear(3, 3).double(), nn.Linear(3, 3).double()
    other.load_state_dict(linear.state_dict())
    slope = 0.1
    with torch.no_grad():
        if change == "weight":
            other.weight[0, 0] = torch.nextafter(linear.weight[0, 0], torch.tensor(9.0, dtype=torch.float64))
        if change == "bias":
            other.bias[1] += 2.0**-60 + linear.bias[1].abs() * 2.0**-50
    if change == "slope":
        slope = 0.1 + 2.0**-50
    first = nn.Sequential(linear, nn.LeakyReLU(0.1))
    second = nn.Sequential(other, nn.LeakyReLU(slope))
    if change == "order":
        second = nn.Sequential(nn.LeakyReLU(0.1), other)
    assert not join(captured(first, (1, 3)), captured(second, (1, 3))).identical


@pytest.mark.filterwarnings("ignore")
def test_reshapes_to_one_shape_are_equal_steps() -> None:
    def scripted(function: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
        file = io.BytesIO()
        torch.jit.save(torch.jit.trace(function, torch.zeros(2, 3)), file)
        return capture_artifact(file.getvalue(), [[2, 3]])

    first = scripted(lambda x: torch.relu(x.reshape(1, 6)))
    second = scripted(lambda x: torch.relu(x.flatten().unsqueeze(0)))
    third = scripted(lambda x: torch.relu(x.reshape(6, 1).t()))
    assert join(from_bytes(first), from_bytes(second)).identical
    assert not join(from_bytes(first), from_bytes(third)).identical


@pytest.mark.parametrize(("shapes", "said"), [(((1, 3), (1, 4)), "inputs"), (((1, 3), (3,)), "inputs")])
def test_inputs_of_other_shapes_are_refused_by_name(shapes: tuple[tuple[int, ...], ...], said: str) -> None:
    first, second = (captured(torch.relu, shape) for shape in shapes)
    with pytest.raises(IncomparableModels, match=said):
        join(first, second)


def test_outputs_of_other_shapes_are_refused_by_name() -> None:
    with pytest.raises(IncomparableModels, match="outputs"):
        join(captured(nn.Linear(3, 2), (1, 3)), captured(nn.Linear(3, 4), (1, 3)))
