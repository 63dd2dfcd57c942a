"""Runs a benchmark and puts what it prints into docs/benchmarks.md, with the command and the date.

.venv/bin/python -m benchmarks.record NAME [ARGUMENT ...]

The page holds a place for it between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

from benchmarks.paper_table import write

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    """Run the benchmark named on the command line; its table stays as it was when it fails."""
    name, *arguments = sys.argv[1:]
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    shown = printed if printed.startswith("|") else f"```\n{printed}\n```"
    today = datetime.datetime.now(tz=datetime.UTC).date()
    write(PAGE, name, f"`{' '.join(['python', *command[1:]])}`, {today}:\n\n{shown}")
    print(printed)


if __name__ == "__main__":
    main()
