"""Certificates from the Fourier domain: accepted for what the library gives, refused for anything that claims more."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from app.lipschitz.certificate import fourier
from app.lipschitz.files import analyze
from app.lipschitz.lipsdp import sizes
from app.lipschitz.lipsdp.primal.bound import primal_bound
from tests.effort import sampled
from tests.lipschitz.certificate.models import BOX, certified, changed, exported, verdict
from tests.lipschitz.certificate.test_tampering import VALUES, places, put
from tests.lipschitz.certificate.test_verify import accepted
from tests.lipschitz.lipsdp.test_fourier_pieces import cnn

Fields = dict[str, Any]
TIGHT = {"lipsdp": {"gap": 1e-5}}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces beyond 40 variables count as too wide for the dense solver."""
    monkeypatch.setattr(sizes, "LARGEST_SIDE", 40)
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)


def convolutions(seed: int = 0) -> nn.Sequential:
    """A random chain along one axis: strides, dilation, groups, padding, activations; no bias, so that none is off."""
    rng, layers, channels = random.Random(seed), [], rng_channels(seed)
    for k, (inner, outer) in enumerate(pairwise(channels)):
        groups = 2 if inner % 2 == outer % 2 == 0 and rng.random() < 0.5 else 1
        settings: dict[str, Any] = {"stride": rng.choice([1, 1, 2]), "dilation": rng.choice([1, 2]), "groups": groups}
        layers += [] if k == 0 else [rng.choice([nn.ReLU(), nn.GELU(), nn.LeakyReLU(0.1), nn.Tanh()])]
        layers += [nn.Conv1d(inner, outer, rng.choice([1, 2, 3]), padding=rng.randrange(3), bias=False, **settings)]
    return nn.Sequential(*layers)


def rng_channels(seed: int) -> list[int]:
    rng = random.Random(seed + 1000)
    return [rng.randrange(2, 5) for _ in range(rng.randrange(3, 6))]


def shape_of(seed: int) -> tuple[int, int]:
    return rng_channels(seed)[0], 48


class Batched(nn.Module):
    """Folding the norms leaves kernels that are off by a little."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
            nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(3, 2, 2),
        )  # fmt: skip
        for norm in (self.maps[1], self.maps[4]):
            norm.running_var.uniform_(0.3, 3.0)
            norm.weight.data.uniform_(0.3, 3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.maps(x)


MODEL = exported(Batched, 1, 8, 8)


@pytest.fixture(scope="module")
def found() -> Fields:
    """One Fourier piece on a torus of 2 by 2 coarse points or more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "LARGEST_SIDE", 40)
        patch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", lambda *_: None)
        return certified(MODEL, "lipsdp", options=TIGHT)[0]


def fourier_piece(certificate: Fields) -> Fields:
    found: list[Fields] = [piece for piece in certificate["pieces"] if piece["kind"] == "fourier"]
    return found[0]


def refused(certificate: Any, reason: str, model: bytes = MODEL) -> None:
    answer = verdict(model, certificate)
    assert not answer["valid"]
    assert reason in " ".join(answer["reasons"]), answer["reasons"]


def lowered(certificate: Fields, share: float) -> Fields:
    """rho, constant and bound lowered together, so that only the proof can object."""

    def change(c: Fields) -> None:
        piece = fourier_piece(c)
        before = piece["constant"]
        piece["rho"] *= 1 - share
        piece["constant"] = piece["rho"] ** 0.5 * (1 + 1e-15)
        c["bound"] *= piece["constant"] / before * (1 + 1e-12)

    return changed(certificate, change)


def unused(model: bytes, certificate: Fields) -> float:
    """By how much rho can fall with the multipliers as they are: they leave a little of the gap."""
    low, high = 0.0, 0.5
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if verdict(model, lowered(certificate, middle))["valid"] else (low, middle)
    return high


def kinds(model: bytes, **fields: Any) -> list[tuple[str, str]]:
    return [(piece["kind"], piece["check"]) for piece in accepted(model, "lipsdp", **fields)]


@pytest.mark.parametrize("domain", sampled([BOX, {"kind": "all"}], every=2))
def test_networks(domain: Fields) -> None:
    assert kinds(MODEL, domain=domain) == [("fourier", "independent")]
    assert ("fourier", "independent") in kinds(exported(cnn, 1, 8, 8), domain=domain)


@pytest.mark.parametrize("seed", sampled(range(8), every=3))
def test_chains_along_one_axis(seed: int) -> None:
    fields = {"domain": BOX} if seed % 2 else {}
    assert ("fourier", "independent") in kinds(exported(lambda: convolutions(seed), *shape_of(seed)), **fields)


@pytest.mark.parametrize("seed", sampled(range(16), every=5))
def test_chains_by_sparse_elimination_on_a_box(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slopes that are stated hold those of the ranges that the check proves by itself."""
    monkeypatch.setattr("app.lipschitz.lipsdp.lipsdp.primal_bound", primal_bound)
    pieces = kinds(exported(lambda: convolutions(seed), *shape_of(seed)), domain=BOX)
    assert ("lipsdp", "independent") in pieces


def test_one_multiplier_a_layer() -> None:
    assert kinds(MODEL, options={"lipsdp": {"form": "layer"}}) == [("fourier", "independent")]


def test_two_convolutions_in_a_row() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv1d(2, 3, 3), nn.Conv1d(3, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 3, padding=1))

    model = exported(make, 2, 40)
    assert kinds(model) == [("fourier", "independent")]
    certificate, _ = certified(model, "lipsdp")
    piece = fourier_piece(certificate)
    assert [len(one["lower"]) for one in piece["maps"]] == [3, 2]
    refused(
        changed(certificate, lambda c: fourier_piece(c)["maps"][0]["lower"].__setitem__(0, 0.5)), "do not cover", model
    )
    refused(
        changed(certificate, lambda c: fourier_piece(c)["maps"][0]["upper"].__setitem__(0, 0.5)), "do not cover", model
    )


def test_slopes_without_zero_are_refused() -> None:
    """Beyond the map's edge the slope is 0, which a leaky activation's range does not hold."""
    model = exported(lambda: nn.Sequential(nn.Conv1d(1, 2, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv1d(2, 1, 3)), 1, 40)
    certificate, _ = certified(model, "lipsdp")
    assert fourier_piece(certificate)["maps"][0]["lower"] == [0.0, 0.0]
    refused(changed(certificate, lambda c: fourier_piece(c)["maps"][0].update(lower=[0.2, 0.2])), "do not cover", model)


@pytest.mark.parametrize("share", sampled([1e-3, 1e-6, 0.5], every=3))
def test_less_rho_than_the_multipliers_support(found: Fields, share: float) -> None:
    rest = unused(MODEL, found)
    assert rest < 1e-3
    refused(lowered(found, rest + share), "do not prove rho")


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_another_multiplier(found: Fields, factor: float) -> None:
    for k in range(len(fourier_piece(found)["maps"])):

        def change(certificate: Fields, k: int = k) -> None:
            fourier_piece(certificate)["maps"][k]["multipliers"][0] *= factor

        refused(changed(found, change), "do not prove rho")


def first(certificate: Fields) -> Fields:
    one: Fields = fourier_piece(certificate)["maps"][0]
    return one


CHANGES: dict[str, tuple[Callable[[Fields], Any], str]] = {
    "a smaller torus": (lambda c: fourier_piece(c).update(torus=[1, 1]), "too small"),
    "one axis smaller": (lambda c: fourier_piece(c)["torus"].__setitem__(1, 1), "too small"),
    "no torus": (lambda c: fourier_piece(c).update(torus=[]), "axes"),
    "an axis more": (lambda c: fourier_piece(c)["torus"].append(9), "axes"),
    "a torus of nothing": (lambda c: fourier_piece(c).update(torus=[0, 9]), "axes"),
    "an endless torus": (lambda c: fourier_piece(c).update(torus=[2**40, 2**40]), "too large"),
    "a map missing": (lambda c: fourier_piece(c)["maps"].pop(), "maps between"),
    "a map more": (lambda c: fourier_piece(c)["maps"].append(first(c)), "maps between"),
    "maps in another order": (lambda c: fourier_piece(c)["maps"].reverse(), "multipliers"),
    "a multiplier missing": (lambda c: first(c)["multipliers"].pop(), "multipliers"),
    "a multiplier more": (lambda c: first(c)["multipliers"].append(1.0), "multipliers"),
    "a negative one": (lambda c: first(c)["multipliers"].__setitem__(0, -1.0), "at least"),
    "NaN": (lambda c: first(c)["multipliers"].__setitem__(0, float("nan")), "no number"),
    "huge": (lambda c: first(c)["multipliers"].__setitem__(0, 10**400), "finite"),
    "nearly huge": (lambda c: first(c)["multipliers"].__setitem__(0, 1e308), "do not prove rho"),
    "a channel missing": (lambda c: first(c)["upper"].pop(), "channels"),
    "narrower slopes": (lambda c: first(c)["upper"].__setitem__(0, 0.99), "do not cover"),
    "less than the root": (lambda c: fourier_piece(c).update(rho=fourier_piece(c)["rho"] * 1.1), "root of rho"),
    "another kind": (lambda c: fourier_piece(c).update(kind="lipsdp"), "a piece of kind"),
    "a walk": (lambda c: fourier_piece(c).update(kind="autolip"), "a piece of kind"),
    "trust me": (lambda c: fourier_piece(c).update(kind="recomputed"), "a piece of kind"),
    "another norm": (lambda c: c["function"].update(norm="1"), "2-norm only"),
    "a shorter piece": (lambda c: fourier_piece(c).update(end=fourier_piece(c)["end"] - 1), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(found: Fields, name: str) -> None:
    change, reason = CHANGES[name]
    refused(changed(found, change), reason)


def test_a_larger_torus_proves_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.lipschitz.lipsdp.torus.fourier.coarse_sides", lambda layers: (7, 5))
    certificate, _ = certified(MODEL, "lipsdp")
    assert fourier_piece(certificate)["torus"] == [7, 5]
    assert verdict(MODEL, certificate)["valid"]


def test_a_piece_that_is_no_chain_of_convolutions(found: Fields) -> None:
    model = exported(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)), 6)
    dense, _ = certified(model, "lipsdp")
    kept = {key: fourier_piece(found)[key] for key in ("torus", "maps")}
    refused(changed(dense, lambda c: c["pieces"][0].update(kind="fourier", **kept)), "a piece of kind", model)


def test_another_model(found: Fields) -> None:
    other = exported(lambda: scaled(Batched()), 1, 8, 8)
    refused(found, "another model", other)
    forged = changed(found, lambda c: c["model"].update(sha256=hashlib.sha256(other).hexdigest()))
    refused(forged, "do not prove rho", other)


def scaled(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        parameter.data *= 1.001
    return module


def test_too_much_work_is_refused(found: Fields, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fourier, "MOST_WORK", 1e3)
    refused(found, "too large to be checked")
    certificate, _ = certified(MODEL, "lipsdp")
    assert [piece["kind"] for piece in certificate["pieces"]] == ["autolip"]
    assert certificate["reported"]["value"] < certificate["bound"]
    assert verdict(MODEL, certificate)["valid"]


WIDER = {"lower", "upper", "torus"}
"""Other slopes or another torus may hold, and the proof for them."""


@given(st.data())
def test_any_value_in_any_place(found: Fields, data: st.DataObject) -> None:
    inside = [path for path in places(found) if "maps" in path or "torus" in path]
    path, value = data.draw(st.sampled_from(inside)), data.draw(st.sampled_from(VALUES))
    answer = verdict(MODEL, changed(found, lambda c: put(c, path, value)))
    assert isinstance(answer["valid"], bool)
    assert not answer["valid"] or WIDER & set(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_networks(seed: int) -> None:
    """A hundred certificates accepted, a hundred and more that were tampered with refused."""
    model = exported(lambda: convolutions(seed), *shape_of(seed))
    fields = {"methods": ["lipsdp"], "domain": BOX if seed % 5 == 0 else {"kind": "all"}}
    answer = analyze(model, fields)
    certificate = answer["certificate"]
    gap = answer["result"]["estimates"][0]["details"]["gap"]
    assert gap < 1e-3  # an estimate, off by some 1e-5 where it is negative
    checked = verdict(model, certificate)
    assert (checked["valid"], checked["check"]) == (True, "independent"), checked["reasons"]
    assert certificate["bound"] <= answer["result"]["upper"]["value"] * (1 + 1e-8)
    spare = 1e-3 if fields["domain"] is BOX else 2e-4  # the check may know narrower ranges than the solver did
    refused(lowered(certificate, max(gap, 0.0) + spare), "do not prove rho", model)
    refused(changed(certificate, lambda c: fourier_piece(c).update(torus=[1])), "too small", model)
