"""SeqLip's certificates: accepted for what the library gives, refused for anything that claims more."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from app.lipschitz.certificate import faces
from app.lipschitz.exact.phases import tree
from app.lipschitz.files import analyze
from app.lipschitz.seqlip.pairs import faces as pair_faces
from app.lipschitz.seqlip.pairs import factors as pair_factors
from tests.effort import sampled
from tests.lipschitz.certificate.models import BOX, certified, chain, changed, exported, verdict
from tests.lipschitz.certificate.test_tampering import VALUES, places, put
from tests.lipschitz.certificate.test_verify import accepted
from tests.lipschitz.lipsdp.test_lipsdp import Dense, Pooled, Residual
from tests.lipschitz.onnx_networks import mlp

Fields = dict[str, Any]
CLOSE = {"seqlip": {"gap": 1e-6}}
RUNNABLE = ["Relu", "LeakyRelu", "Tanh", "Sigmoid"]
"""In float64, by onnxruntime."""


def network(sizes: list[int], seed: int = 0, act: str = "Relu") -> bytes:
    rng = np.random.default_rng(seed)
    return mlp([rng.normal(size=(o, i)) / i**0.5 for i, o in pairwise(sizes)], act=act)


BRANCHED = network([10, 30, 5])
LISTED = network([4, 8, 6, 7, 3], seed=2)


@pytest.fixture(scope="module")
def branched() -> Fields:
    """One pair with a tree of faces."""
    return certified(BRANCHED, "seqlip")[0]


@pytest.fixture(scope="module")
def listed() -> Fields:
    """Three pairs whose vertices are all tried."""
    return certified(LISTED, "seqlip")[0]


def pairs(certificate: Fields) -> list[Fields]:
    return [pair for piece in certificate["pieces"] for chain in piece["chains"] for pair in chain["pairs"]]


def refused(certificate: Any, reason: str, model: bytes = BRANCHED) -> None:
    answer = verdict(model, certificate)
    assert not answer["valid"]
    assert reason in " ".join(answer["reasons"]), answer["reasons"]


def lowered(certificate: Fields, share: float, which: int = 0) -> Fields:
    """One pair's constant and all that follows from it, so that only the pair's proof can object."""

    def change(c: Fields) -> None:
        pairs(c)[which]["constant"] *= 1 - share
        c["bound"] = c["pieces"][0]["constant"] = c["bound"] * (1 - share) * (1 + 1e-13)

    return changed(certificate, change)


@pytest.mark.parametrize(("act", "seed"), sampled(RUNNABLE, range(3), every=3))
def test_chains(seed: int, act: str) -> None:
    (piece,) = accepted(chain(seed, depth=2 + seed, widest=20, act=act), "seqlip")
    assert (piece["kind"], piece["check"]) == ("seqlip", "independent")


@pytest.mark.parametrize(("act", "seed"), sampled(RUNNABLE, range(3), every=3))
def test_chains_on_a_box(seed: int, act: str) -> None:
    """Where slopes that are all but known have a range next to nothing."""
    (piece,) = accepted(chain(seed, depth=3, widest=26, act=act), "seqlip", domain=BOX)
    assert (piece["kind"], piece["check"]) == ("seqlip", "independent")


@pytest.mark.parametrize("seed", sampled([4, 11, 12], every=3))
def test_a_small_gap_asks_for_a_larger_tree(seed: int) -> None:
    model = network([10, 28, 5], seed)
    accepted(model, "seqlip", options=CLOSE)
    wide, narrow = (len(pairs(certified(model, "seqlip", options=o)[0])[0]["faces"]) for o in ({}, CLOSE))
    assert narrow > wide


@pytest.mark.slow
def test_neurons_that_are_always_off_or_read_nothing() -> None:
    rng = np.random.default_rng(7)
    first, last = rng.normal(size=(24, 6)), rng.normal(size=(4, 24))
    first[3] = 0.0
    last[:, 5] = 0.0
    bias = np.zeros(24)
    bias[:2] = -100.0
    model = mlp([first, last], [bias, np.zeros(4)])
    for domain in ({"kind": "all"}, BOX):
        (piece,) = accepted(model, "seqlip", domain=domain)
        assert piece["kind"] == "seqlip"


def test_a_layer_of_low_rank() -> None:
    rng = np.random.default_rng(1)
    middle = rng.normal(size=(9, 2)) @ rng.normal(size=(2, 8))
    accepted(mlp([rng.normal(size=(8, 5)), middle, rng.normal(size=(3, 9))]), "seqlip")


def test_a_wide_pair_rests_on_one_set_of_multipliers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.lipschitz.seqlip.pairs.solve.semidefinite_work", lambda pair: 1e30)
    model = network([40, 90, 30])
    accepted(model, "seqlip")
    certificate, _ = certified(model, "seqlip")
    assert [len(pair["faces"]) for pair in pairs(certificate)] == [1]
    refused(lowered(certificate, 1e-6), "is not proved to be at most", model)
    assert unused(model, certificate) < 1e-7


def test_a_tree_beyond_the_limit_gives_way_to_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    _, close = certified(BRANCHED, "seqlip", options=CLOSE)
    monkeypatch.setattr(pair_faces, "MOST_FACES", 2)
    certificate, upper = certified(BRANCHED, "seqlip", options=CLOSE)
    assert upper == close
    assert upper < certificate["bound"] <= upper * 1.03
    assert certificate["reported"] == {"method": "seqlip", "value": upper}
    assert verdict(BRANCHED, certificate)["valid"]


def test_without_time_the_product_of_norms_is_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.lipschitz.seqlip.pairs.multiplier._STEPS", 1)
    monkeypatch.setattr("app.lipschitz.seqlip.pairs.solve.semidefinite_work", lambda pair: 1e30)
    accepted(network([40, 90, 60, 30]), "seqlip")


@pytest.mark.parametrize(("kind", "size"), [(Residual, 4), (Dense, 3), (Pooled, 6)])
@pytest.mark.parametrize("act", [nn.ReLU(), nn.GELU()])
def test_any_graph(kind: type[nn.Module], size: int, act: nn.Module) -> None:
    model = exported(lambda: kind(act), size)
    for domain in ({"kind": "all"}, BOX):
        pieces = accepted(model, "seqlip", domain=domain)
        assert {piece["check"] for piece in pieces} == {"independent"}
        assert kind is Dense or "seqlip" in {piece["kind"] for piece in pieces}


@pytest.mark.slow
def test_a_chain_that_reads_a_sum_and_ends_in_one() -> None:
    class Bottleneck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.ModuleList([nn.Linear(5, 5) for _ in range(4)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for first, last in (self.maps[:2], self.maps[2:]):
                x = x + last(torch.relu(first(x)))
            return x

    model = exported(Bottleneck, 5)
    (piece,) = accepted(model, "seqlip")
    assert piece["kind"] == "seqlip"
    certificate, _ = certified(model, "seqlip")
    assert len(certificate["pieces"][0]["chains"]) == 2
    for which in (0, 1):
        refused(lowered(certificate, 1e-6, which), "is not proved to be at most", model)
        assert unused(model, certificate, which) < 1e-7


def test_layers_without_a_matrix_cut_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_factors, "_SIDE", 10)
    model = network([4, 6, 6, 20, 20, 6, 6, 3])
    accepted(model, "seqlip")
    certificate, _ = certified(model, "seqlip")
    chains = certificate["pieces"][0]["chains"]
    assert [len(chain["pairs"]) for chain in chains] == [2, 2]


def test_a_product_keeps_its_neighbours_independent() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.gate = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.second(torch.relu(self.first(x))))
            return y * torch.sigmoid(self.gate(y))

    pieces = accepted(exported(Gated, 4), "seqlip", domain=BOX)
    assert [(piece["kind"], piece["check"]) for piece in pieces] == [
        ("seqlip", "independent"),
        ("recomputed", "recomputed"),
    ]


def unused(model: bytes, certificate: Fields, which: int = 0) -> float:
    """By how much a pair's constant can fall with its proof as it is: multipliers leave a little of the gap."""
    low, high = 0.0, 0.1
    for _ in range(24):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if verdict(model, lowered(certificate, middle, which))["valid"] else (low, middle)
    return high


@pytest.mark.parametrize("share", sampled([1e-3, 1e-6, 0.5], every=3))
def test_less_than_the_faces_support(branched: Fields, listed: Fields, share: float) -> None:
    rest = unused(BRANCHED, branched)
    assert rest < 1e-3
    refused(lowered(branched, rest + share), "is not proved to be at most")
    for which in range(3):
        refused(lowered(listed, share, which), "is not proved to be at most", LISTED)


def leaves(certificate: Fields) -> list[Fields]:
    return [face for face in pairs(certificate)[0]["faces"] if face["multipliers"]]


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, 1e300])
def test_other_multipliers(branched: Fields, factor: float) -> None:
    for i in range(len(leaves(branched))):

        def change(certificate: Fields, i: int = i) -> None:
            leaf = leaves(certificate)[i]
            leaf["multipliers"] = [factor * m for m in leaf["multipliers"]]

        refused(changed(branched, change), "is not proved to be at most")


def faces_of(certificate: Fields) -> list[Fields]:
    found: list[Fields] = pairs(certificate)[0]["faces"]
    return found


CHANGES: dict[str, tuple[Callable[[Fields], Any], str]] = {
    "the last leaf dropped": (lambda c: faces_of(c).pop(), "faces are missing"),
    "the first leaf dropped": (
        lambda c: faces_of(c).remove(next(face for face in faces_of(c) if face["split"] is None)),
        "",
    ),
    "a leaf more": (lambda c: faces_of(c).append(faces_of(c)[-1]), "left over"),
    "a leaf's half split away": (lambda c: faces_of(c)[-1].update(split=0, multipliers=None), "faces are missing"),
    "no faces": (lambda c: faces_of(c).clear(), "faces are missing"),
    "split twice at once": (lambda c: faces_of(c)[0].update(multipliers=[1.0]), "no multipliers of its own"),
    "split nowhere": (lambda c: faces_of(c)[0].update(split=2**40), "no slope"),
    "all vertices": (lambda c: pairs(c)[0].update(faces=[{"split": None, "multipliers": None}]), "too many vertices"),
    "a multiplier missing": (lambda c: leaves(c)[0]["multipliers"].pop(), "multipliers"),
    "a multiplier more": (lambda c: leaves(c)[0]["multipliers"].append(1.0), "multipliers"),
    "a negative one": (lambda c: leaves(c)[0]["multipliers"].__setitem__(0, -1.0), "at least"),
    "NaN": (lambda c: leaves(c)[0]["multipliers"].__setitem__(0, float("nan")), "no number"),
    "huge": (lambda c: leaves(c)[0]["multipliers"].__setitem__(0, 10**400), "finite"),
    "narrower slopes": (lambda c: pairs(c)[0]["upper"].__setitem__(3, 0.999), "do not cover"),
    "a neuron missing": (lambda c: pairs(c)[0]["lower"].pop(), "30 neurons"),
    "no constant": (lambda c: pairs(c)[0].update(constant=0.0), "is not proved to be at most"),
    "another activation": (lambda c: pairs(c)[0].update(node=1), "not the chain's activation"),
    "no such node": (lambda c: pairs(c)[0].update(node=2**40), "not the chain's activation"),
    "no pairs": (lambda c: c["pieces"][0]["chains"][0].update(pairs=[]), "needs a pair"),
    "a pair more": (lambda c: c["pieces"][0]["chains"][0].update(pairs=2 * pairs(c)), "activations"),
    "a chain twice": (lambda c: c["pieces"][0].update(chains=2 * c["pieces"][0]["chains"]), "two chains"),
    "a chain elsewhere": (lambda c: c["pieces"][0]["chains"][0].update(node=2), "one term of an affine node"),
    "a chain from elsewhere": (lambda c: c["pieces"][0]["chains"][0].update(source=1), "one term of an affine node"),
    "no chains": (lambda c: c["pieces"][0].update(chains=[]), "do not give the constant"),
    "another kind": (lambda c: c["pieces"][0].update(kind="autolip"), "a piece of kind"),
    "trust me": (lambda c: c["pieces"][0].update(kind="recomputed"), "a piece of kind"),
    "another norm": (lambda c: c["function"].update(norm="inf"), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(branched: Fields, name: str) -> None:
    change, reason = CHANGES[name]
    refused(changed(branched, change), reason)


def test_pairs_in_another_order(listed: Fields) -> None:
    def swapped(certificate: Fields) -> None:
        found = certificate["pieces"][0]["chains"][0]["pairs"]
        found[0], found[1] = found[1], found[0]

    def renamed(certificate: Fields) -> None:
        swapped(certificate)
        one, two, _ = pairs(certificate)
        one["node"], two["node"] = two["node"], one["node"]

    refused(changed(listed, swapped), "not the chain's activation", LISTED)
    refused(changed(listed, renamed), "", LISTED)


def test_another_model(branched: Fields) -> None:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(o, i)) / i**0.5 for i, o in pairwise([10, 30, 5])]
    other = mlp([1.000001 * weights[0], weights[1]])
    refused(branched, "another model", other)
    forged = changed(branched, lambda c: c["model"].update(sha256=hashlib.sha256(other).hexdigest()))
    refused(forged, "not proved", other)


def test_a_local_certificate_does_not_hold_everywhere() -> None:
    model = network([4, 20, 3], act="Tanh")
    local, _ = certified(model, "seqlip", domain={"kind": "box", "lower": 0.6, "upper": 0.7})
    assert verdict(model, local)["valid"]
    refused(changed(local, lambda c: c["function"].update(domain={"kind": "all"})), "not proved", model)


NOTHING: Fields = {}
"""For a face: a leaf whose vertices are tried."""
WIDER = {"lower", "upper"}
"""Other slopes may hold those of the graph, and the proof for them."""


@given(st.data())
def test_any_value_in_any_place(branched: Fields, listed: Fields, data: st.DataObject) -> None:
    model, certificate = data.draw(st.sampled_from([(BRANCHED, branched), (LISTED, listed)]))
    inside = [path for path in places(certificate) if "chains" in path and path[-1] != "chains"]
    path, value = data.draw(st.sampled_from(inside)), data.draw(st.sampled_from(VALUES))
    before: Any = certificate
    for key in path:
        before = before[key]
    answer = verdict(model, changed(certificate, lambda c: put(c, path, value)))
    assert isinstance(answer["valid"], bool)
    assert not answer["valid"] or value in (before, NOTHING) or WIDER & set(path)


def test_a_box_with_too_many_vertices_is_refused_at_once(listed: Fields, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "MOST_VERTICES", 100)
    refused(listed, "too many vertices", LISTED)


@pytest.mark.slow
def test_the_report_is_kept_beside_the_next_best_methods_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_LEAVES", 1)
    certificate, upper = certified(LISTED, "exact", "seqlip", "autolip")
    assert certificate["method"] == "seqlip"
    assert certificate["reported"] == {"method": "exact", "value": upper}
    assert upper < certificate["bound"]
    answer = verdict(LISTED, certificate)
    assert answer["valid"]
    assert (answer["method"], answer["reported"]["method"]) == ("seqlip", "exact")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_networks(seed: int) -> None:
    """A hundred certificates accepted, a hundred and more that were tampered with refused."""
    model = chain(seed, depth=2 + seed % 4, widest=28, act=RUNNABLE[seed % 4])
    answer = analyze(model, {"methods": ["seqlip"], "domain": BOX if seed % 5 == 0 else {"kind": "all"}})
    certificate, rows = answer["certificate"], answer["result"]["estimates"][0]["layers"]
    checked = verdict(model, certificate)
    assert (checked["valid"], checked["check"]) == (True, "independent"), checked["reasons"]
    assert certificate["bound"] <= answer["result"]["upper"]["value"] * (1 + 1e-8)
    which = random.Random(seed).randrange(len(rows))
    share = 1 - rows[which]["attained"] * (1 - 1e-6) / pairs(certificate)[which]["constant"]
    refused(lowered(certificate, share, which), "is not proved to be at most", model)
    refused(changed(certificate, lambda c: pairs(c)[which]["faces"].pop()), "faces are missing", model)
    refused(certificate, "another model", chain(seed + 1))


@pytest.mark.slow
def test_a_thousand_neurons_are_checked_in_seconds() -> None:
    model = network([784, 500, 300, 200, 10])
    certificate, _ = certified(model, "seqlip", budget_s=300, options={"seqlip": {"seconds": 20.0, "gap": 1e-2}})
    answer = verdict(model, certificate)
    assert answer["valid"], answer["reasons"]
    assert answer["check"] == "independent"
    assert answer["seconds"] < 30
