"""POST -> result on a running service, for models that it has not seen before.

    make serve &
    .venv/bin/python -m benchmarks.latency [--url http://127.0.0.1:8000] [--count 20]

Prints the median and the extremes for an MLP of 1.0 M parameters (784-800-400-100-10) and for a ResNet-18 with random
weights at 3x224x224, each upload with fresh weights, methods autolip and gradient with their default options (`auto`
would go on to tighter bounds), and checks that every answer is a bracket.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from itertools import pairwise

import torch
import torchvision
from torch import nn

QUICK = urllib.parse.urlencode({"methods": "autolip,gradient"})


def mlp() -> bytes:
    """An MLP of 1,001,710 parameters."""
    widths = (784, 800, 400, 100, 10)
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return exported(nn.Sequential(*layers[:-1]), (1, 784))


def resnet18() -> bytes:
    """ResNet-18, 11.7 M parameters."""
    return exported(torchvision.models.resnet18(weights=None), (1, 3, 224, 224))


def exported(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The module as an ONNX file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.randn(shape),), buffer, dynamo=False)
    return buffer.getvalue()


def seconds(url: str, data: bytes) -> float:
    """Time of one upload until its finished job."""
    request = urllib.request.Request(
        f"{url}/v1/analyze?{QUICK}", data, {"Content-Type": "application/octet-stream", "Prefer": "wait=60"}
    )
    begun = time.perf_counter()
    with urllib.request.urlopen(request, timeout=120) as answer:
        job = json.load(answer)
    taken = time.perf_counter() - begun
    result = job["result"]
    assert job["status"] == "succeeded", job["error"]
    assert result["lower"]["value"] <= result["upper"]["value"]
    return taken


def report(name: str, make: Callable[[], bytes], url: str, count: int) -> None:
    """Print the times of `count` fresh models."""
    seconds(url, make())
    times = [seconds(url, make()) for _ in range(count)]
    print(
        f"{name}: median {statistics.median(times):.3f} s, least {min(times):.3f}, most {max(times):.3f}, n = {count}"
    )


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    report("MLP, 1.0 M parameters", mlp, options.url, options.count)
    report("ResNet-18, 3x224x224", resnet18, options.url, max(3, options.count // 5))


if __name__ == "__main__":
    main()
