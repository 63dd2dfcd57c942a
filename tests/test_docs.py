"""The pages say what is there: every setting, metric, command, endpoint and problem, and none that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from app.main import create_app
from app.refusals import BY_SLUG
from app.settings import ClientSettings, Settings
from tests.docs_tables import DOCS, TABLES, commands, metric_names

PAGES = sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])
OURS = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`|^    (.+)$", re.MULTILINE)


def code() -> Iterator[tuple[str, str]]:
    """Every piece of code in the pages, with the page's name."""
    for page in PAGES:
        for inline, block in OURS.findall(page.read_text()):
            yield page.name, inline or block


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, tables in TABLES.items() for name in tables])
def test_tables_are_those_of_the_code(page: str, name: str) -> None:
    text = (DOCS / page).read_text()
    table = TABLES[page][name]()
    assert f"<!-- {name} -->\n{table}\n<!-- /{name} -->" in text, "run `python -m tests.docs_tables`"
    assert table.count("\n") > 3


def test_settings_that_are_named_exist() -> None:
    known = {f"LIPSERVE_{name.upper()}" for name in Settings.model_fields | ClientSettings.model_fields} | {"LIPSERVE_"}
    for page, text in code():
        assert set(re.findall(r"\bLIPSERVE_[A-Z_]*", text)) <= known, page


def test_metrics_that_are_named_exist() -> None:
    known = metric_names() | {"lipserve_client"}  # which is a package
    for page, text in code():
        assert set(re.findall(r"\blipserve_[a-z_]+", text)) <= known, page


def test_commands_that_are_named_exist() -> None:
    table = commands()
    known = set(re.findall(r"`(lipserve [a-z ]+)`", table))
    named = 0
    for page, text in code():
        for line in re.findall(r"(?:^|[ /])lipserve((?: [a-z]+)+)", text):
            words = line.split()
            assert any(f"lipserve {' '.join(words[:n])}" in known for n in (1, 2)), (page, line)
            named += 1
        for command, option in re.findall(r"lipserve ([a-z]+).*? (--[a-z][a-z-]*)", text):
            assert f"`{option}`" in table, (page, command, option)
    assert named > 5


def test_endpoints_that_are_named_exist() -> None:
    document = create_app(Settings()).openapi()
    known = {re.sub(r"\{[^}]*\}", "{}", path) for path in document["paths"]} | {"/openapi.json", "/docs", "/redoc"}
    named = 0
    for page, text in code():
        for path in re.findall(r"(?<![\w.])(/v1/[\w/{}$.]*)", text.replace("localhost:8000", " ")):
            general = re.sub(r"\{[^}]*\}|\$\w+|(?<=/)(?:ID|[0-9a-f]{8})\b", "{}", path.rstrip("."))
            assert general in known or f"{general}/" in {f"{one}/" for one in known}, (page, path)
            named += 1
    assert named > 20


def test_problems_that_are_named_exist() -> None:
    for page, text in code():
        assert set(re.findall(r"urn:lipserve:problem:([a-z-]+)", text)) <= set(BY_SLUG), page
    prose = (DOCS / "api.md").read_text()
    for slug in re.findall(r"\b[45]\d\d `([a-z-]+)`", prose):
        assert slug in BY_SLUG
