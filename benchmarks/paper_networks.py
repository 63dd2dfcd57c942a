"""The networks of Virmaux & Scaman, NeurIPS 2018, section 6, as the service gets them: trained here, with their data.

The paper's weights are not public, so the architectures are the paper's where it states them and the weights our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.networks import Images, accuracy, as_dataset, exported, fit, images, split

POINTS = 800
REACH = 3.0
"""The Gaussian process is sampled at this many points of [-REACH, REACH]^2."""

MAX_DATA = 2000


@dataclass(frozen=True)
class Case:
    """One network: model file, data set file (None: no data), and what its training reached."""

    name: str
    model: bytes
    dataset: bytes | None
    note: str


def cached(folder: Path, name: str, make: Callable[[], Case]) -> Case:
    """The case as it was made by an earlier run, else made and stored."""
    model, dataset, note = (folder / f"{name}{suffix}" for suffix in (".pt2", ".npy", ".txt"))
    if not note.exists():
        case = make()
        folder.mkdir(parents=True, exist_ok=True)
        model.write_bytes(case.model)
        if case.dataset is not None:
            dataset.write_bytes(case.dataset)
        note.write_text(case.note)
    return Case(name, model.read_bytes(), dataset.read_bytes() if dataset.exists() else None, note.read_text())


def mlps(folder: Path, layers: list[int]) -> Iterator[Case]:
    """ReLU networks 2-20-...-20-1 of so many layers, fitted to one sample of a Gaussian process."""
    for count in layers:
        yield cached(folder, f"mlp-{count}", lambda count=count: _fitted_mlp(count))  # type: ignore[misc]


def gaussian_process(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points `(S, 2)` and the values there `(S, 1)` of a process with kernel exp(-|x - y|^2 / 2), float64."""
    generator = torch.Generator().manual_seed(seed)
    x = REACH * (2 * torch.rand(POINTS, 2, dtype=torch.float64, generator=generator) - 1)
    covariance = torch.exp(-torch.cdist(x, x).square() / 2)
    factor = torch.linalg.cholesky(covariance + 1e-8 * torch.eye(POINTS, dtype=torch.float64))
    return x, factor @ torch.randn(POINTS, 1, dtype=torch.float64, generator=generator)


def _fitted_mlp(layers: int) -> Case:
    torch.manual_seed(layers)
    widths = [2, *[20] * (layers - 1), 1]
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after, dtype=torch.float64), nn.ReLU()]
    module = nn.Sequential(*parts[:-1])
    x, y = gaussian_process()
    fit(module, x, y, mse_loss, epochs=300, batch=40, lr=3e-3)
    with torch.no_grad():
        error = float(mse_loss(module(x), y) / y.var())
    return Case("", exported(module, (1, 2)), as_dataset(x), f"{100 * (1 - error):.1f} % of the variance fitted")


def cnns(folder: Path, layers: list[int], data: Path, epochs: int) -> Iterator[Case]:
    """Convolutional ReLU networks of so many layers, trained on MNIST's test images or on digits."""
    found = images(data)
    for count in layers:
        name = f"cnn-{count}-{'mnist' if found.side == 28 else 'digits'}"
        yield cached(folder, name, lambda count=count: _trained_cnn(count, found, epochs))  # type: ignore[misc]


def cnn(layers: int, side: int) -> nn.Module:
    """1-32 5x5/2, 32-64 3x3/2, 64-128 3x3/2, 128-10 2x2; more layers are 64-64 3x3 after the second one.

    For images of 28 a side; smaller ones are padded by zeros to that size, on all sides alike.
    """
    convolutions = [nn.Conv2d(1, 32, 5, stride=2, padding=(28 - side) // 2), nn.Conv2d(32, 64, 3, stride=2)]
    convolutions += [nn.Conv2d(64, 64, 3, padding=1) for _ in range(layers - 4)]
    parts = [
        part for convolution in (*convolutions, nn.Conv2d(64, 128, 3, stride=2)) for part in (convolution, nn.ReLU())
    ]
    return nn.Sequential(*parts, nn.Conv2d(128, 10, 2), nn.Flatten())


def _trained_cnn(layers: int, data: Images, epochs: int) -> Case:
    torch.manual_seed(layers)
    train, test = split(data)
    module = cnn(layers, data.side)
    fit(module, train.x, train.y, cross_entropy, epochs=epochs, batch=100)
    note = f"{100 * accuracy(module, test):.1f} % test accuracy"
    return Case("", exported(module, (1, *data.x.shape[1:])), as_dataset(train.x[:MAX_DATA]), note)


def alexnet() -> Iterator[Case]:
    """torchvision's AlexNet with seeded random weights, on 3 x 224 x 224."""
    torch.manual_seed(0)
    module = torchvision.models.alexnet(weights=None).eval()
    yield Case("alexnet", exported(module, (1, 3, 224, 224)), None, "random weights")
