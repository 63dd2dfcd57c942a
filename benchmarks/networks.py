"""What benchmarks and examples share: images, a training loop, and trained modules as files that the service reads."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
"""Where MNIST's test set is looked for unless a command is told otherwise."""


class Images(NamedTuple):
    """Images `(N, 1, side, side)` in [0, 1], float32, with their classes `(N,)` from 0 to 9."""

    x: Tensor
    y: Tensor

    @property
    def side(self) -> int:
        """Pixels a side."""
        return self.x.shape[-1]

    def part(self, start: int, stop: int) -> Images:
        """Some of the images."""
        return Images(self.x[start:stop], self.y[start:stop])


def images(folder: Path) -> Images:
    """MNIST's 10,000 test images where `folder` holds them, else scikit-learn's 1,797 digits; shuffled once for all."""
    found = _mnist(folder) if (folder / "t10k-images-idx3-ubyte.gz").exists() else _digits()
    order = torch.randperm(len(found.x), generator=torch.Generator().manual_seed(0))
    return Images(found.x[order], found.y[order])


def split(data: Images) -> tuple[Images, Images]:
    """Four fifths to train on, one fifth to test on."""
    count = len(data.x) * 4 // 5
    return data.part(0, count), data.part(count, len(data.x))


def _mnist(folder: Path) -> Images:
    """The IDX files: a header of 16 or 8 bytes, then one byte an entry."""
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    x = torch.from_numpy(np.frombuffer(pixels, np.uint8).reshape(-1, 1, 28, 28) / np.float32(255.0))
    return Images(x, torch.from_numpy(np.frombuffer(labels, np.uint8).astype(np.int64)))


def _digits() -> Images:
    from sklearn.datasets import load_digits

    stored = load_digits()
    x = torch.from_numpy((stored.images / 16.0).astype(np.float32)).unsqueeze(1)
    return Images(x, torch.from_numpy(stored.target.astype(np.int64)))


def fit(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    batch: int,
    lr: float = 1e-3,
    penalty: Callable[[], Tensor] | None = None,
) -> None:
    """Adam with a cosine schedule on `loss(module(x), y)`, plus `penalty()` where there is one."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    generator = torch.Generator().manual_seed(0)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            value = loss(module(x[rows]), y[rows])
            (value if penalty is None else value + penalty()).backward()
            optimizer.step()
        schedule.step()
    module.eval()


def accuracy(module: nn.Module, data: Images) -> float:
    """Share of the images that are classified rightly."""
    with torch.no_grad():
        return float((module(data.x).argmax(1) == data.y).double().mean())


def exported(module: nn.Module, shape: Sequence[int]) -> bytes:
    """The module on inputs of `shape` as a torch.export file; its weights are stored as they are."""
    stored = next(module.parameters())
    example = torch.zeros(tuple(shape), dtype=stored.dtype)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(module.eval(), (example,)), buffer)
    return buffer.getvalue()


def as_dataset(x: Tensor) -> bytes:
    """Inputs as the npy file that the `dataset` method reads."""
    buffer = io.BytesIO()
    np.save(buffer, x.numpy())
    return buffer.getvalue()
