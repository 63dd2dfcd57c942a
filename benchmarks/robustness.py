"""Robustness radii of classifiers trained normally and adversarially: what each certified constant is worth.

    .venv/bin/python -m benchmarks.robustness [--radius 0.3] [--samples 100] [--budget 120] [--write]

The same architectures are trained twice, with and without PGD's adversarial examples, on MNIST's test images (or on
scikit-learn's digits) and on Iris. Networks are kept under --cache. Prints a markdown table; --write puts it into
docs/robustness.md, with the command and the date.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import io
import math
import shlex
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from app.lipschitz.files import analyze
from benchmarks.networks import MNIST, Images, accuracy, exported, images, split
from benchmarks.paper_table import line, write

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "robustness.md"
COLUMNS = ("network", "training", "accuracy", "product", "LipSDP", "largest pair", "product √2", "LipSDP √2", "pairs",
           "local", "PGD", "mean radius", "seconds")  # fmt: skip


class Case(NamedTuple):
    """One network to train: its layers' widths, its data, and the radius of PGD in training (0: none)."""

    name: str
    widths: list[int]
    data: Images
    hardened: float
    epochs: int


def cases(data: Path) -> list[Case]:
    """Two architectures on images and one on Iris, each trained in both ways."""
    pictures, flowers = images(data), iris()
    size, name = pictures.side**2, "MNIST" if pictures.side == 28 else "digits"
    plain = [
        (f"{name} {size}-16-10", [size, 16, 10], pictures, 1.0, 20),
        (f"{name} {size}-64-32-10", [size, 64, 32, 10], pictures, 1.0, 20),
        ("Iris 4-16-3", [4, 16, 3], flowers, 0.5, 200),
    ]
    return [
        Case(title, widths, chosen, hardened, epochs)
        for title, widths, chosen, radius, epochs in plain
        for hardened in (0.0, radius)
    ]


def iris() -> Images:
    """The 150 flowers, standardised; shuffled once for all."""
    from sklearn.datasets import load_iris

    stored = load_iris()
    x = torch.from_numpy(stored.data.astype(np.float32))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x = (x - x.mean(0)) / x.std(0)
    return Images(x[order], torch.from_numpy(stored.target.astype(np.int64))[order])


def perceptron(widths: list[int]) -> nn.Sequential:
    """ReLU layers on flattened inputs."""
    parts: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def attacked(module: nn.Module, x: Tensor, y: Tensor, radius: float, steps: int) -> Tensor:
    """Projected gradient ascent on the loss in a ball of the 2-norm, from a random point of it."""
    flat = (len(x), *[1] * (x.ndim - 1))
    away = torch.randn_like(x)
    away = radius * away / away.flatten(1).norm(dim=1).reshape(flat)
    for _ in range(steps):
        away.requires_grad_(True)
        (pull,) = torch.autograd.grad(cross_entropy(module(x + away), y, reduction="sum"), away)
        moved = away.detach() + 2.5 * radius / steps * pull / (pull.flatten(1).norm(dim=1).reshape(flat) + 1e-30)
        away = moved * (radius / moved.flatten(1).norm(dim=1).clamp(min=radius)).reshape(flat)
    return x + away


def trained(case: Case, train: Images) -> nn.Sequential:
    """Adam on cross entropy, at PGD's points where the case is hardened."""
    torch.manual_seed(0)
    module = perceptron(case.widths)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, case.epochs)
    for _ in range(case.epochs):
        for rows in torch.randperm(len(train.x)).split(100):
            x, y = train.x[rows], train.y[rows]
            x = attacked(module, x, y, case.hardened, 7) if case.hardened else x
            optimizer.zero_grad()
            cross_entropy(module(x), y).backward()
            optimizer.step()
        schedule.step()
    return module.eval()


def kept(case: Case, train: Images, folder: Path) -> nn.Sequential:
    """The network of an earlier run, else trained and stored."""
    path = folder / f"{case.name.replace(' ', '-')}-{case.hardened:g}-{case.epochs}.pt"
    if path.exists():
        module = perceptron(case.widths)
        module.load_state_dict(torch.load(path, weights_only=True))
        return module.eval()
    module = trained(case, train)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), path)
    return module


def unflipped(module: nn.Module, data: Images, radius: float, restarts: int = 10) -> Tensor:
    """Which samples are rightly predicted and stay so wherever PGD looks, `(S,)`."""
    torch.manual_seed(0)
    double, x = module.double(), data.x.double()
    held = double(x).argmax(1) == data.y
    for _ in range(restarts):
        held &= double(attacked(double, x, data.y, 0.9999 * radius, 100)).argmax(1) == data.y
    return held


def constant(record: dict[str, Any], method: str) -> float:
    """One method's number."""
    return next(float(one["value"]) for one in record["estimates"] if one["method"] == method)


def by_constants(module: nn.Module, data: Images, constants: Tensor) -> Tensor:
    """Radii of rightly predicted samples by constants `(m, m)`, 0 for the others."""
    with torch.no_grad():
        values = module.double()(data.x.double())
    margins = values.gather(1, data.y[:, None]) - values
    quotients = torch.where(constants[data.y] > 0.0, margins / constants[data.y], math.inf)
    return quotients.amin(1).clamp(min=0.0)


def pair_matrix(pairs: list[list[Any]], size: int) -> Tensor:
    """The method's list as a symmetric matrix."""
    found = torch.zeros(size, size, dtype=torch.float64)
    for i, j, value in pairs:
        found[i, j] = found[j, i] = value
    return found


def stored(data: Images) -> bytes:
    """The samples as the service reads them."""
    buffer = io.BytesIO()
    np.savez(buffer, inputs=data.x.flatten(1).numpy(), labels=data.y.numpy())
    return buffer.getvalue()


def cells(case: Case, options: argparse.Namespace) -> list[str]:
    """The cells of one network."""
    train, test = split(case.data)
    module = kept(case, train, options.cache)
    share, chosen = accuracy(module, test), test.part(0, options.samples)
    model = exported(module, (1, case.widths[0]))
    request = {"methods": ["autolip", "lipsdp"], "budget_s": options.budget, "certify": True}
    whole = analyze(model, request)["result"]
    begun = time.perf_counter()
    answer = analyze(model, request | {"target": {"kind": "margins"}}, dataset=stored(chosen))
    result = answer["result"]
    seconds = time.perf_counter() - begun
    classes = case.widths[-1]
    product, semidefinite = (constant(whole, method) for method in ("autolip", "lipsdp"))
    pairs = next(one["details"]["pairs"] for one in result["estimates"] if one["method"] == "lipsdp")
    uniform = torch.full((classes, classes), math.sqrt(2.0), dtype=torch.float64).fill_diagonal_(0.0)
    matrices = [uniform * product, uniform * semidefinite, pair_matrix(pairs, classes)]
    radii = [by_constants(module, chosen, matrix) for matrix in matrices]
    rows = np.load(io.BytesIO(base64.b64decode(answer["radii"])), allow_pickle=False)
    right = torch.from_numpy(rows["label"] == rows["prediction"])
    local = torch.where(right, torch.from_numpy(rows["radius"]), 0.0)
    held = unflipped(module, chosen, options.radius)
    assert bool(held[local >= options.radius].all()), "PGD flipped a certified sample"
    percents = [f"{100 * float((radius >= options.radius).double().mean()):.0f}" for radius in [*radii, local]]
    training = f"PGD, radius {case.hardened:g}" if case.hardened else "normal"
    figures = [f"{number:.4g}" for number in (product, semidefinite, constant(result, "lipsdp"))]
    ends = [f"{100 * float(held.double().mean()):.0f}", f"{float(local.mean()):.3g}", f"{seconds:.1f}"]
    return [case.name, training, f"{100 * share:.1f} %", *figures, *percents, *ends]


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--radius", type=float, default=0.3, help="2-norm radius that samples are certified for")
    parser.add_argument("--samples", type=int, default=100, help="test samples")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds a network")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "robustness", help="folder of the networks")
    parser.add_argument("--data", type=Path, default=MNIST, help="folder of MNIST's test files")
    parser.add_argument("--write", action="store_true", help="update docs/robustness.md")
    return parser.parse_args()


def main() -> None:
    """Print the table and write it where asked to."""
    options = parsed()
    lines = [line(COLUMNS), line(["---"] * 2 + ["---:"] * (len(COLUMNS) - 2))]
    print("\n".join(lines), flush=True)
    for case in cases(options.data):
        lines.append(line(cells(case, options)))
        print(lines[-1], flush=True)
    if options.write:
        command = shlex.join([".venv/bin/python", "-m", "benchmarks.robustness", *sys.argv[1:]])
        date = datetime.datetime.now(datetime.UTC).date()
        write(PAGE, "robustness", "\n".join([f"`{command}`, {date}:", "", *lines]))


if __name__ == "__main__":
    main()
