"""`lipserve serve`: the service, with its local workers unless they are elsewhere."""

from __future__ import annotations

import argparse
import ipaddress
import sys

from ..main import create_app
from ..observability import configure_logging, log_uncaught
from ..server import DrainingServer
from ..settings import Settings
from ..store.private import keep_private
from .keys import opened

ERROR = 3
"""Exit status where the service does not start."""
EXPOSED = """lipserve serve: refusing to listen on {host} without API keys, as everybody could use it. Either
  create a key:                  lipserve keys create --owner NAME --scopes read,write
  or listen on this host only:   lipserve serve --host 127.0.0.1
  or, behind a proxy that checks callers:   LIPSERVE_ANONYMOUS=true lipserve serve
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `serve` understands."""
    parser.add_argument("--host", help="address to listen on (LIPSERVE_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (LIPSERVE_PORT)")


def run(options: argparse.Namespace) -> int:
    """Run until a signal; exit status 3 where the service cannot start."""
    given = {name: getattr(options, name) for name in ("host", "port")}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    configure_logging(settings)
    log_uncaught()
    keep_private(settings)
    if not (settings.anonymous or _is_loopback(settings.host) or _has_keys(settings)):
        sys.stderr.write(EXPOSED.format(host=settings.host))
        return ERROR
    server = DrainingServer(create_app(settings), settings)
    server.run()
    return 0 if server.started else ERROR


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _has_keys(settings: Settings) -> bool:
    with opened(settings) as keys:
        return keys.are_configured()
