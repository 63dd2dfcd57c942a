"""Builds the client from the service's own sources: `app/client.py`, the reading of MLflow's cards, and what they
import, under the client's name.

There is one copy of the contract, in `app/contract`. The build takes along every module of `app` that the client
reaches; their imports are relative, so they stand in a package of any name.
"""

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent
SOURCE, NAME = "app", "lipserve_client"
START = ("app.client", "app.registries.card")


def path_of(module: str) -> Path | None:
    """The module's file; None for what is no module of ours."""
    stem = ROOT.joinpath(*module.split("."))
    found = [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return found[0] if found else None


def imports(path: Path) -> Iterator[str]:
    """Every name that may be a module of ours."""
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def reached() -> dict[str, Path]:
    """The modules that the client needs, packages included, but for the topmost."""
    found: dict[str, Path] = {}
    waiting = [*START]
    while waiting:
        module = waiting.pop()
        path = path_of(module)
        if module == SOURCE or module in found or path is None or not module.startswith(f"{SOURCE}."):
            continue
        found[module] = path
        waiting += [*imports(path), module.rpartition(".")[0]]
    return found


class Build(build_py):
    """The package's own files, and the modules of the service."""

    def run(self) -> None:
        """Copy them as they are."""
        super().run()
        for path in reached().values():
            target = Path(self.build_lib, NAME, path.relative_to(ROOT / SOURCE))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())


def version() -> str:
    """The service's."""
    found = re.search(r'__version__ = "(.+)"', (ROOT / SOURCE / "__init__.py").read_text("utf-8"))
    if found is None:
        raise SystemExit("the client is built inside the repository of the service")
    return found[1]


setup(version=version(), cmdclass={"build_py": Build})
