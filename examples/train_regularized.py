"""The same network trained without and with AutoLip as a penalty: accuracy, certified bound, attained slope.

    .venv/bin/python -m examples.train_regularized [--data FOLDER] [--epochs 20] [--weights 0 0.02 0.05 0.1] [--quick]

`--data` holds MNIST's test files t10k-*.gz, of which 8,000 images are trained on and 2,000 tested; without them
scikit-learn's digits serve. The penalty is weight * log AutoLip, an estimate while training; the bounds in the table
are the service's own: the certified AutoLip bound, and the slope of the best pair that gradient ascent finds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from lipserve.lipschitz.files import analyze
from lipserve.lipschitz.regularizer import AutoLipRegularizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.networks import MNIST, Images, accuracy, exported, fit, images, split


def network(side: int) -> nn.Module:
    """Two convolutions of stride 2 and two dense layers, for a side that 4 divides."""
    small = side // 4
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * small * small, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def trained(data: Images, epochs: int, weight: float) -> nn.Module:
    """The network after training with `weight * log AutoLip` added to the loss; 0: plainly."""
    torch.manual_seed(0)
    module = network(data.side)
    autolip = AutoLipRegularizer(module, (1, *data.x.shape[1:]))

    def penalty() -> Tensor:
        return weight * autolip().log()

    fit(module, data.x, data.y, cross_entropy, epochs=epochs, batch=100, penalty=penalty if weight else None)
    return module


def bounds(module: nn.Module, shape: Sequence[int]) -> tuple[float, float]:
    """The certified AutoLip bound and the attained lower bound."""
    result = analyze(exported(module, shape), {"methods": ["autolip", "gradient"]})["result"]
    return result["upper"]["value"], result["lower"]["value"]


def row(train: Images, test: Images, epochs: int, weight: float) -> tuple[float, float, float]:
    """Train and print one line; returns accuracy, upper and lower bound."""
    begun = time.perf_counter()
    module = trained(train, epochs, weight)
    seconds = time.perf_counter() - begun
    share, (upper, lower) = accuracy(module, test), bounds(module, (1, *test.x.shape[1:]))
    print(
        f"{weight:8g} {100 * share:8.2f} % {upper:12.4g} {lower:12.4g} {upper / lower:8.2f} {seconds:8.1f} s",
        flush=True,
    )
    return share, upper, lower


def main(arguments: Sequence[str] | None = None) -> list[tuple[float, float, float]]:
    """Print the table; returns its rows of accuracy, upper and lower bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=MNIST, help="folder of MNIST's test files")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.02, 0.05, 0.1], help="one a row")
    parser.add_argument("--quick", action="store_true", help="1,000 images and twenty epochs")
    options = parser.parse_args(arguments)
    data = images(options.data)
    train, test = split(data.part(0, 1000) if options.quick else data)
    print(f"{len(train.x)} images of {data.side} x {data.side} to train on, {len(test.x)} to test on")
    print("  weight   accuracy      AutoLip     attained    ratio   training")
    return [row(train, test, 20 if options.quick else options.epochs, weight) for weight in options.weights]


if __name__ == "__main__":
    main()
