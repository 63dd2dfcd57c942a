"""The page on the architecture names files and rooms that exist, and every room."""

from __future__ import annotations

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`(app/[a-z_/]+(?:\.py|/))`", PAGE))
    assert len(named) > 50
    assert not [path for path in named if not (ROOT / path).exists()]


def test_files_beside_one_another_exist() -> None:
    scalars = ROOT / "app" / "lipschitz" / "network" / "scalars"
    assert all(
        (scalars / f"{name}.py").exists() for name in ("sigmoids", "rectifiers", "exponentials", "powers", "waves")
    )


def test_every_room_of_the_service_is_on_the_page() -> None:
    rooms = {path.name for path in (ROOT / "app").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert not [room for room in rooms if f"app/{room}" not in PAGE]


def test_every_room_of_the_library_is_on_the_page() -> None:
    library = ROOT / "app" / "lipschitz"
    rooms = {path.name for path in library.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert not [room for room in rooms if not re.search(rf"^ {{8}}{room}/ ", PAGE, re.MULTILINE)]
