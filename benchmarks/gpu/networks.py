"""The models that are measured, without torchvision: ResNet-50's shape with random weights, and chains."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tests.lipschitz.onnx_networks import mlp


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with normalisations, and the way past them."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.path = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        past = (nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.past = nn.Identity() if stride == 1 and inputs == outputs else nn.Sequential(*past)

    def forward(self, x: Tensor) -> Tensor:
        """The block."""
        return torch.relu(self.path(x) + self.past(x))


def resnet(depths: tuple[int, ...], width: int, side: int) -> bytes:
    """A torch.export archive; (3, 4, 6, 3), 64 and 224 are ResNet-50's numbers."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    channels = width
    for level, depth in enumerate(depths):
        for block in range(depth):
            inner = width * 2**level
            layers.append(Bottleneck(channels, inner, 2 if level and not block else 1))
            channels = 4 * inner
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10 * width)).eval()
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, side, side),)), buffer)
    return buffer.getvalue()


def chain(sizes: list[int], act: str = "Relu") -> bytes:
    """An ONNX file of Gaussian layers of spectral norm about one."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(o, i)) / (o**0.5 + i**0.5) for i, o in pairwise(sizes)]
    return mlp(weights, [rng.normal(size=len(weight)) for weight in weights], act)


def convolutional(channels: int, side: int) -> bytes:
    """Two convolutions and a dense layer."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, stride=2), nn.Tanh(),
        nn.Flatten(), nn.Linear(channels * ((side - 1) // 2) ** 2, 5),
    )  # fmt: skip
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(network.double().eval(), (torch.zeros(1, 1, side, side).double(),)), buffer)
    return buffer.getvalue()
