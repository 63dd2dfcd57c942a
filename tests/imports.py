"""What a file of ours imports, by full names, however its import statements are written."""

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

from tests.conftest import ROOT


def imports(path: Path) -> Iterator[str]:
    """Every module or name of `app` that the file imports, wherever in it."""
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{module}.{alias.name}" for alias in node.names if module.split(".")[0] == "app")
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "app")
