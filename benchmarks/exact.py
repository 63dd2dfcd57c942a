"""The exact method on networks with published constants, and on the paper's networks of two inputs.

.venv/bin/python -m benchmarks.exact [seconds]

Needs the paper's networks in .cache/paper, where `benchmarks.paper` keeps them; trains them where they are not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from app.lipschitz.files import analyze
from benchmarks.networks import exported
from benchmarks.paper_networks import mlps

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = {
    "exlipbab_iris": 11.634355134114875,
    "exlipbab_wine12": 1.7433699967107172,
    "exlipbab_abalone": 11.121602332235268,
    "lipsdp_random": 36.48222959637795,
}
"""Exact constants (that of lipsdp_random is LipSDP-Neuron's value, an upper bound)."""


def published(name: str) -> bytes:
    """A chain of affine layers with ReLU between, from its stored weights; a layer without biases gets zeros."""
    stored = np.load(ROOT / "tests" / "data" / "published" / f"{name}.npz")
    parts: list[nn.Module] = []
    for i in range(sum(key.startswith("W") for key in stored.files)):
        weight = torch.from_numpy(stored[f"W{i}"]).double()
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        bias = torch.from_numpy(stored[f"b{i}"]).double() if f"b{i}" in stored.files else torch.zeros(len(weight))
        layer.load_state_dict({"weight": weight, "bias": bias})
        parts += [layer, nn.ReLU()]
    return exported(nn.Sequential(*parts[:-1]), (1, parts[0].in_features))  # type: ignore[arg-type]


def networks() -> Iterator[tuple[str, bytes, str]]:
    """Names, files, and published constants as far as there are any."""
    for name, constant in PUBLISHED.items():
        yield name, published(name), f"{constant:.7f}"
    for case in mlps(ROOT / ".cache" / "paper", [4, 5, 7, 10]):
        yield case.name, case.model, ""


def main(seconds: float) -> None:
    """One line a network."""
    print(
        f"{'network':18} {'published':>12} {'lower':>12} {'upper':>12} {'ratio':>9} {'s':>6} {'split':>6} {'closed':>8}"
    )
    for name, model, constant in networks():
        begun = time.monotonic()
        fields = {"methods": ["exact"], "budget_s": seconds, "options": {"exact": {"gap": 1e-4}}}
        result = analyze(model, fields)["result"]
        lower, upper = result["lower"]["value"], result["upper"]["value"]
        details = result["estimates"][0]["details"]
        print(
            f"{name:18} {constant:>12} {lower:12.7f} {upper:12.7f} {upper / lower:9.6f} "
            f"{time.monotonic() - begun:6.1f} {details['split']:6} {details['status']:>8}",
            flush=True,
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
