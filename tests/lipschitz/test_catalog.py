"""The catalog, importable without torch, tells what the library really has."""

from __future__ import annotations

import subprocess
import sys

from app.contract.methods import AUTO, METHODS
from app.lipschitz.catalog import OPERATORS
from app.lipschitz.methods import IMPLEMENTATIONS
from app.lipschitz.network.rules import RULES


def test_every_method_is_implemented() -> None:
    assert {method.name for method in METHODS} == set(IMPLEMENTATIONS)
    assert set(AUTO) <= set(IMPLEMENTATIONS)


def test_every_rule_is_listed_once() -> None:
    listed = [info.operator.removeprefix("aten.") for info in OPERATORS]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(RULES)


def test_the_catalog_needs_no_torch() -> None:
    check = "import sys, app.contract.methods, app.lipschitz.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
