"""What a file, a function and a name of ours may be; the order of rooms is in test_rooms.py."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT
from tests.imports import imports

FILES = sorted((ROOT / "app").rglob("*.py"))
MOST_LINES = 257
MOST_POSITIONAL = 5
MOST_PLAIN_DICTIONARIES = 40
"""Places that say `dict[str, Any]`: what comes from outside, and what goes to a library that asks for one."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def named(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def functions() -> Iterator[tuple[Path, Function]]:
    for path in FILES:
        yield from ((path, node) for node in ast.walk(tree(path)) if isinstance(node, Function))


def positional(function: Function) -> int:
    given = [argument.arg for argument in function.args.posonlyargs + function.args.args]
    return len(given) - (given[:1] in (["self"], ["cls"]))


def test_a_file_is_short_enough_to_be_one_idea() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_calls_read_without_counting_arguments() -> None:
    assert not [(named(path), one.name) for path, one in functions() if positional(one) > MOST_POSITIONAL]


def test_data_has_types() -> None:
    assert sum(path.read_text().count("dict[str, Any]") for path in FILES) < MOST_PLAIN_DICTIONARIES


def names(path: Path) -> Iterator[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return (token.string for token in tokens if token.type == tokenize.NAME)


def test_no_name_says_only_that_something_was_found() -> None:
    assert not [named(path) for path in FILES if {"found", "Found"} & set(names(path))]


def test_each_module_can_be_imported_before_those_that_need_it() -> None:
    """Imports for checkers of types count; those inside of functions, too."""
    modules = {named(path) for path in FILES}

    def needed(path: Path) -> set[str]:
        names = set(imports(path))
        return (names | {name.rpartition(".")[0] for name in names}) & modules - {named(path)}

    packages = {named(path) for path in FILES if path.name == "__init__.py"}
    left = {named(path): needed(path) - packages for path in FILES if path.name != "__init__.py"}
    while ready := [name for name, others in left.items() if not others & left.keys()]:
        for name in ready:
            del left[name]
    assert not left
