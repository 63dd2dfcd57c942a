"""Public models as their authors published them, one row each: what they are, and a bracket or the refusal.

    git clone --bare https://github.com/OWNER/NAME CLONES/OWNER+NAME     # each repository of benchmarks/models.tsv
    python -m benchmarks.models CLONES --local ../shared/models --page docs/models.md

Asked for is AutoLip's bound with the slope that a short search attains, in the 2-norm: on the whole space, and where
there is none, or the service refuses the file for a jump or for its state, as its advice says: on the box [0, 1]^n,
with `output: auto`, as one step. Each model has a process of its own, so one that dies is a row as well. `--rows` keeps
the rows and goes on where a run ended.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import multiprocessing
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.lipschitz import bundle
from app.lipschitz.errors import LipschitzError
from app.lipschitz.files import analyze
from app.lipschitz.ingest import inspect
from benchmarks.paper_table import write

LIST = Path(__file__).with_name("models.tsv")
METHODS = ["autolip", "gradient"]
BOX = {"kind": "box", "lower": 0, "upper": 1}
BUDGET_S = 10.0
LIMIT_S = 240.0
MEMORY = 6 << 30

MATHEMATICS = {"discontinuous-operator", "not-globally-lipschitz"}
"""Refusals because there is no finite constant, or none is known to exist."""


BOUNDED_ONLY = ("not-globally-lipschitz", "method-skipped", "conversion-mismatch")
"""Refusals of the whole space after which the box is asked about; the last of models without values far away."""


@dataclass(frozen=True)
class Model:
    """A file of a commit of a public repository; `inputs` are the shapes of those that it leaves open, as JSON."""

    source: str
    path: str
    licence: str
    what: str
    inputs: str = ""


@dataclass(frozen=True)
class Row:
    """What came of a model: where it was bounded with both ends, or the refusal's slug and sentence."""

    model: Model
    operators: int | None
    where: str = ""
    lower: float | None = None
    upper: float | None = None
    slug: str = ""
    detail: str = ""
    seconds: float = 0.0

    @property
    def wrong(self) -> bool:
        """Whether the ends contradict each other."""
        return self.upper is not None and self.lower is not None and self.lower > self.upper


def listed() -> Iterator[Model]:
    """The models of the list."""
    with LIST.open() as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield Model(row["repository"], row["path"], row["licence"], row["what"], row["inputs"])


def local(folder: Path) -> Iterator[tuple[Model, bytes]]:
    """The files of a folder with a MANIFEST.tsv."""
    with (folder / "MANIFEST.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            source, _, _ = row["source"].partition(":")
            shapes = row["inputs"].replace("'", '"') if row["format"] == "torchscript" else ""
            yield Model(source, row["file"], row["licence"], row["format"], shapes), (folder / row["file"]).read_bytes()


def stored(clones: Path, model: Model) -> bytes:
    """The file out of the clone of its repository, with the files of its weights; unpacked where it is gzipped."""
    name, _, commit = model.source.partition("@")
    root = clones / name.replace("/", "+")
    git = root / "repo" if (root / "repo").exists() else root
    data = shown(git, "show", f"{commit}:{model.path}")
    if model.path.endswith(".gz"):
        return gzip.decompress(data)
    names = shown(git, "ls-tree", "--name-only", commit, str(Path(model.path).parent) + "/").decode().splitlines()
    beside = [name for name in names if name.startswith(model.path) and name != model.path]
    if not beside:
        return data
    files = {Path(name).name: shown(git, "show", f"{commit}:{name}") for name in (model.path, *beside)}
    members = [bundle.Member(name, hashlib.sha256(file).hexdigest(), len(file)) for name, file in files.items()]
    return b"".join((*files.values(), bundle.trailer(Path(model.path).name, members)))


def shown(git: Path, *words: str) -> bytes:
    """What git says of a clone."""
    return subprocess.run(["git", f"--git-dir={git}", *words], check=True, stdout=subprocess.PIPE).stdout


def shapes_of(model: Model) -> Any:
    """The shapes that are given with the model, None where none are."""
    return [entry for entry in json.loads(model.inputs) if isinstance(entry, list)] if model.inputs else None


def shapes_told(error: LipschitzError) -> Any:
    """Those of one step, which the refusal of a script with state tells; None for other refusals."""
    _, given, shapes = error.detail.partition("give inputs=")
    return json.loads(shapes.rstrip(".")) if given and error.slug == "stateful-model" else None


def ask(model: Model, data: bytes) -> Row:
    """The whole space, then the box; a file that jumps with `output: auto`."""
    begun, operators = time.monotonic(), None
    fields: dict[str, Any] = {"methods": METHODS, "budget_s": BUDGET_S, "inputs": shapes_of(model)}
    where = ["global"]
    try:
        operators = sum(inspect(data).operators.values())
        while True:
            try:
                result = analyze(data, fields)["result"]
            except LipschitzError as error:
                if error.slug == "discontinuous-operator" and "output" not in fields:
                    fields["output"] = "auto"
                    where.append("before the jump")
                    continue
                if (step := shapes_told(error)) is not None and "one step" not in where:
                    fields["inputs"] = step
                    where.append("one step")
                    continue
                if "domain" in fields or error.slug not in BOUNDED_ONLY:
                    raise
            else:
                upper = (result["upper"] or {}).get("value")
                if upper is not None or "domain" in fields:
                    break
            fields["domain"], where[0] = BOX, "box"
        lower = (result["lower"] or {}).get("value")
        ends = Row(model, operators, ", ".join(where), lower, upper, seconds=time.monotonic() - begun)
        return ends if upper is not None else Row(**{**vars(ends), "slug": "no-bound", "detail": "No finite bound."})
    except LipschitzError as error:
        return Row(model, operators, slug=error.slug, detail=error.detail, seconds=time.monotonic() - begun)


def child(sender: Connection, model: Model, data: bytes) -> None:
    """One row, or the error that nobody foresaw."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        sender.send(ask(model, data))
    except Exception as error:
        sender.send(Row(model, None, slug="crashed", detail=f"{type(error).__name__}: {error}"))


def measured(model: Model, data: bytes) -> Row:
    """The row that a process of its own sends, or what ended it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(sender, model, data))
    process.start()
    sender.close()
    try:
        if receiver.poll(LIMIT_S):
            row: Row = receiver.recv()
            return row
        return Row(model, None, slug="time-limit", detail=f"Longer than {LIMIT_S:.0f} s.")
    except EOFError:
        return Row(model, None, slug="crashed", detail="The process died.")
    finally:
        process.kill()
        process.join()


def rounded(value: float | None, rounding: str) -> str:
    """Three digits."""
    if value is None:
        return "-"
    return f"{Context(prec=3, rounding=rounding).create_decimal_from_float(value).normalize():g}"


def line(row: Row) -> str:
    """A row of the table."""
    answer = (
        f"{row.where}: {rounded(row.lower, ROUND_FLOOR)} .. {rounded(row.upper, ROUND_CEILING)}"
        if not row.slug
        else f"{row.slug}: "
    )
    detail = row.detail.replace("|", "\\|").replace("\n", " ")
    name, _, commit = row.model.source.partition("@")
    operators = "" if row.operators is None else str(row.operators)
    return (
        f"| {name}@{commit[:7]} `{row.model.path}` | {row.model.what} | {row.model.licence} | {operators} | "
        f"{answer}{detail} |"
    )


def table(rows: list[Row]) -> str:
    """All rows, and their sum."""
    bounded = [row for row in rows if not row.slug]
    jumps = sum(row.slug in MATHEMATICS for row in rows)
    wrong, crashed = sum(row.wrong for row in rows), sum(row.slug == "crashed" for row in rows)
    late = sum(row.slug == "time-limit" for row in rows)
    head = "| file | what it is | licence | operators | answer |\n|---|---|---|---|---|"
    total = (
        f"{len(rows)} files of {len({row.model.source.partition('@')[0] for row in rows})} repositories: "
        f"{len(bounded)} bounded ({sum(row.where.startswith('global') for row in bounded)} of them on the whole "
        f"space), {jumps} refused because they jump or grow without bound, "
        f"{len(rows) - len(bounded) - jumps - crashed - late} for other reasons, {late} not answered within "
        f"{LIMIT_S:.0f} s, {wrong} wrong, {crashed} crashed."
    )
    return f"{total}\n\n{head}\n" + "\n".join(map(line, rows))


def main() -> None:
    """Ask, print each row as it comes, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path, help="folder of clones, OWNER+NAME each")
    parser.add_argument("--local", type=Path, help="a folder of models with MANIFEST.tsv")
    parser.add_argument("--only", default="", help="part of the source and path")
    parser.add_argument("--rows", type=Path, help="file of rows: kept, and continued")
    parser.add_argument("--page", type=Path, help="page to write the tables into")
    arguments = parser.parse_args()
    kept = arguments.rows.read_text().splitlines() if arguments.rows and arguments.rows.exists() else []
    rows = {row.model: row for row in (Row(**{**r, "model": Model(**r["model"])}) for r in map(json.loads, kept))}
    models: list[tuple[Model, bytes | None]] = [(model, None) for model in listed()]
    ours = list(local(arguments.local)) if arguments.local else []
    for model, data in [*ours, *models]:
        if arguments.only not in f"{model.source} {model.path}" or model in rows:
            continue
        rows[model] = measured(model, stored(arguments.clones, model) if data is None else data)
        print(f"{rows[model].seconds:5.1f} s {line(rows[model])}", flush=True)
        if arguments.rows:
            with arguments.rows.open("a") as file:
                file.write(json.dumps(asdict(rows[model])) + "\n")
    tables = {
        "public": [rows[model] for model, _ in models if model in rows],
        "local": [rows[model] for model, _ in ours if model in rows],
    }
    for name, part in tables.items():
        if part and arguments.page:
            write(arguments.page, name, table(part))
        print(f"\n{name}\n{table(part)}")


if __name__ == "__main__":
    main()
