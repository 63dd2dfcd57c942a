"""The tests have the same names whenever and wherever they are collected: pytest-xdist's workers must agree."""

import os
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

CLOCK_OF_ARCHIVES_S = 2.1


def collected(seed: str) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-m",
        "slow or not slow",
        "-p",
        "no:cacheprovider",
    ]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    return [line for line in run.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_names_do_not_depend_on_the_clock_or_on_hashes() -> None:
    first = collected("1")
    time.sleep(CLOCK_OF_ARCHIVES_S)
    second = collected("2")
    assert len(first) > 1000
    assert first == second
