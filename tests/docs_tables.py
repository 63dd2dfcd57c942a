"""The tables of docs/operations.md and docs/api.md, made from the code.

.venv/bin/python -m tests.docs_tables

writes them between their markers, e.g. `<!-- settings -->` and `<!-- /settings -->`; a test fails while they differ.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

from app.api.job_metrics import EndingMetrics, JobMetrics
from app.api.metrics import HttpMetrics
from app.cli import COMMANDS, parser_of
from app.contract.methods import METHODS
from app.contract.options import OptionInfo
from app.errors import Problem
from app.jobs.states import Status
from app.main import create_app
from app.refusals import problem_types
from app.settings import ClientSettings, Settings
from app.store.database import Database
from app.store.endings import EndingRepository

SUFFIXES = {"counter": ("_total",), "histogram": ("", "_bucket", "_count", "_sum"), "gauge": ("",)}
"""What the names of a metric's series end with, by its kind."""
DOCS = Path(__file__).resolve().parent.parent / "docs"


def settings() -> str:
    """Every setting: its variable, its default, what it means."""
    rows = [
        (f"`LIPSERVE_{name.upper()}`", _installed(_default(field.default)), _sentence(field.description))
        for name, field in (Settings.model_fields | ClientSettings.model_fields).items()
    ]
    return _table(("variable", "default", "meaning"), rows)


def metrics() -> str:
    """Every metric: its name as it is read, its kind and labels, what it means."""
    rows = [
        (
            f"`{metric.name}{SUFFIXES[metric.type][0]}`",
            metric.type,
            ", ".join(f"`{label}`" for label in labels) or "-",
            metric.documentation,
        )
        for metric, labels in _metrics()
    ]
    return _table(("metric", "kind", "labels", "meaning"), rows)


def endpoints() -> str:
    """Every endpoint: what it does, and the scope that a key needs."""
    rows = [
        (f"`{verb.upper()} {path}`", _scope(verb, path, operation), _sentence(operation["description"]))
        for path, verbs in create_app(Settings()).openapi()["paths"].items()
        for verb, operation in verbs.items()
    ]
    return _table(("endpoint", "scope", "what it does"), rows)


def problems() -> str:
    """Every problem type: the end of its URI, its status, what it means."""
    rows = [(f"`{kind.slug}`", str(kind.status), _meaning(kind)) for kind in problem_types()]
    return _table(("problem", "status", "meaning"), rows)


def commands() -> str:
    """Every command with its options."""
    return _table(("command", "option", "meaning"), _commands("lipserve", parser_of(COMMANDS), ""))


def options() -> str:
    """Every option of every method: its default, what it may be, what it means."""
    rows = [
        (f"`{method.name}`", f"`{name}`", f"`{option.default}`", _allowed(option), _sentence(option.description))
        for method in METHODS
        for name, option in method.options.items()
    ]
    return _table(("method", "option", "default", "allowed", "meaning"), rows)


TABLES = {
    "methods.md": {"options": options},
    "operations.md": {"settings": settings, "metrics": metrics, "commands": commands},
    "api.md": {"endpoints": endpoints, "problems": problems},
}


def metric_names() -> set[str]:
    """The names of all series."""
    return {metric.name + suffix for metric, _ in _metrics() for suffix in SUFFIXES[metric.type]}


def _metrics() -> list[tuple[Any, list[str]]]:
    registry = CollectorRegistry()
    http = HttpMetrics(registry)
    registry.register(JobMetrics(lambda: dict.fromkeys(Status, 0), list))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        database.migrate()
        ended = EndingMetrics(registry, EndingRepository(database))
        database.close()
    own = {id(part): part for holder in (http, ended) for part in vars(holder).values() if hasattr(part, "_labelnames")}
    labels = {part._name: list(part._labelnames) for part in own.values()}
    return [(metric, labels.get(metric.name, _gauge_labels(metric.name))) for metric in registry.collect()]


def _gauge_labels(name: str) -> list[str]:
    return {
        "lipserve_jobs": ["status"],
        "lipserve_worker_up": ["worker", "device", "state"],
        "lipserve_gpu_memory_bytes": ["worker", "device", "kind"],
    }.get(name, [])


def _scope(verb: str, path: str, operation: dict[str, Any]) -> str:
    if "security" not in operation:
        return "none"
    if path == "/v1/webhooks/secret":
        return "read, write"
    return "admin" if path == "/metrics" else "read" if verb in ("get", "head") else "write"


def _commands(name: str, parser: argparse.ArgumentParser, described: str) -> Iterator[tuple[str, str, str]]:
    options = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for child, child_parser in action.choices.items():
                options += list(_commands(f"{name} {child}", child_parser, helps[child]))
        elif not isinstance(action, argparse._HelpAction):
            shown = action.option_strings[0] if action.option_strings else (action.metavar or action.dest.upper())
            options.append((f"`{name}`", f"`{shown}`", _sentence(action.help)))
    if described:
        yield f"`{name}`", "", _sentence(described)
    yield from options


def _meaning(kind: type[Problem]) -> str:
    return _sentence(kind.title if kind is Problem else kind.__doc__)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _allowed(option: OptionInfo) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    return f"{option.type}, {option.minimum:,} to {option.maximum:,}"


def _default(value: Any) -> str:
    if value is PydanticUndefined or value == "":
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _installed(text: str) -> str:
    """A module's name as users have it, who install the folder `app` as `lipserve`."""
    return text.replace("`app.", "`lipserve.")


def _sentence(text: str | None) -> str:
    joined = " ".join((text or "").split())
    return joined[:1].upper() + joined[1:] + ("" if joined.endswith(".") else ".")


def main() -> None:
    """Write every table into its page."""
    from benchmarks.paper_table import write  # torch is needed there

    for page, tables in TABLES.items():
        for name, make in tables.items():
            write(DOCS / page, name, make())


if __name__ == "__main__":
    main()
