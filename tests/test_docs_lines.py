"""Pages are read in terminals and diffs: their prose keeps to 120 characters a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs_lines import ROOT, filled, pages, too_long


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_short(page: Path) -> None:
    assert not too_long(page.read_text()), "python -m tests.docs_lines breaks them"


def test_filling_keeps_the_words_and_hangs_items() -> None:
    line = "- " + "word " * 40 + "[a link of words](there)"
    lines = filled([line])
    assert " ".join(lines).split() == line.split()
    assert [part[:2] for part in lines] == ["- ", "  "]
    assert too_long(line) == [line[:60]]
    assert too_long("| " + "cell | " * 40) == []
    assert too_long("```\n" + "x " * 80 + "\n```") == []
