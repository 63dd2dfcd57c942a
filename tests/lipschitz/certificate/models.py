"""Models with their certificates."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from app.lipschitz.files import analyze, verify
from tests.lipschitz.onnx_networks import mlp

BOX = {"kind": "box", "lower": -0.3, "upper": 0.4}


def chain(seed: int, depth: int = 3, widest: int = 9, act: str = "Relu") -> bytes:
    """A random dense chain; every third one has an input wider than its first layer."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(2, widest + 1, depth + 1)]
    sizes[0] = 3 * widest if seed % 3 == 0 else sizes[0]
    weights = [rng.normal(size=(o, i)) / i**0.5 for i, o in pairwise(sizes)]
    return mlp(weights, [rng.normal(size=len(weight)) for weight in weights], act)


def exported(make: Callable[[], nn.Module], *shape: int) -> bytes:
    """A torch network in evaluation mode, as a file."""
    torch.manual_seed(0)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(make().double().eval(), (torch.randn(1, *shape, dtype=torch.float64),))
        torch.export.save(program, buffer)
    return buffer.getvalue()


def certified(model: bytes, *methods: str, **fields: Any) -> tuple[dict[str, Any], float]:
    """The certificate and the bound that it is for."""
    answer = analyze(model, {"methods": list(methods)} | fields)
    return answer["certificate"], answer["result"]["upper"]["value"]


def verdict(model: bytes, certificate: Any) -> dict[str, Any]:
    """What the check says to a certificate given as JSON values."""
    return verify(model, json.dumps(certificate).encode())


def changed(certificate: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """A copy with a change."""
    other = copy.deepcopy(certificate)
    change(other)
    return other
