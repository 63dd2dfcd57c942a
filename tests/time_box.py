"""A part of the slow tests that fits into some minutes, another one with every commit.

    pytest -p tests.time_box -m slow --one-in 3 --turn "$(git rev-parse HEAD)" --minutes 15

Chosen by a digest of turn and name, so that over the commits every test has its turn; those that the minutes have no
room for are skipped, and say so.
"""

from __future__ import annotations

import hashlib
import time

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("time box")
    group.addoption("--one-in", type=int, default=1, help="run one test in so many")
    group.addoption("--turn", default="", help="which: another text chooses others")
    group.addoption("--minutes", type=float, default=float("inf"), help="start no test later than this")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    one_in, turn = config.getoption("--one-in"), config.getoption("--turn")
    chosen = [item for item in items if number(turn + item.nodeid) % one_in == 0]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[END] = time.monotonic() + 60.0 * session.config.getoption("--minutes")


END = pytest.StashKey[float]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() > item.config.stash[END]:
        pytest.skip("no minutes left")
