"""The command line `lipserve`: one module of `app/commands` a command, imported when it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from pydantic import ValidationError

ERROR = 3
"""Exit status of a command line that makes no sense; argparse's own 2 means `inconclusive` here."""

COMMANDS = {
    "serve": "run the service with its local workers",
    "worker": "run jobs for a service elsewhere, without an API",
    "analyze": "analyze a model, here or by a service: exit status 0 pass, 1 fail, 2 inconclusive, 3 error",
    "compare": "compare two models of the same inputs and outputs: exit status as of analyze",
    "verify": "check a certificate: exit status 0 valid, 1 invalid, 3 error",
    "keys": "create, list and revoke API keys",
    "openapi": "print the OpenAPI document",
}
"""What each is for. A client of a service needs none of what the service is made of."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser_of(COMMANDS.keys() & given[:1]).parse_args(given)
    try:
        return int(_module(options.command).run(options))
    except ValidationError as error:
        faults = "; ".join(f"LIPSERVE_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors())
        sys.stderr.write(f"lipserve: a setting cannot be used: {faults} (docs/operations.md lists all of them)\n")
        return ERROR


class Parser(argparse.ArgumentParser):
    """argparse's, with our exit status."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end the process."""
        self.print_usage(sys.stderr)
        self.exit(ERROR, f"{self.prog}: {message}\n")


def parser_of(wanted: Collection[str]) -> Parser:
    """Knows every command, and the options of those that are wanted."""
    parser = Parser(prog="lipserve", description="Certified Lipschitz brackets as a service.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name in wanted:
            _module(name).add_options(command)
    return parser


def _module(name: str) -> ModuleType:
    return import_module(f"{__package__}.commands.{name}")
