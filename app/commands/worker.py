"""`lipserve worker`: runs jobs without an API, next to other processes that share the database and the file store."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

from sqlalchemy.exc import SQLAlchemyError

from ..jobs.engine import Engine
from ..observability import configure_logging, log_uncaught
from ..settings import Settings
from ..store.database import Database
from ..store.private import keep_private
from ..store.workers import WorkerRepository

logger = logging.getLogger(__name__)

ABSENT = 1
"""Exit status of `--check` where this host's worker is not seen."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="only tell whether this machine's worker lives: exit status 0, else 1"
    )


def run(options: argparse.Namespace) -> int:
    """Run the worker until a signal, or only look for it; returns the exit status."""
    settings = Settings()
    return _check(settings) if options.check else _work(settings)


def _work(settings: Settings) -> int:
    configure_logging(settings)
    log_uncaught()
    keep_private(settings)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    engine = Engine(settings, runs_jobs=True)
    engine.start()
    logger.info("the worker %s takes jobs", settings.host_name)
    end.wait()
    logger.info("the worker %s stops", settings.host_name)
    engine.stop()
    return 0


def _check(settings: Settings) -> int:
    keep_private(settings)
    database = Database(settings.sqlalchemy_url())
    try:
        hosts = {row["host"] for row in WorkerRepository(database).live(settings.lease_s)}
    except SQLAlchemyError as error:
        sys.stderr.write(f"lipserve worker: the database does not answer: {type(error).__name__}\n")
        return ABSENT
    finally:
        database.close()
    return 0 if settings.host_name in hosts else ABSENT
