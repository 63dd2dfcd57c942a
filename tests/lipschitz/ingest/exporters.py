"""One torch network through every exporter, and graphs in the style of Keras exporters."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from tests.lipschitz.ingest.onnx_models import i64, node, onnx_bytes


class Residual(nn.Module):
    """Two convolutions with batch norm beside a skip that strides by a 1x1 convolution where needed."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.norm2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out)
        self.skip = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.skip = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        inside = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(inside)) + self.skip(x))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Dropout(), nn.Linear(7, 3))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), Residual(4, 4), nn.Flatten(),
        nn.Linear(64, 5),
    )  # fmt: skip


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1), Residual(4, 4), Residual(4, 6, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip


def gelu_and_layer_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8, eps=0.1), nn.GELU(), nn.Linear(8, 8), nn.GELU("tanh"))


def conv1d() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 5, 2, 2), nn.LeakyReLU(0.1), nn.Conv1d(4, 4, 3, dilation=2, groups=2), nn.ELU(),
        nn.AvgPool1d(2), nn.ConvTranspose1d(4, 3, 4, 2, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(18, 2),
    )  # fmt: skip


NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (6,)), "cnn": (cnn, (3, 8, 8)), "resnet": (resnet, (3, 16, 16)),
    "gelu and layer norm": (gelu_and_layer_norm, (5, 6)), "conv1d": (conv1d, (2, 20)),
}  # fmt: skip


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """A network in evaluation mode whose batch norms have statistics and gains of their own."""
    torch.manual_seed(3)
    network = make().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return network


def dynamo_onnx(network: nn.Module, example: Tensor) -> bytes:
    """torch's current exporter, the batch left open."""
    with _quiet():
        program = torch.onnx.export(
            network, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def script_onnx(network: nn.Module, example: Tensor) -> bytes:
    """torch's older exporter, by TorchScript."""
    buffer = io.BytesIO()
    with _quiet():
        torch.onnx.export(
            network, (example,), buffer, dynamo=False, opset_version=20, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )  # fmt: skip
    return buffer.getvalue()


def jit_traced(network: nn.Module, example: Tensor) -> bytes:
    return _jit(lambda: torch.jit.trace(network, example))


def jit_scripted(network: nn.Module, example: Tensor) -> bytes:
    return _jit(lambda: torch.jit.script(network))


def jit_frozen(network: nn.Module, example: Tensor) -> bytes:
    """Frozen and folded: batch norms disappear into convolutions."""
    return _jit(lambda: torch.jit.freeze(torch.jit.script(network)))


def torch_export(network: nn.Module, example: Tensor) -> bytes:
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(
            torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)), buffer
        )
    return buffer.getvalue()


def torch_export_core(network: nn.Module, example: Tensor) -> bytes:
    """The same, taken apart into core ATen operators."""
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(torch.export.export(network, (example,)).run_decompositions(), buffer)
    return buffer.getvalue()


def _jit(compiled: Callable[[], torch.jit.ScriptModule]) -> bytes:
    buffer = io.BytesIO()
    with _quiet():
        torch.jit.save(compiled(), buffer)
    return buffer.getvalue()


class _quiet(warnings.catch_warnings):
    """Exporters announce each other's end."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")


EXPORTERS: Mapping[str, Callable[[nn.Module, Tensor], bytes]] = {
    "onnx (dynamo)": dynamo_onnx, "onnx (TorchScript)": script_onnx, "jit.trace": jit_traced,
    "jit.script": jit_scripted, "jit.freeze": jit_frozen, "torch.export": torch_export,
    "torch.export (core)": torch_export_core,
}  # fmt: skip


def keras_mlp(network: nn.Module, opset: int) -> bytes:
    """`mlp()` as tf2onnx writes it: MatMul and Add on transposed weights."""
    nodes, constants, value = [], {}, "x"
    functions = {nn.ReLU: "Relu", nn.Tanh: "Tanh"}
    for i, layer in enumerate(network):
        if isinstance(layer, nn.Linear):
            constants |= {f"w{i}": _array(layer.weight).T.copy(), f"b{i}": _array(layer.bias)}
            nodes += [node("MatMul", [value, f"w{i}"], [f"m{i}"]), node("Add", [f"m{i}", f"b{i}"], [f"v{i}"])]
        elif type(layer) in functions:
            nodes.append(node(functions[type(layer)], [value], [f"v{i}"]))
        else:
            continue
        value = f"v{i}"
    return onnx_bytes([*nodes, node("Identity", [value], ["y"])], {"x": ["N", 6]}, ["y"], constants, opset)


def keras_cnn(network: nn.Module, opset: int) -> bytes:
    """`cnn()` on channels-last images: transposed before and after each convolution, padded by Pad, batch
    norms as Mul and Add, flattened by a Reshape to -1 (so the last weight's columns move)."""
    conv, norm, _, _, residual, _, last = network
    writer = _ChannelsLast()
    x = writer.norm(writer.conv("x", conv), norm)
    x = writer.add("Relu", [x])
    x = writer.around("MaxPool", x, [], kernel_shape=[2, 2], strides=[2, 2])
    inner = writer.add("Relu", [writer.norm(writer.conv(x, residual.conv1), residual.norm1)])
    inner = writer.norm(writer.conv(inner, residual.conv2), residual.norm2)
    x = writer.add("Relu", [writer.add("Add", [inner, x])])
    x = writer.add("Reshape", [x, writer.constant(i64(-1, 64))])
    weight = _array(last.weight).reshape(5, 4, 4, 4).transpose(0, 2, 3, 1).reshape(5, 64)
    x = writer.add("MatMul", [x, writer.constant(weight.T.copy())])
    x = writer.add("Add", [x, writer.constant(_array(last.bias))])
    writer.nodes.append(node("Identity", [x], ["y"]))
    return onnx_bytes(writer.nodes, {"x": ["N", 8, 8, 3]}, ["y"], writer.constants, opset)


class _ChannelsLast:
    """Writes nodes on channels-last values; each method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def add(self, operator: str, inputs: list[str], **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, [name], **attributes))
        return name

    def around(self, operator: str, x: str, constants: list[str], **attributes: object) -> str:
        """A channels-first operator between two transpositions."""
        first = self.add("Transpose", [x], perm=[0, 3, 1, 2])
        return self.add("Transpose", [self.add(operator, [first, *constants], **attributes)], perm=[0, 2, 3, 1])

    def conv(self, x: str, layer: nn.Conv2d) -> str:
        padded = self.add("Pad", [x, self.constant(i64(0, 1, 1, 0, 0, 1, 1, 0))])
        result = self.around("Conv", padded, [self.constant(_array(layer.weight))], kernel_shape=[3, 3])
        if layer.bias is None:
            return result
        return self.add("Add", [result, self.constant(_array(layer.bias).reshape(1, 1, 1, -1))])

    def norm(self, x: str, layer: nn.BatchNorm2d) -> str:
        gain = (layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()).detach()
        shift = (layer.bias.double() - layer.running_mean.double() * gain).detach()
        scaled = self.add("Mul", [x, self.constant(_array(gain))])
        return self.add("Add", [scaled, self.constant(_array(shift))])


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()
