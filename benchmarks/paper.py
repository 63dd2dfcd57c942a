"""The tables of Virmaux & Scaman, NeurIPS 2018, section 6, with certified columns added.

    .venv/bin/python -m benchmarks.paper mlp|cnn|alexnet [--layers 4 5 7 10] [--budget 60] [--methods ...] [--write]

Trains the networks at the first run and keeps them under --cache, so that later runs bound the same ones. Prints a
markdown table; --write puts it into docs/paper.md, with the command and the date.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.networks import MNIST
from benchmarks.paper_networks import Case, alexnet, cnns, mlps
from benchmarks.paper_table import COLUMNS, heading, line, row, write

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "paper.md"


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("mlp", "cnn", "alexnet"))
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 5, 7, 10])
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a method")
    parser.add_argument("--methods", nargs="+", default=list(COLUMNS), choices=list(COLUMNS), metavar="METHOD")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "paper", help="folder of the trained networks")
    parser.add_argument("--data", type=Path, default=MNIST, help="folder of MNIST's test files")
    parser.add_argument("--epochs", type=int, default=5, help="of the convolutional networks' training")
    parser.add_argument("--write", action="store_true", help="update docs/paper.md")
    return parser.parse_args()


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """The networks of the chosen table."""
    if options.table == "mlp":
        return mlps(options.cache, options.layers)
    if options.table == "cnn":
        return cnns(options.cache, options.layers, options.data, options.epochs)
    return alexnet()


def table(options: argparse.Namespace) -> list[str]:
    """The lines of the table, printed as they come, and below it why a method has no number."""
    lines, below = heading(), []
    print("\n".join(lines), flush=True)
    for case in cases(options):
        cells, reasons = row(case, options.methods, options.budget)
        lines.append(line(cells))
        print(lines[-1], flush=True)
        below += [f"- {reason}" for reason in reasons]
    print("\n".join(["", *below]))
    return [*lines, "", *below] if below else lines


def main() -> None:
    """Print one table and write it where asked to."""
    options = parsed()
    lines = table(options)
    if options.write:
        command = f".venv/bin/python -m benchmarks.paper {shlex.join(sys.argv[1:])}"
        date = datetime.datetime.now(datetime.UTC).date()
        write(PAGE, options.table, "\n".join([f"`{command}`, {date}:", "", *lines]))


if __name__ == "__main__":
    main()
