"""Prose of the documents: at most 120 characters a line. `python -m tests.docs_lines` fills wider paragraphs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH = 120
ITEM = re.compile(r"\s*(?:(?:[-*]|\d+\.) +)?")
FIXED = re.compile(r"\s*(\||#|<!--|\[[^\]]+\]: |!\[)")
"""Tables, headings, marks, targets of links and pictures stay as they are."""
WHOLE = re.compile(r"\[[^\]\n]*\]\([^)\n]*\)|`[^`\n]*`|\d (?:s|min|h|ms|%|[KMG]iB|[KMG]B)\b")
"""Links, code, and numbers with their units are not broken."""
JOINT = "\ue000"


def pages() -> list[Path]:
    """Every page that people read."""
    return [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> Iterator[tuple[list[str], bool]]:
    """Runs of lines, and whether each is a paragraph or an item of a list."""
    block: list[str] = []
    in_code = False
    for line in text.split("\n"):
        is_fence = line.lstrip().startswith("```")
        indent = len(line) - len(line.lstrip())
        is_code = in_code or is_fence or (indent >= 4 and not block)
        is_item = bool(re.match(r"\s*(?:[-*]|\d+\.) ", line))
        if is_code or is_item or not line.strip() or FIXED.match(line) or (block and line.endswith("  ")):
            if block:
                yield block, True
            block = []
        in_code ^= is_fence
        if is_code or not line.strip() or FIXED.match(line):
            yield [line], False
        else:
            block.append(line)
    if block:
        yield block, True


def filled(block: list[str]) -> list[str]:
    """The paragraph in lines of the width, those after an item's first below its text."""
    match = ITEM.match(block[0])
    assert match is not None
    whole = " ".join([block[0][match.end() :], *map(str.strip, block[1:])])
    kept = WHOLE.sub(lambda link: link[0].replace(" ", JOINT), whole)
    options = {"initial_indent": match[0], "subsequent_indent": " " * match.end()}
    lines = textwrap.wrap(kept, WIDTH, break_long_words=False, break_on_hyphens=False, **options)  # type: ignore[arg-type]
    return [line.replace(JOINT, " ") for line in lines]


def is_long(block: list[str]) -> bool:
    """Whether a line is too long and could be shorter."""
    return max(map(len, block)) > WIDTH and filled(block) != block


def too_long(text: str) -> list[str]:
    """The first lines of paragraphs that are too wide."""
    return [block[0][:60] for block, is_prose in blocks(text) if is_prose and is_long(block)]


def main() -> None:
    """Fill what is too wide in every page."""
    for page in pages():
        shown = (
            filled(block) if is_prose and is_long(block) else block for block, is_prose in blocks(page.read_text())
        )
        page.write_text("\n".join(line for block in shown for line in block))


if __name__ == "__main__":
    main()
