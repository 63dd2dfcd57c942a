"""docs/methods.md tells of every method, in the catalog's words, and its numbers are those of the code."""

from __future__ import annotations

import re

import pytest

from app.contract.methods import AUTO, METHODS, MethodInfo
from app.lipschitz import portfolio
from app.lipschitz.exact.phases import model
from app.lipschitz.lipsdp import lipsdp
from app.lipschitz.lower import annealing, dataset, gradient, grid
from app.lipschitz.seqlip.pairs import enumeration
from app.lipschitz.walk.margins import ATTACKED
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "methods.md").read_text()
CHAPTERS = {"upper": "Upper bounds", "estimate": "Estimates", "lower": "Lower bounds"}


def chapter(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def section(name: str) -> str:
    return re.split(r"\n##+ ", PAGE.split(f"\n### `{name}`\n")[1])[0]


@pytest.mark.parametrize("kind", CHAPTERS)
def test_every_method_has_its_section_where_it_belongs(kind: str) -> None:
    headings = re.findall(r"^### `(\w+)`$", chapter(CHAPTERS[kind]), re.MULTILINE)
    assert sorted(headings) == sorted(method.name for method in METHODS if method.kind == kind)


@pytest.mark.parametrize("method", [one for one in METHODS if one.kind != "lower"], ids=lambda one: one.name)
def test_a_method_for_the_2_norm_says_so(method: MethodInfo) -> None:
    assert ("2-norm only" in section(method.name)) == (method.norms == ("2",))


def test_what_auto_does_is_what_the_page_says() -> None:
    text = " ".join(PAGE.split())
    assert f"`auto` runs {', '.join(f'`{name}`' for name in AUTO)} in this order" in text
    assert f"closed to {portfolio.CLOSED:.0e}".replace("e-0", "e-") in text
    assert f"more than {portfolio.FEW_NEURONS} neurons or {portfolio.FEW_INPUTS} inputs" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("seqlip", f"Up to {enumeration.LARGEST} free slopes"),
        ("lipsdp", f"up to N = {lipsdp.SMALL_SIDE:,}"),
        ("lipsdp", f"Up to N = {lipsdp.MIDDLE_SIDE:,}"),
        ("exact", f"at most {model.MOST_NEURONS:,} inputs and neurons"),
        ("dataset", f"the best {dataset.KEPT}, and the slopes between the first {dataset.PAIRED:,} points"),
        ("annealing", "T falling from {} to {}".format(*annealing.TEMPERATURES)),
        ("grid", f"1 to {grid.DIMENSIONS} inputs that vary"),
        ("gradient", {1e-3: "shrinks a thousandfold"}[gradient.NARROW[1]]),
    ],
)
def test_numbers_are_those_of_the_code(name: str, words: str) -> None:
    assert words in " ".join(section(name).split())


def test_the_attacked_pairs_are_counted() -> None:
    assert f"the {['one', 'two', 'three'][ATTACKED - 1]} steepest pairs" in " ".join(PAGE.split())


@pytest.mark.parametrize("page", ["methods.md", "kubernetes.md", "pipelines.md"])
def test_every_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (DOCS / page).read_text())
    assert all((DOCS / link).exists() for link in links), links
