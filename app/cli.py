"""The command line: `lipserve serve`, `lipserve openapi`, `lipserve verify`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from app.main import create_app
from app.settings import Settings

VALID, INVALID, ERROR = 0, 1, 3
"""Exit statuses of `verify`."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command = {"serve": _serve, "openapi": _openapi, "verify": _verify}[options.command]
    return command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lipserve", description="Certified Lipschitz brackets as a service.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the service with its local workers")
    serve.add_argument("--host", help="address to listen on (LIPSERVE_HOST)")
    serve.add_argument("--port", type=int, help="port to listen on (LIPSERVE_PORT)")
    commands.add_parser("openapi", help="print the OpenAPI document")
    verify = commands.add_parser("verify", help="check a certificate: exit status 0 valid, 1 invalid, 3 error")
    verify.add_argument("model", type=Path, help="the model's file")
    verify.add_argument("certificate", type=Path, help="the certificate's file, JSON")
    verify.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    return parser


def _serve(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name) for name in ("host", "port")}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        timeout_graceful_shutdown=settings.shutdown_s,
        log_config=None,
        access_log=False,
    )
    return 0


def _openapi(_options: argparse.Namespace) -> int:
    json.dump(create_app(Settings()).openapi(), sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from app.lipschitz.certificate.verify import verify  # torch is needed here only

    try:
        answer = verify(options.model.read_bytes(), options.certificate.read_bytes())
    except (OSError, MemoryError) as error:
        sys.stderr.write(f"lipserve verify: {error}\n")
        return ERROR
    sys.stdout.write((json.dumps(answer, indent=2) if options.json else _verdict(answer)) + "\n")
    return VALID if answer["valid"] else INVALID


def _verdict(answer: dict[str, Any]) -> str:
    """For people: what is proved, and by what, or why nothing is."""
    if not answer["valid"]:
        return "\n".join(["INVALID", *(f"  {reason}" for reason in answer["reasons"])])
    norm = answer["function"]["norm"]
    lines = [f"VALID: the {norm}-norm Lipschitz constant is at most {answer['bound']!r} ({answer['method']})"]
    for piece in answer["pieces"]:
        place = f"nodes {piece['start']} to {piece['end']}"
        lines.append(f"  {place}: {piece['constant']!r} by {piece['kind']}, {piece['check']}")
    return "\n".join([*lines, f"  checked in {answer['seconds']:.2f} s"])
