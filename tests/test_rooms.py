"""The order of the service's rooms is the order of their imports, those for checkers of types included."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports import imports

APP = ROOT / "app"

ROOMS = (
    "printable", "contract", "lipschitz", "advice", "errors", "refusals", "settings", "observability", "parsing",
    "store", "worker", "jobs", "registries", "drain", "services",
    "api", "pages", "main",
    "server_connections", "server_protocol", "server",
    "client", "commands", "cli", "__main__",
)  # fmt: skip
"""A room imports from those before it only. The library's own rooms: tests/lipschitz/test_rooms.py."""


def room_of(path: Path) -> str:
    return path.relative_to(APP).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return [path for path in sorted(APP.rglob("*.py")) if path != APP / "__init__.py"]


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in files()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    climbs = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in files()
        if room_of(path) == room
        for module in imports(path)
        if module.split(".")[1] in later
    ]
    assert not climbs


def test_no_module_is_part_of_a_circle_of_the_api() -> None:
    """Within the room, each module can be imported before those that need it."""
    left = {path.stem: {name.split(".")[2] for name in imports(path) if name.startswith("app.api.")} for path in files()
            if room_of(path) == "api"}  # fmt: skip
    while ready := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in ready:
            del left[name]
    assert not left
