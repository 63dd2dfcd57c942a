"""How tight and how fast the certified norms of convolutions are, beside AutoLip's power iteration.

    python -m benchmarks.convolution_norms [--count 300] [--networks resnet18 resnet50] [--power 100]

First table: random small convolutions (1-d to 3-d, stride, dilation, groups, asymmetric padding) against the
SVD of their dense matrix. `excess` is value / truth - 1: a certified value must not be negative beyond the
SVD's own error (1e-13); a negative excess of the power iteration is its underestimate. Second table: every
convolution of a torchvision network at 224 x 224, random weights.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torchvision

from app.lipschitz.operators import Convolution, norm, power_method
from app.lipschitz.operators.convolution import output_side
from app.lipschitz.operators.convolution_norm import torus_norm


class Timed(NamedTuple):
    """A value and the seconds that it took."""

    value: float
    seconds: float


def timed(compute: Callable[[], float]) -> Timed:
    """Runs `compute` once."""
    start = time.perf_counter()
    return Timed(compute(), time.perf_counter() - start)


def random_convolution(rng: random.Random) -> Convolution:
    """A convolution with at least one output and a dense matrix of at most about a thousand rows."""
    d = rng.choice([1, 1, 2, 2, 2, 3])
    side = {1: 60, 2: 14, 3: 6}[d]
    groups = rng.choice([1, 1, 2])
    c_in, c_out = rng.randint(1, 4), rng.randint(1, 4) * groups
    taps = tuple(rng.randint(1, 4) for _ in range(d))
    stride = tuple(rng.randint(1, 3) for _ in range(d))
    dilation = tuple(rng.randint(1, 2) for _ in range(d))
    padding = tuple((rng.randint(0, k), rng.randint(0, k)) for k in taps)
    reach = [e * (k - 1) + 1 for e, k in zip(dilation, taps, strict=True)]
    spatial = tuple(max(side // 2, least) + rng.randint(0, side // 2) for least in reach)
    out = [output_side(*dim) for dim in zip(spatial, taps, stride, padding, dilation, strict=True)]
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    kernel = torch.randn(c_out, c_in, *taps, dtype=torch.float64, generator=generator)
    in_shape, out_shape = (1, c_in * groups, *spatial), (1, c_out, *out)
    return Convolution(in_shape, out_shape, kernel, stride, padding, dilation, groups)


def random_table(count: int, iterations: int) -> None:
    """Prints the excess over the dense norm of each method."""
    rng = random.Random(0)
    methods: dict[str, Callable[[Convolution], float]] = {
        "certified": lambda c: norm(c, "2").upper,
        "certified, torus only": lambda c: torus_norm(c).upper,
        "witnessed lower": lambda c: norm(c, "2").lower,
        f"power iteration x{iterations}": lambda c: power_method(c, iterations),
    }
    cases = [random_convolution(rng) for _ in range(count)]
    truths = [timed(lambda c=c: float(np.linalg.svd(c.as_matrix().numpy(), compute_uv=False)[0])) for c in cases]
    print(f"{count} random convolutions; dense SVD {sum(t.seconds for t in truths):.2f} s")
    print(f"{'method':28}{'least':>11}{'median':>11}{'worst':>11}{'below truth':>13}{'seconds':>9}")
    for name, method in methods.items():
        runs = [timed(lambda c=c, method=method: method(c)) for c in cases]
        excess = np.array([run.value / truth.value - 1 for run, truth in zip(runs, truths, strict=True)])
        below = int((excess < -1e-13).sum())
        seconds = sum(run.seconds for run in runs)
        figures = "".join(f"{v:11.2e}" for v in (excess.min(), np.median(excess), excess.max()))
        print(f"{name:28}{figures}{below:13d}{seconds:9.2f}")


def network_convolutions(name: str) -> list[Convolution]:
    """The convolutions of a torchvision network at 224 x 224 with random weights."""
    torch.manual_seed(0)
    network = getattr(torchvision.models, name)().eval().double()
    found: list[Convolution] = []

    def record(layer: torch.nn.Conv2d, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        padding = tuple((side, side) for side in layer.padding)
        shapes = tuple(inputs[0].shape), tuple(output.shape)
        kernel = layer.weight.detach()
        found.append(Convolution(*shapes, kernel, layer.stride, padding, layer.dilation, layer.groups))

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(record)
    with torch.no_grad():
        network(torch.zeros(1, 3, 224, 224, dtype=torch.float64))
    return found


def network_table(name: str, iterations: int) -> None:
    """Prints the time of all layers together, and the power iteration's on the same layers."""
    layers = network_convolutions(name)
    bounds = [norm(layer, "2") for layer in layers[:1]]  # the first call pays for torch's start
    start = time.perf_counter()
    bounds = [norm(layer, "2") for layer in layers]
    certified = time.perf_counter() - start
    ratio = min(bound.lower / bound.upper for bound in bounds)
    print(f"{name}: {len(layers)} convolutions, certified {certified:.2f} s, least lower/upper {ratio:.3f}")
    if iterations:
        runs = [timed(lambda layer=layer: power_method(layer, iterations)) for layer in layers]
        below = [run.value / bound.upper - 1 for run, bound in zip(runs, bounds, strict=True)]
        seconds = sum(run.seconds for run in runs)
        worst = f"{min(below):+.3f} to {max(below):+.3f}"
        print(f"{name}: power iteration x{iterations} {seconds:.2f} s, {worst} relative to the certified value")


def main() -> None:
    """Parses the command line and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50"])
    parser.add_argument("--power", type=int, default=100, help="power iterations per layer, 0 to skip")
    arguments = parser.parse_args()
    random_table(arguments.count, arguments.power or 100)
    for name in arguments.networks:
        network_table(name, arguments.power)


if __name__ == "__main__":
    main()
