"""Every certificate that the library gives is accepted, and stands for the bound of the result."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app.lipschitz.files import analyze
from tests.effort import sampled
from tests.lipschitz.certificate.models import BOX, certified, chain, exported, verdict
from tests.lipschitz.ingest.exporters import NETWORKS, trained
from tests.lipschitz.lipsdp.test_lipsdp import Dense, Pooled, Residual
from tests.lipschitz.onnx_networks import mlp, published

ACTIVATIONS = ["Relu", "LeakyRelu", "Gelu", "Tanh", "Sigmoid", "Elu", "Softplus"]
CLOSE = 1e-8
"""Relative; the certificate's bound may lie this much above the result's."""


def accepted(model: bytes, *methods: str, **fields: Any) -> list[dict[str, Any]]:
    """The pieces of a certificate that is accepted and close to the bound."""
    certificate, upper = certified(model, *methods, **fields)
    answer = verdict(model, certificate)
    assert answer["valid"], answer["reasons"]
    assert answer["bound"] == certificate["bound"]
    assert upper * (1 - 1e-15) <= certificate["bound"] <= upper * (1 + CLOSE)
    pieces: list[dict[str, Any]] = answer["pieces"]
    return pieces


@pytest.mark.parametrize(("method", "seed"), sampled(["autolip", "lipsdp"], range(6), every=3))
def test_chains(seed: int, method: str) -> None:
    (piece,) = accepted(chain(seed), method)
    assert (piece["kind"], piece["check"]) == (method, "independent")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_networks(seed: int) -> None:
    act = ACTIVATIONS[seed % 2]
    fields = {"domain": BOX} if seed % 5 == 0 else {}
    accepted(chain(seed, depth=2 + seed % 4, widest=24, act=act), "lipsdp", "autolip", **fields)


@pytest.mark.parametrize("norm", ["1", "inf"])
def test_other_norms(norm: str) -> None:
    assert accepted(chain(1), "autolip", norm=norm)[0]["check"] == "independent"


MODULES = [nn.ReLU(), nn.GELU(), nn.LeakyReLU(0.1), nn.SiLU(), nn.Tanh()]
GRAPHS = [(Residual, 4), (Dense, 3), (Pooled, 6)]


@pytest.mark.parametrize(("graph", "act"), sampled(GRAPHS, MODULES, every=3))
def test_any_graph(graph: tuple[type[nn.Module], int], act: nn.Module) -> None:
    kind, size = graph
    model = exported(lambda: kind(act), size)
    for domain in ({"kind": "all"}, BOX):
        pieces = accepted(model, "lipsdp", domain=domain)
        assert {"lipsdp"} <= {piece["kind"] for piece in pieces}
        assert {"independent"} == {piece["check"] for piece in pieces}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "resnet" else ()) for name in NETWORKS]
)
def test_convolutions_and_norm_layers(name: str) -> None:
    make, shape = NETWORKS[name]
    model = exported(lambda: trained(make), *shape)
    pieces = accepted(model, "autolip") + accepted(model, "autolip", domain=BOX)
    assert {"independent"} == {piece["check"] for piece in pieces}


def test_pieces_follow_one_another() -> None:
    model = mlp(*published("lipsdp_random"))
    pieces = accepted(model, "lipsdp", options={"lipsdp": {"split_size": 2}})
    assert [piece["kind"] for piece in pieces] == ["lipsdp", "autolip", "lipsdp"]
    assert [piece["start"] for piece in pieces[1:]] == [piece["end"] for piece in pieces[:-1]]


@pytest.mark.parametrize("target", [{"kind": "logit", "index": 1}, {"kind": "margin", "i": 0, "j": 2}])
def test_targets(target: dict[str, Any]) -> None:
    accepted(mlp(*published("exlipbab_iris")), "lipsdp", target=target)


def test_known_slopes_need_no_multipliers() -> None:
    ball = {"kind": "ball", "center": [5.0, 3.0, 3.0, 1.0], "radius": 1e-6}
    model = mlp(*published("exlipbab_iris"))
    accepted(model, "lipsdp", domain=ball)
    certificate, _ = certified(model, "lipsdp", domain=ball)
    (piece,) = certificate["pieces"]
    assert not any(any(one["multipliers"]) for one in piece["activations"])


def test_what_only_the_service_can_bound_is_said_to_be_recomputed() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))

    pieces = accepted(exported(Gated, 4), "autolip", domain=BOX)
    assert [piece["check"] for piece in pieces] == ["recomputed"]


def test_the_least_bound_that_has_one_gets_the_certificate() -> None:
    model = mlp(*published("lipsdp_random"))
    both, _ = certified(model, "autolip", "lipsdp")
    alone, _ = certified(model, "autolip")
    assert (both["method"], alone["method"]) == ("lipsdp", "autolip")
    assert analyze(model, {"methods": ["gradient"]})["certificate"] is None


@pytest.mark.slow
def test_a_thousand_neurons_are_checked_in_seconds() -> None:
    rng = np.random.default_rng(0)
    sizes = [784, 500, 300, 200, 10]
    weights = [rng.normal(size=(o, i)) / i**0.5 for i, o in pairwise(sizes)]
    model = mlp(weights)
    certificate, _ = certified(model, "lipsdp", options={"lipsdp": {"gap": 1e-4}}, budget_s=300)
    answer = verdict(model, certificate)
    assert answer["valid"], answer["reasons"]
    assert answer["pieces"][0]["check"] == "independent"
    assert answer["seconds"] < 30
