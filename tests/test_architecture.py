"""The page on the architecture names files and rooms that exist, and every room."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
FILE = re.compile(r"`(app/[a-z_/]+\.py)`")


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`(app/[a-z_/]+(?:\.py|/))`", PAGE))
    assert len(named) > 50
    assert not [path for path in named if not (ROOT / path).exists()]


def names() -> list[tuple[tuple[str, ...], str]]:
    """What the page says is in a file: in the walks right after its path, in the table in the row's last column."""
    steps = re.findall(r"`(app/[a-z_/]+\.py)`\s+`(\w+)`", PAGE)
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "`app/" in line]
    table = [(tuple(FILE.findall(row[1])), re.findall(r"`(\w+)`", row[2])) for row in rows if len(row) == 3]
    return [((path,), name) for path, name in steps] + [(paths, name) for paths, some in table for name in some]


def test_a_file_has_what_the_page_says_is_there() -> None:
    assert len(names()) > 50
    texts = {paths: "".join((ROOT / path).read_text() for path in paths) for paths, _ in names()}
    defined = r"^\s*(?:(?:async )?def|class) {0}\b|^\s*{0}\s*[:=]"
    missing = [(paths, name) for paths, name in names() if not re.search(defined.format(name), texts[paths], re.M)]
    assert not missing


def test_the_page_answers_what_a_newcomer_asks() -> None:
    rows = {line.split(" | ")[0].strip("| "): line for line in PAGE.splitlines() if line.startswith("| ")}
    asked = {
        "the slope of GELU": ("network/scalar.py", "slopes"),
        "a strided convolution": ("network/rules/affine.py", "convolution"),
        "the Schur matrix": ("lipsdp/dense/interior.py", "_schur"),
        "the JSON of a layer": ("contract/result.py", "LayerView"),
        "the size cap of an upload": ("settings.py", "max_upload_bytes"),
        "why a job was retried": ("jobs/recovery.py", "Recovery"),
        "the picture on the report": ("pages/figures.py", "bracket_figure"),
    }
    for question, (path, name) in asked.items():
        (row,) = [line for key, line in rows.items() if question in key]
        assert f"`app/lipschitz/{path}`" in row or f"`app/{path}`" in row
        assert f"`{name}`" in row


def test_files_beside_one_another_exist() -> None:
    scalars = ROOT / "app" / "lipschitz" / "network" / "scalars"
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| another activation")]
    named = re.findall(r"`(\w+)\.py`", row)
    assert len(named) == 5
    assert not [name for name in named if not (scalars / f"{name}.py").exists()]


def test_every_room_of_the_service_is_on_the_page() -> None:
    rooms = {path.name for path in (ROOT / "app").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert not [room for room in rooms if f"app/{room}" not in PAGE]


def test_every_room_of_the_library_is_on_the_page() -> None:
    library = ROOT / "app" / "lipschitz"
    rooms = {path.name for path in library.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert not [room for room in rooms if not re.search(rf"^ {{8}}{room}/ ", PAGE, re.MULTILINE)]
