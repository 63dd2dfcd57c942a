"""A part of the slow tests that fits into some minutes, another one with every commit.

    pytest -p tests.time_box -m slow --one-in 3 --turn "$(git rev-parse HEAD)" --minutes 15

Chosen by a digest of turn and name, so that over the commits every test has its turn. So have the files: those that
come last may find no minutes left, and their tests are skipped, and say so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("time box")
    group.addoption("--one-in", type=int, default=1, help="run one test in so many")
    group.addoption("--turn", default="", help="which: another text chooses others")
    group.addoption("--minutes", type=float, default=float("inf"), help="start no test later than this")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    one_in, turn = config.getoption("--one-in"), config.getoption("--turn")
    names = chosen([item.nodeid for item in items], one_in, turn)
    by_name = {item.nodeid: item for item in items}
    config.hook.pytest_deselected(items=[by_name[name] for name in by_name.keys() - set(names)])
    items[:] = [by_name[name] for name in names]


def chosen(names: Sequence[str], one_in: int, turn: str) -> list[str]:
    """One in so many, the files in another order with every turn; a file's tests stay together, as fixtures do."""
    mine = [name for name in names if number(turn + name) % one_in == 0]
    return sorted(mine, key=lambda name: number(turn + name.partition("::")[0]))


def number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[END] = time.monotonic() + 60.0 * session.config.getoption("--minutes")


END = pytest.StashKey[float]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() > item.config.stash[END]:
        pytest.skip("no minutes left")
