"""LipSDP's inequality of an accepted certificate holds in rational arithmetic, from the weights in the file."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.effort import sampled
from tests.lipschitz.certificate.models import certified, verdict
from tests.lipschitz.lipsdp.test_proof import is_positive
from tests.lipschitz.onnx_networks import mlp

SLOPES = {"Relu": (Fraction(0), Fraction(1)), "LeakyRelu": (Fraction(np.float32(0.01).item()), Fraction(1))}


def inequality(weights: list[np.ndarray], act: str, rho: float, multipliers: list[float]) -> list[list[Fraction]]:
    """S(rho, t) of a chain over (x, z_1, z_2, ...), entry by entry."""
    low, high = SLOPES[act]
    sizes = [weights[0].shape[1], *(len(weight) for weight in weights[:-1])]
    total, firsts = sum(sizes), [sum(sizes[:k]) for k in range(len(sizes))]
    s = [[Fraction(rho) if i == j < sizes[0] else Fraction(0) for j in range(total)] for i in range(total)]
    for weight, source, own in zip(weights[:-1], firsts, firsts[1:], strict=False):
        for i, row in enumerate(weight):
            seen = {source + j: Fraction(float(entry)) for j, entry in enumerate(row)}
            u, w = ({j: -end * x for j, x in seen.items()} | {own + i: Fraction(1)} for end in (low, high))
            t = Fraction(multipliers[own + i - sizes[0]])
            for p, x in u.items():
                for q, y in w.items():
                    s[p][q] += t * x * y
                    s[q][p] += t * x * y
    for row in weights[-1]:
        for i, x in enumerate(row):
            for j, y in enumerate(row):
                s[firsts[-1] + i][firsts[-1] + j] -= Fraction(float(x)) * Fraction(float(y))
    return s


@pytest.mark.parametrize(("act", "seed"), sampled(SLOPES, range(10), every=3))
def test_an_accepted_certificate_holds_exactly(seed: int, act: str) -> None:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) for shape in ((3, 2), (3, 3), (2, 3))]
    model = mlp(weights, act=act)
    certificate, _ = certified(model, "lipsdp")
    assert verdict(model, certificate)["valid"]
    (piece,) = certificate["pieces"]
    multipliers = [t for one in piece["activations"] for t in one["multipliers"]]
    assert is_positive(inequality(weights, act, piece["rho"], multipliers))
    assert not is_positive(inequality(weights, act, piece["rho"] * (1 - 1e-5), multipliers))
    assert Fraction(certificate["bound"]) ** 2 >= Fraction(piece["rho"])
