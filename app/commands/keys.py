"""`lipserve keys`: API keys from the command line, straight on the database."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from ..contract.plain import Json
from ..contract.request import DEFAULT_PRIORITY, MAX_PRIORITY
from ..settings import Settings
from ..store.database import Database
from ..store.keys import KeyRecord, KeyRepository, Scope
from ..store.private import keep_private

OWNER = re.compile(r"[A-Za-z0-9._@-]{0,64}")
UNKNOWN = 1
"""Exit status of `revoke` where there is no such key."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their options."""
    commands = parser.add_subparsers(dest="keys_command", required=True)
    create = commands.add_parser("create", help="create a key and print its secret, which is shown only once")
    create.add_argument(
        "--owner",
        required=True,
        type=_owner,
        help="whose models, jobs and data sets the key opens; '' for what was there before there were keys",
    )
    create.add_argument(
        "--scopes",
        type=_scopes,
        default=frozenset({Scope.READ, Scope.WRITE}),
        help="comma list of read, write, admin (default: read,write)",
    )
    create.add_argument(
        "--max-priority",
        type=int,
        choices=range(MAX_PRIORITY + 1),
        default=DEFAULT_PRIORITY,
        metavar="P",
        help=f"highest priority of the key's jobs, 0 to {MAX_PRIORITY} (default {DEFAULT_PRIORITY})",
    )
    listing = commands.add_parser("list", help="list the keys, without their secrets")
    revoke = commands.add_parser("revoke", help="end a key at once")
    revoke.add_argument("id", help="the key's id, as `list` shows it")
    for command in (create, listing, revoke):
        command.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Run one sub-command; returns the exit status."""
    command = {"create": _create, "list": _list, "revoke": _revoke}[options.keys_command]
    settings = Settings()
    keep_private(settings)
    with opened(settings) as keys:
        return command(keys, options)


@contextmanager
def opened(settings: Settings) -> Iterator[KeyRepository]:
    """The keys of the settings' database, which is brought up to date."""
    database = Database(settings.sqlalchemy_url())
    database.migrate()
    try:
        yield KeyRepository(database)
    finally:
        database.close()


def _create(keys: KeyRepository, options: argparse.Namespace) -> int:
    key, secret = keys.create(options.owner, options.scopes, options.max_priority)
    _print(options, _shown(key) | {"secret": secret}, f"{_line(key)}\n{secret}")
    return 0


def _list(keys: KeyRepository, options: argparse.Namespace) -> int:
    records = keys.all()
    _print(options, [_shown(key) for key in records], "\n".join(map(_line, records)) or "no keys")
    return 0


def _revoke(keys: KeyRepository, options: argparse.Namespace) -> int:
    if not keys.revoke(options.id):
        sys.stderr.write(f"lipserve keys: no key {options.id} that is not revoked\n")
        return UNKNOWN
    _print(options, {"id": options.id, "revoked": True}, f"{options.id} is revoked")
    return 0


def _print(options: argparse.Namespace, value: Any, text: str) -> None:
    sys.stdout.write((json.dumps(value, indent=2) if options.json else text) + "\n")


def _shown(key: KeyRecord) -> Json:
    return {
        "id": key.id,
        "owner": key.tenant,
        "scopes": [scope for scope in Scope if scope in key.scopes],
        "max_priority": key.max_priority,
        "created_at": _time(key.created_at),
        "revoked_at": None if key.revoked_at is None else _time(key.revoked_at),
    }


def _line(key: KeyRecord) -> str:
    shown = _shown(key)
    end = "" if key.revoked_at is None else f", revoked {shown['revoked_at']}"
    allowed = f"{'+'.join(shown['scopes'])}, priority up to {key.max_priority}"
    return f"{key.id}  owner {key.tenant!r}, {allowed}, created {shown['created_at']}{end}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _owner(text: str) -> str:
    if not OWNER.fullmatch(text):
        raise argparse.ArgumentTypeError("an owner is at most 64 letters, digits and any of . _ @ -")
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name.strip()) for name in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}: scopes are {', '.join(Scope)}") from error
