"""Certificates that claim too much, or anything else, are refused with the reason and never crash the check."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lipschitz.files import verify
from tests.lipschitz.certificate.models import certified, chain, changed, verdict
from tests.lipschitz.onnx_networks import mlp, published

Fields = dict[str, Any]
MODEL = mlp(*published("lipsdp_random"))
TIGHT = {"lipsdp": {"gap": 1e-8}}


@pytest.fixture(scope="module")
def semidefinite() -> Fields:
    return certified(MODEL, "lipsdp", options=TIGHT)[0]


@pytest.fixture(scope="module")
def autolip() -> Fields:
    return certified(MODEL, "autolip")[0]


def refused(certificate: Any, reason: str, model: bytes = MODEL) -> None:
    answer = verdict(model, certificate)
    assert not answer["valid"]
    assert reason in " ".join(answer["reasons"]), answer["reasons"]


def lower_rho(share: float) -> Callable[[Fields], None]:
    """rho, constant and bound lowered together, so that only the proof can object."""

    def change(certificate: Fields) -> None:
        (piece,) = certificate["pieces"]
        piece["rho"] *= 1 - share
        piece["constant"] = certificate["bound"] = piece["rho"] ** 0.5 * (1 + 1e-15)

    return change


def multiplier(index: int, factor: float) -> Callable[[Fields], None]:
    def change(certificate: Fields) -> None:
        every = [
            (one["multipliers"], i) for one in certificate["pieces"][0]["activations"] for i in range(one_size(one))
        ]
        values, position = every[index % len(every)]
        values[position] *= factor

    return change


def one_size(activation: Fields) -> int:
    return len(activation["multipliers"])


@pytest.mark.parametrize("share", [1e-6, 1e-3, 0.5])
def test_less_rho_than_the_multipliers_support(semidefinite: Fields, share: float) -> None:
    refused(changed(semidefinite, lower_rho(share)), "do not prove rho")


@pytest.mark.parametrize("factor", [0.0, 0.5, 0.99, 1.01, 2.0])
@pytest.mark.parametrize("index", [0, 7, 30, 59])
def test_another_multiplier(semidefinite: Fields, index: int, factor: float) -> None:
    refused(changed(semidefinite, multiplier(index, factor)), "do not prove rho")


def test_the_bound_follows_from_its_parts(semidefinite: Fields, autolip: Fields) -> None:
    def bound(certificate: Fields) -> None:
        certificate["bound"] *= 1 - 1e-15

    def constant(certificate: Fields) -> None:
        certificate["pieces"][0]["constant"] *= 1 - 1e-9
        certificate["bound"] *= 1 - 1e-9

    refused(changed(semidefinite, bound), "less than the product")
    refused(changed(semidefinite, constant), "less than the root of rho")
    refused(changed(autolip, constant), "do not give the constant")


def test_norms_that_are_too_small(autolip: Fields) -> None:
    for i in range(4):

        def change(certificate: Fields, i: int = i) -> None:
            certificate["pieces"][0]["norms"][i]["norm"] *= 1 - 1e-9

        refused(changed(autolip, change), "is not proved to have norm")
        refused(changed(autolip, lambda c, i=i: c["pieces"][0]["norms"].pop(i)), "missing")


def test_one_norm_a_map(autolip: Fields) -> None:
    def twice(certificate: Fields) -> None:
        norms = certificate["pieces"][0]["norms"]
        norms.append(norms[0])

    refused(changed(autolip, twice), "two norms")


def test_another_model(semidefinite: Fields) -> None:
    weights, biases = published("lipsdp_random")
    other = mlp([1.000001 * weight for weight in weights], biases)
    refused(semidefinite, "another model", other)
    import hashlib

    forged = changed(semidefinite, lambda c: c["model"].update(sha256=hashlib.sha256(other).hexdigest()))
    refused(forged, "do not prove rho", other)


def test_another_function(semidefinite: Fields) -> None:
    for key, value in (
        ("norm", "inf"),
        ("output", "z"),
        ("domain", {"kind": "ring"}),
        ("target", {"kind": "logit", "index": 9}),
    ):
        answer = verdict(
            MODEL, changed(semidefinite, lambda c, key=key, value=value: c["function"].update({key: value}))
        )
        assert not answer["valid"]
        assert answer["reasons"]


def test_a_local_certificate_does_not_hold_everywhere() -> None:
    ball = {"kind": "ball", "center": [0.3], "radius": 0.05}
    local, _ = certified(MODEL, "lipsdp", options=TIGHT, domain=ball)
    assert verdict(MODEL, local)["valid"]
    refused(changed(local, lambda c: c["function"].update(domain={"kind": "all"})), "do not cover")


def test_slopes_must_hold_those_of_the_graph(semidefinite: Fields) -> None:
    def narrower(certificate: Fields) -> None:
        certificate["pieces"][0]["activations"][0]["upper"][3] = 0.999

    refused(changed(semidefinite, narrower), "do not cover")


PIECES: dict[str, Callable[[Fields], None]] = {
    "no pieces": lambda c: c.update(pieces=[]),
    "a gap": lambda c: c["pieces"][0].update(start=1),
    "an early end": lambda c: c["pieces"][0].update(end=3),
    "beyond the end": lambda c: c["pieces"][0].update(end=2**40),
    "backwards": lambda c: c["pieces"][0].update(start=7, end=0),
    "twice": lambda c: c["pieces"].append(c["pieces"][0]),
    "a piece of nothing": lambda c: c["pieces"].append(c["pieces"][0] | {"start": 7}),
    "no activations": lambda c: c["pieces"][0].update(activations=[]),
    "an activation twice": lambda c: c["pieces"][0]["activations"].append(c["pieces"][0]["activations"][0]),
    "an activation elsewhere": lambda c: c["pieces"][0]["activations"][0].update(node=1),
    "a neuron missing": lambda c: c["pieces"][0]["activations"][0]["multipliers"].pop(),
    "another kind": lambda c: c["pieces"][0].update(kind="autolip"),
    "no kind": lambda c: c["pieces"][0].pop("kind"),
    "trust me": lambda c: c["pieces"][0].update(kind="recomputed"),
    "a node renamed": lambda c: c["nodes"][1].update(name="other"),
    "a node missing": lambda c: c["nodes"].pop(),
    "another version": lambda c: c.update(version=3),
    "another format": lambda c: c.update(format="zip"),
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_that_do_not_fit(semidefinite: Fields, name: str) -> None:
    refused(changed(semidefinite, PIECES[name]), "")


VALUES: list[Any] = [
    None, True, -1, -1.0, 1e400, float("nan"), "1", [], {}, [[]], "x" * 20_000, 10**400, [None], [-1.0], [1e400],
]  # fmt: skip


def places(found: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value of a JSON document, few of a list."""
    below = found.items() if isinstance(found, dict) else enumerate(found[:2]) if isinstance(found, list) else []
    return [path, *(deeper for key, value in below for deeper in places(value, (*path, key)))]


def put(found: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = value
    return None


FREE = {"engine", "method", "function", "reported"}
"""What is a text, or no claim, or selects another function for which the proof may hold as well."""
UNREAD = {"rho", "activations", "norms", "chains", "torus", "maps"}
"""Of a piece of the other kind."""


@given(st.data())
def test_any_value_in_any_place(semidefinite: Fields, autolip: Fields, data: st.DataObject) -> None:
    """Wrong values are refused; a few places take other values without meaning more."""
    certificate = data.draw(st.sampled_from([semidefinite, autolip]))
    path = data.draw(st.sampled_from(places(certificate)))
    value = data.draw(st.sampled_from(VALUES))
    other = changed(certificate, lambda c: put(c, path, value)) if path else value
    answer = verdict(MODEL, other)
    assert isinstance(answer["valid"], bool)
    assert not answer["valid"] or path[0] in FREE or path[-1] in UNREAD


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[" * 100_000, b"\xff\xfe", b'{"bound": NaN}', b"1" * 10_000])
def test_what_is_no_certificate(data: bytes) -> None:
    answer = verify(MODEL, data)
    assert not answer["valid"]
    assert answer["reasons"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_networks(seed: int) -> None:
    model = chain(seed, depth=2 + seed % 4, widest=24)
    certificate, _ = certified(model, "lipsdp", options=TIGHT)
    rng = random.Random(seed)
    if certificate["pieces"][0]["kind"] == "lipsdp":
        refused(changed(certificate, lower_rho(1e-6)), "do not prove rho", model)
        refused(changed(certificate, multiplier(rng.randrange(99), rng.choice([0.0, 0.5, 2.0]))), "do not prove", model)
    refused(certificate, "another model", chain(seed + 1))


def test_numbers_survive_the_file(semidefinite: Fields) -> None:
    assert json.loads(json.dumps(semidefinite)) == semidefinite
