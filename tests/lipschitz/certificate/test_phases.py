"""Certificates of `exact`: trees of phases that the check accepts, and changed ones that it does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app.lipschitz.certificate.emptiness import Regions, combination
from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.ramps import Ramps
from app.lipschitz.certificate.verify import verify
from app.lipschitz.domain import Box
from app.lipschitz.files import analyze
from app.lipschitz.ingest import capture_artifact
from app.lipschitz.network.nodes import Activation, Affine, Input, Term
from app.lipschitz.network.scalars.rectifiers import relu
from app.lipschitz.operators.dense import Dense
from tests.lipschitz.certificate.models import BOX, changed, exported, verdict
from tests.lipschitz.onnx_networks import mlp, published

Fields = dict[str, Any]
PUBLISHED = ("exlipbab_iris", "exlipbab_wine12", "exlipbab_abalone")


def certified(model: bytes, *methods: str, **fields: Any) -> tuple[Fields, Fields]:
    """The certificate, and the job's result."""
    answer = analyze(model, {"methods": methods or ["exact"]} | fields)
    return answer["certificate"], answer["result"]


def accepted(model: bytes, **fields: Any) -> tuple[Fields, float]:
    """The certificate, of `exact` itself, and the witnessed lower bound."""
    certificate, result = certified(model, **fields)
    assert certificate["method"] == certificate["reported"]["method"] == "exact"
    assert certificate["pieces"][0]["kind"] == "phases"
    assert certificate["bound"] <= certificate["reported"]["value"] * (1 + 1e-4) + 1e-9
    answer = verdict(model, certificate)
    assert answer["valid"], answer["reasons"]
    assert answer["check"] == "independent"
    if result["lower"] is None:
        assert result["upper"]["value"] < 1e-150
        pytest.skip("the function is constant on this domain: nothing is attained")
    return certificate, float(result["lower"]["value"])


def network(seed: int) -> tuple[bytes, Fields]:
    """A small random network, and a question about it."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(2, 6, int(rng.integers(3, 5)))]
    sizes[0] += seed % 2
    weights = [rng.normal(size=(o, i)) / i**0.5 for i, o in pairwise(sizes)]
    biases = [rng.normal(size=len(weight)) for weight in weights]
    act = ("Relu", "LeakyRelu", "Relu", "Abs")[seed % 4]
    domain = ({"kind": "all"}, BOX, {"kind": "ball", "center": 0.1, "radius": 0.5})[seed % 3]
    return mlp(weights, biases, act), {"domain": domain, "norm": ("2", "2", "1", "inf")[seed // 2 % 4]}


@pytest.mark.parametrize(
    "name", [PUBLISHED[0], *(pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED[1:])]
)
@pytest.mark.parametrize("domain", [{"kind": "all"}, {"kind": "box", "lower": -1.0, "upper": 1.0}])
def test_published_networks(name: str, domain: Fields) -> None:
    accepted(mlp(*published(name)), domain=domain, budget_s=600.0)


def lowered(certificate: Fields, value: float) -> Fields:
    def change(fields: Fields) -> None:
        fields["bound"] = fields["pieces"][0]["constant"] = value

    return changed(certificate, change)


def attacks(tree: list[Fields], rng: np.random.Generator) -> list[tuple[list[Fields], bool]]:
    """Changed trees, and whether they have to be refused whatever they say."""
    splits = [i for i, node in enumerate(tree) if node["split"] is not None]
    leaves = [i for i, node in enumerate(tree) if node["split"] is None]
    leaf = int(rng.choice(leaves))
    found = [(tree[:leaf] + tree[leaf + 1 :], True), ([*tree, tree[leaf]], True), ([], True), (tree[:-1], True)]
    for index in splits[:: max(1, len(splits) // 2)]:
        found.append((tree[:index] + tree[index + 1 :], True))
        other = dict(tree[index], split=int(rng.integers(0, 12)))
        found.append(([*tree[:index], other, *tree[index + 1 :]], False))
        halved = [*tree[:index], dict(tree[index], split=None), *tree[index + 1 :]]
        found.append((halved, True))
    for index in leaves[:: max(1, len(leaves) // 3)]:
        node = tree[index]
        options: list[Fields] = [{"split": None, "rows": [], "multipliers": None}]
        options += [{"split": None, "rows": [int(n) for n in rng.integers(0, 16, 3)], "multipliers": None}]
        options += [{"split": None, "rows": None, "multipliers": None}]
        if node["multipliers"]:
            options += [dict(node, multipliers=[t * f for t in node["multipliers"]]) for f in (0.0, 0.5, 2.0, 1e300)]
            options += [dict(node, multipliers=node["multipliers"][1:])]
        if node["rows"]:
            options += [dict(node, rows=node["rows"][1:]), dict(node, rows=[*node["rows"], 0])]
        found += [([*tree[:index], option, *tree[index + 1 :]], False) for option in options]
    return found


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 100))])
def test_changed_certificates_are_refused_or_harmless(seed: int) -> None:
    model, question = network(seed)
    certificate, lower = accepted(model, **question)
    artifact, below = capture_artifact(model, None), lower * (1 - 1e-6)

    def valid(found: Fields) -> bool:
        return bool(verify(artifact, json.dumps(found).encode(), certificate["model"]["sha256"])["valid"])

    assert valid(certificate)
    assert not valid(lowered(certificate, below))
    tree = certificate["pieces"][0]["tree"]
    for other, refused in attacks(tree, np.random.default_rng(seed)):
        forged = copy.deepcopy(certificate)
        forged["pieces"][0]["tree"] = other
        assert not (refused and valid(forged))
        assert not valid(lowered(forged, below))


def test_a_box_without_interior_is_refused() -> None:
    model, _ = network(1)
    certificate, _ = certified(model, domain=BOX)

    def flat(fields: Fields) -> None:
        fields["function"]["domain"] = {"kind": "box", "lower": 0.4, "upper": 0.4}
        fields["bound"] = fields["pieces"][0]["constant"] = 1e-9

    answer = verdict(model, changed(certificate, flat))
    assert not answer["valid"]
    assert "no interior" in " ".join(answer["reasons"])


def test_what_no_tree_covers_keeps_another_methods_certificate() -> None:
    model = exported(lambda: nn.Sequential(nn.Linear(2, 3), nn.Hardtanh(), nn.Linear(3, 2)), 2)
    certificate, _ = certified(model, "exact", "autolip")
    assert certificate["method"] == "autolip"
    assert verdict(model, certificate)["valid"]


def regions(seed: int) -> tuple[Regions, Callable[[np.ndarray], np.ndarray]]:
    """A network with two layers of neurons on a box, and the sides of its neurons at a point."""
    rng = np.random.default_rng(seed)
    weights = [torch.from_numpy(rng.normal(size=shape)) for shape in ((4, 2), (4, 4))]
    biases = [torch.from_numpy(rng.normal(size=4)) for _ in weights]
    nodes: list[Any] = [Input((2,), ())]
    for weight, bias in zip(weights, biases, strict=True):
        affine = Affine((4,), (), (Term(nodes[-1], Dense((weight.shape[1],), (4,), weight)),), bias, 0, "affine")
        nodes += [affine, Activation((4,), (), affine, relu())]

    def sides(x: np.ndarray) -> np.ndarray:
        first = weights[0].numpy() @ x + biases[0].numpy()
        second = weights[1].numpy() @ np.maximum(first, 0.0) + biases[1].numpy()
        return np.sign(np.concatenate([first, second])).astype(np.int8)

    box = Box(*(torch.full((2,), end, dtype=torch.float64) for end in (-2.0, 2.0)))
    return Regions(nodes[0], box, Ramps(nodes)), sides


@pytest.mark.parametrize("seed", range(5))
def test_no_region_with_a_point_is_empty_and_some_are(seed: int) -> None:
    found, sides = regions(seed)
    rng = np.random.default_rng(seed)
    taken = [sides(x) for x in rng.uniform(-2.0, 2.0, (300, 2))]
    rows = [[int(n) for n in rng.choice(12, int(rng.integers(1, 4)), replace=False)] for _ in taken]
    assert not any(found.empty(own, chosen) for own, chosen in zip(taken, rows, strict=True))
    mirrored = [np.where(rng.random(8) < 0.5, own, -own).astype(np.int8) for own in taken]
    assert any(found.empty(own, chosen) for own, chosen in zip(mirrored, rows, strict=True))


def test_rows_must_name_conditions() -> None:
    found, sides = regions(0)
    own = sides(np.array([0.1, 0.2]))
    own[0] = 0
    for rows in ([4], [8], [12], [2**40]):
        with pytest.raises(InvalidCertificate):
            found.empty(own, rows)


def test_the_combination_is_unique_or_none() -> None:
    assert combination([[1, 0], [0, 1], [-2, -3]]) in ([2, 3, 1], [-2, -3, -1])
    assert combination([[1, 0], [0, 1]]) is None
    assert combination([[1, 0], [1, 0], [1, 0]]) is None
