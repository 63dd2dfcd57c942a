"""Certificates that claim too much, or anything else, are refused with the reason and never crash the check."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.lipschitz.certificate.record import VERSION
from app.lipschitz.files import analyze, verify
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


def test_a_certificate_of_all_outputs_is_none_of_their_margins() -> None:
    """f(x) = (x, -x): the constant of both outputs is sqrt(2), that of their margin 2."""
    model = mlp([np.array([[1.0], [-1.0]])])
    certificate, bound = certified(model, "autolip")
    assert bound == pytest.approx(2**0.5)
    margins = changed(certificate, lambda c: c["function"].update(target={"kind": "margins"}))
    refused(margins, "no certificate proves all margins", model)
    margin = changed(certificate, lambda c: c["function"].update(target={"kind": "margin", "i": 0, "j": 1}))
    assert not verdict(model, margin)["valid"]
    assert analyze(model, {"methods": ["autolip"], "target": {"kind": "margins"}})["certificate"] is None


FUNCTIONS: dict[str, Callable[[Fields], Any]] = {
    "no norm": lambda f: f.pop("norm"),
    "no domain": lambda f: f.pop("domain"),
    "no target": lambda f: f.update(target={}),
    "a field too many": lambda f: f.update(certify=True),
    "a target's field too many": lambda f: f["target"].update(index=0),
    "a domain's field too many": lambda f: f["domain"].update(lower=0.0),
    "a target that is a text": lambda f: f.update(target="all"),
    "a boolean index": lambda f: f.update(target={"kind": "logit", "index": True}),
    "a fractional index": lambda f: f.update(target={"kind": "logit", "index": 0.0}),
    "a huge index": lambda f: f.update(target={"kind": "logit", "index": 10**30}),
    "no radius": lambda f: f.update(domain={"kind": "ball", "center": [0.0], "radius": 0.0}),
    "a centre out of a data set": lambda f: f.update(domain={"kind": "ball", "center": "dataset#0", "radius": 1.0}),
    "a nested centre": lambda f: f.update(domain={"kind": "ball", "center": [[0.0]], "radius": 1.0}),
    "gigantic inputs": lambda f: f.update(inputs=[[2**40, 2**40]]),
    "gigantic inputs with a zero": lambda f: f.update(inputs=[[0, 2**40]]),
    "inputs of no shape": lambda f: f.update(inputs=[3]),
    "a surrogate": lambda f: f.update(output="\ud800"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_are_none(autolip: Fields, name: str) -> None:
    other = changed(autolip, lambda c: FUNCTIONS[name](c["function"]) and None)
    refused(other, "function")


MEANT: dict[str, Callable[[Fields], Any]] = {
    "a field that nothing reads": lambda c: c.update(proof="trust me"),
    "a model's field": lambda c: c["model"].update(name="other"),
    "a digest that is none": lambda c: c["model"].update(sha256="ff"),
    "a piece's field": lambda c: c["pieces"][0].update(slack=1.0),
    "a norm's field": lambda c: c["pieces"][0]["norms"][0].update(p="inf"),
    "what another kind needs": lambda c: c["pieces"][0].update(rho=1.0),
    "an estimate's method": lambda c: c.update(method="autolip_power"),
    "an unknown method": lambda c: c["reported"].update(method="magic"),
    "an integer that is no double": lambda c: c.update(bound=2**60 + 1),
    "an integer beyond them": lambda c: c.update(bound=2**1024 - 1),
    "one far beyond them": lambda c: c["pieces"][0].update(constant=-(10**4000)),
    "a number as a text": lambda c: c.update(bound="NaN"),
    "a surrogate": lambda c: c.update(engine="\udfff"),
    "a surrogate's field": lambda c: c.update({"\udfff": 1}),
}


@pytest.mark.parametrize("name", MEANT)
def test_fields_that_mean_nothing(autolip: Fields, name: str) -> None:
    refused(changed(autolip, lambda c: MEANT[name](c) and None), "")


def test_two_fields_of_one_name(autolip: Fields) -> None:
    text = json.dumps(autolip)
    bound = json.dumps(autolip["bound"])
    for first, second in (("0.5", bound), (bound, bound)):
        twice = text.replace(f'"bound": {bound}', f'"bound": {first}, "bound": {second}', 1)
        answer = verify(MODEL, twice.encode())
        assert answer["reasons"] == ["the certificate is no JSON: 'an object has two fields of one name'"]


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
    "another version": lambda c: c.update(version=VERSION + 1),
    "another format": lambda c: c.update(format="zip"),
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_that_do_not_fit(semidefinite: Fields, name: str) -> None:
    refused(changed(semidefinite, PIECES[name]), "")


VALUES: list[Any] = [
    None, True, -1, -1.0, 1e400, float("nan"), "1", [], {}, [[]], "x" * 20_000, 10**400, [None], [-1.0], [1e400],
    2**1024 - 1, -(2**1024), 2**63, 2**48 - 1, 5e-324, "NaN", "\ud800", {"kind": "margins"}, {"": 1}, [2**1024],
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)

FREE = {
    ("engine",),
    ("function", "inputs"),
    ("function", "input"),
    ("function", "output"),
    ("reported",),
    ("reported", "value"),
}
"""What is a text, or no claim, or may be left out."""
UNREAD = {"rho", "activations", "norms", "chains", "torus", "maps"}
"""Of a piece of the other kind, where it is empty."""


@given(st.data())
def test_any_value_in_any_place(semidefinite: Fields, autolip: Fields, data: st.DataObject) -> None:
    """Wrong values are refused; a few places take other values without meaning more."""
    certificate = data.draw(st.sampled_from([semidefinite, autolip]))
    path = data.draw(st.sampled_from(places(certificate)))
    value = data.draw(st.sampled_from(VALUES))
    other = changed(certificate, lambda c: put(c, path, value)) if path else value
    answer = verdict(MODEL, other)
    assert isinstance(answer["valid"], bool)
    assert not answer["valid"] or path in FREE or path[-1] in UNREAD
    json.dumps(answer, ensure_ascii=False).encode()


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(st.data())
def test_any_values_in_any_places(semidefinite: Fields, autolip: Fields, data: st.DataObject) -> None:
    """Several at once, lost fields and lists out of order among them: never an error, and never less than is proved."""
    certificate = data.draw(st.sampled_from([semidefinite, autolip]))
    other = changed(certificate, lambda _: None)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from([path for path in places(other) if path]))
        other = changed(other, lambda c, path=path: put(c, path, data.draw(st.sampled_from(VALUES) | JSON)))
    answer = verdict(MODEL, other)
    json.dumps(answer, ensure_ascii=False).encode()
    if answer["valid"]:
        assert answer["bound"] >= certificate["bound"] * (1.0 - 1e-6)
        shapes = other["function"]["inputs"] or None  # no shapes are no shapes, however they are written
        assert other["function"] | {"inputs": shapes} == certificate["function"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"[" * 100_000, b"\xff\xfe", b'{"bound": NaN}', b"1" * 10_000, b"[]," * 10**6]
)
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
