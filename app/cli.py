"""The command line: `lipserve serve`, `lipserve openapi`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence

import uvicorn

from app.main import create_app
from app.settings import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    command = {"serve": _serve, "openapi": _openapi}[options.command]
    return command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lipserve", description="Certified Lipschitz brackets as a service.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the service with its local workers")
    serve.add_argument("--host", help="address to listen on (LIPSERVE_HOST)")
    serve.add_argument("--port", type=int, help="port to listen on (LIPSERVE_PORT)")
    commands.add_parser("openapi", help="print the OpenAPI document")
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
