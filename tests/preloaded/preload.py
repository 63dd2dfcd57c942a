"""What a service and a worker import, all of it."""

import importlib

import alembic.command  # noqa: F401 (imported when a database is opened)
import uvicorn.lifespan.on
import uvicorn.loops.uvloop  # noqa: F401

from app.cli import COMMANDS

for name in ("serve", "worker"):
    assert name in COMMANDS
    importlib.import_module(f"app.commands.{name}")
