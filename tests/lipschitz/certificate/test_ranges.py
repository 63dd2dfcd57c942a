"""Ranges that a certificate of a local bound states: proved by the check's own arithmetic, or refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.lipschitz.certificate.fields import InvalidCertificate
from app.lipschitz.certificate.range_records import range_records
from app.lipschitz.certificate.ranges import with_ranges
from app.lipschitz.certificate.record import RangeRecord
from app.lipschitz.deadline import NEVER
from app.lipschitz.domain import Ball, Box, Domain, WholeSpace
from app.lipschitz.network.build import build
from app.lipschitz.problem import Problem
from tests.effort import sampled
from tests.lipschitz.certificate.models import BOX, certified, chain, changed, exported, verdict
from tests.lipschitz.helpers import captured
from tests.lipschitz.network.test_intervals import CASES, domains, points_of, values

Fields = dict[str, Any]
BALL = {"kind": "ball", "center": 0.2, "radius": 0.3}
DEEP = chain(2, 5, 12, "Tanh")


@pytest.fixture(scope="module")
def local() -> Fields:
    return certified(DEEP, "lipsdp", domain=BALL)[0]


class Images(nn.Module):
    """Convolutions, max pooling, a residual and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.max_pool2d(torch.relu(self.first(x)), 2)
        y = torch.tanh(y + self.second(y)) * torch.sigmoid(self.second(y))
        return torch.relu(self.last(y.flatten(1)))


@pytest.mark.parametrize(("model", "method", "domain"), [
    (chain(4, 4, 12), "autolip", BOX), (chain(4, 4, 12), "lipsdp", BALL), (DEEP, "seqlip", BALL),
    (exported(Images, 1, 4, 4), "autolip", BALL),
])  # fmt: skip
def test_a_local_bound_states_what_proves_its_ranges(model: bytes, method: str, domain: Fields) -> None:
    certificate, upper = certified(model, method, domain=domain)
    answer = verdict(model, certificate)
    assert answer["valid"], answer["reasons"]
    assert certificate["bound"] <= upper * (1 + 1e-4)  # offsets of chosen slopes, where functions are curved
    assert certificate["ranges"] or certificate["choices"]
    bare = verdict(model, certificate | {"ranges": [], "lines": [], "choices": []})
    assert not bare["valid"]


def narrower(certificate: Fields, kind: str, record: int, share: float) -> None:
    """One range a little narrower than proved, at the end that is proved."""
    entry = certificate[kind][record]
    width = entry["upper"][0] - entry["lower"][0]
    entry["lower"][0] += share * width


@pytest.mark.parametrize("share", [1e-9, 1e-3, 0.5, 2.0])
def test_a_narrower_range_is_refused(local: Fields, share: float) -> None:
    records = [(kind, record) for kind in ("ranges", "choices") for record in range(len(local[kind]))]
    assert any(local["choices"])
    for kind, record in records:
        answer = verdict(DEEP, changed(local, lambda one, k=kind, i=record: narrower(one, k, i, share)))
        assert not answer["valid"]
        assert "the lines do not prove the ranges" in " ".join(answer["reasons"])


def test_random_tamperings_are_refused_or_harmless(local: Fields) -> None:
    """No change of an end inwards, or of a line, makes a certificate valid that claims less."""
    rng = random.Random(5)
    for _ in range(15):
        other = changed(local, lambda _: None)
        other["bound"] = other["pieces"][0]["constant"] = other["bound"] * 0.999
        if rng.random() < 0.4:
            slopes = rng.choice(rng.choice(other["choices"])["slopes"])["slopes"]
            slopes[rng.randrange(len(slopes))] += rng.choice([-0.1, 0.1, 1e3, 1e300])
        elif rng.random() < 0.5:
            entry = rng.choice([*other["ranges"], *other["choices"]])
            at = rng.randrange(len(entry["lower"]))
            entry[rng.choice(["lower", "upper"])][at] *= rng.choice([0.9, 1.1, -1.0, 1 + 1e-9])
        else:
            line = rng.choice(other["lines"])
            at = rng.randrange(len(line["below"]))
            line[rng.choice(["below", "above"])][at] += rng.choice([-0.1, 0.1, 1e3, 1e300])
        assert not verdict(DEEP, other)["valid"]


@pytest.mark.parametrize(("change", "reason"), [
    (lambda c: c["choices"].append(c["choices"][0]), "of one node"),
    (lambda c: c["choices"][0]["slopes"].append(c["choices"][0]["slopes"][0]), "belong to no activation"),
    (lambda c: c["choices"][0]["slopes"][0].update(node=c["choices"][0]["node"]), "belong to no activation"),
    (lambda c: c["choices"][0]["slopes"][0].update(node=10**6), "belong to no activation"),
    (lambda c: c["choices"][0]["slopes"][0]["slopes"].pop(), "not one each"),
    (lambda c: c["choices"][0]["slopes"][0]["positions"].append(10**6), "belong to no activation"),
    (lambda c: c["choices"][0]["slopes"][0].update(below=[1.0]), "not known"),
    (lambda c: c["choices"][0].update(slopes="x"), "must be a list"),
    (lambda c: c["choices"][-1].update(slopes=[]), "do not prove"),
    (lambda c: c["choices"][0].update(node=0), "belong to no node"),
    (lambda c: c["choices"][0].update(node=10**6), "belong to no node"),
    (lambda c: c["choices"][0]["positions"].append(0), "not one each"),
    (lambda c: c["choices"][0].update(positions=[10**6, *c["choices"][0]["positions"][1:]]), "entries"),
    (lambda c: c["choices"][0]["lower"].pop(), "not one each"),
    (lambda c: c["choices"][0].update(lower=["a"]), "must be a finite number"),
    (lambda c: c["lines"][0].update(node=c["lines"][0]["node"] - 1), "neurons|no activation|do not prove"),
    (lambda c: c["lines"][0]["below"].pop(), "neurons"),
    (lambda c: c["lines"][0].update(slope=[1.0]), "not known"),
    (lambda c: c.update(ranges=[], choices=[]), "belong to no node"),
])  # fmt: skip
def test_what_is_malformed_is_refused_by_name(local: Fields, change: Any, reason: str) -> None:
    answer = verdict(DEEP, changed(local, change))
    assert not answer["valid"]
    assert any(word in " ".join(answer["reasons"]) for word in reason.split("|")), answer["reasons"]


def problem_on(name: str, domain: Domain) -> Problem:
    function, shape = CASES[name]
    graph = captured(function, shape)
    return Problem(graph, build(graph, [0]), "2", domain, 0, NEVER, lambda _: None)


@pytest.mark.parametrize("name", sampled(CASES, every=8))
def test_values_lie_in_the_ranges_that_the_check_proves(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    size = problem_on(name, WholeSpace()).network.input.size
    for domain in domains(size, generator)[1:8:2]:
        problem = problem_on(name, domain)
        records, proved = range_records(problem)
        again = with_ranges(problem, *records)
        for node, value in values(problem.network, points_of(domain, size, generator)).items():
            for known in (proved.local.intervals[node], again.local.intervals[node]):
                rounding = 2.0**-48 * (1 + value.abs())
                inside = (known.lower <= value + rounding) & (value - rounding <= known.upper)
                assert bool((inside | value.isnan()).all())


def test_the_check_proves_what_the_service_found() -> None:
    """Ends agree to a relative 1e-9 of the width, on a network where linear bounds matter."""
    torch.manual_seed(0)
    layers = [nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 2)]
    graph = captured(nn.Sequential(*layers), (1, 6))
    box = Box(*torch.tensor([[-0.2] * 6, [0.1] * 6]).double())
    for domain in (Ball(torch.zeros(6, dtype=torch.float64), 0.3, "1"), box):
        problem = Problem(graph, build(graph, [0]), "2", domain, 0, NEVER, lambda _: None)
        (ranges, _, choices), proved = range_records(problem)
        assert len(ranges) + len(choices) >= 2
        for node in problem.network.nodes:
            mine, theirs = problem.local.intervals[node], proved.local.intervals[node]
            slack = 1e-9 * (1e-3 + mine.upper - mine.lower)
            assert bool(((theirs.lower <= mine.lower + slack) & (mine.lower <= theirs.lower + slack)).all())
            assert bool(((theirs.upper <= mine.upper + slack) & (mine.upper <= theirs.upper + slack)).all())


def test_the_whole_space_has_no_ranges() -> None:
    certificate, _ = certified(DEEP, "autolip")
    assert certificate["ranges"] == certificate["lines"] == []
    problem = problem_on("square", WholeSpace())
    with pytest.raises(InvalidCertificate, match="whole space"):
        with_ranges(problem, [RangeRecord(1, [0], [0.0], [1.0])], [])


def test_more_work_than_is_reasonable_is_refused(local: Fields, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.lipschitz.certificate.ranges.MOST_WORK", 100.0)
    answer = verdict(DEEP, local)
    assert not answer["valid"]
    assert "too large to be checked" in " ".join(answer["reasons"])
