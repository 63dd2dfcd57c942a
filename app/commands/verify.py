"""`lipserve verify MODEL CERTIFICATE`: check a certificate again, in code in which no solver has a part."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..contract.domain import norm_words
from ..contract.plain import Json
from ..errors import Problem
from ..printable import printable, printable_json
from .local import verify_here

VALID, INVALID, ERROR = 0, 1, 3
"""Exit statuses."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `verify` understands."""
    parser.add_argument("model", type=Path, help="the model's file")
    parser.add_argument("certificate", type=Path, help="the certificate's file, JSON")
    parser.add_argument("--trust", action="store_true", help="run a program also where nothing confines it")
    parser.add_argument("--time-limit", type=float, default=3600.0, metavar="S", help="seconds to check (default 3600)")
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: valid, 1: invalid, 3: error."""
    try:
        answer = verify_here(options.model, options.certificate, options.trust, options.time_limit)
    except (OSError, Problem) as error:
        sys.stderr.write(f"lipserve verify: {printable(error)}\n")
        return ERROR
    sys.stdout.write((printable_json(answer) if options.json else _verdict(answer)) + "\n")
    return VALID if answer["valid"] else INVALID


def _verdict(answer: Json) -> str:
    """For people: what is proved, and by what, or why nothing is."""
    if not answer["valid"]:
        return "\n".join(["INVALID", *(f"  {printable(reason)}" for reason in answer["reasons"])])
    norm = norm_words(answer["function"]["norm"])
    lines = [f"VALID: the {norm} Lipschitz constant is at most {answer['bound']!r} ({printable(answer['method'])})"]
    for piece in answer["pieces"]:
        place = f"nodes {piece['start']} to {piece['end']}"
        lines.append(f"  {place}: {piece['constant']!r} by {printable(piece['kind'])}, {printable(piece['check'])}")
    return "\n".join([*lines, f"  checked in {answer['seconds']:.2f} s"])
