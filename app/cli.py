"""The command line `lipserve`: one module of `app/commands` a command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

from pydantic import ValidationError

from app.commands import analyze, keys, serve, verify, worker
from app.main import create_app
from app.settings import Settings

ERROR = 3
"""Exit status of a command line that makes no sense; argparse's own 2 means `inconclusive` here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    commands = {
        "serve": serve.run,
        "worker": worker.run,
        "analyze": analyze.run,
        "verify": verify.run,
        "keys": keys.run,
        "openapi": _openapi,
    }
    try:
        return commands[options.command](options)
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


def _parser() -> Parser:
    parser = Parser(prog="lipserve", description="Certified Lipschitz brackets as a service.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve.add_options(commands.add_parser("serve", help="run the service with its local workers"))
    worker.add_options(commands.add_parser("worker", help="run jobs for a service elsewhere, without an API"))
    analyze.add_options(
        commands.add_parser(
            "analyze", help="analyze a model, here or by a service: exit status 0 pass, 1 fail, 2 inconclusive, 3 error"
        )
    )
    verify.add_options(
        commands.add_parser("verify", help="check a certificate: exit status 0 valid, 1 invalid, 3 error")
    )
    keys.add_commands(commands.add_parser("keys", help="create, list and revoke API keys"))
    commands.add_parser("openapi", help="print the OpenAPI document")
    return parser


def _openapi(_options: argparse.Namespace) -> int:
    json.dump(create_app(Settings()).openapi(), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")
    return 0
