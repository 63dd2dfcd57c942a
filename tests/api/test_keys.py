"""Keys: how they are kept, made and ended, and what a service without any refuses."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest

from app.store.database import Database
from app.store.keys import KeyRepository, Scope
from app.store.tables import keys as table
from tests.conftest import ROOT, RunningService, free_port


def test_only_the_digest_of_a_secret_is_kept(database: Database) -> None:
    keys = KeyRepository(database)
    key, secret = keys.create("ada", {Scope.WRITE, Scope.READ})
    assert re.fullmatch(r"lip_[A-Za-z0-9_-]{43}", secret)
    with database.read() as connection:
        row = dict(connection.execute(table.select()).mappings().one())
    assert row["hash"] == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(row)
    assert row["scopes"] == "read,write"
    assert keys.holder(secret) == key
    assert keys.holder(secret[:-1]) is None
    assert keys.holder(row["hash"]) is None


def test_to_revoke_the_last_key_does_not_open_the_service(database: Database) -> None:
    keys = KeyRepository(database)
    assert not keys.are_configured()
    key, secret = keys.create("ada", {Scope.READ})
    assert keys.are_configured()
    assert keys.revoke(key.id)
    assert not keys.revoke(key.id)
    assert keys.holder(secret) is None
    assert keys.are_configured()
    assert [found.revoked_at is not None for found in keys.all()] == [True]


def command(tmp_path: object, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {f"LIPSERVE_{name.upper()}": str(value) for name, value in settings.items()}
    environment["LIPSERVE_DATA_DIR"] = str(tmp_path)
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_keys_are_made_listed_and_revoked_from_the_command_line(tmp_path: object) -> None:
    assert command(tmp_path, "keys", "list").stdout == "no keys\n"
    made = json.loads(command(tmp_path, "keys", "create", "--owner", "ada", "--scopes", "admin,read", "--json").stdout)
    assert (made["owner"], made["scopes"], made["revoked_at"]) == ("ada", ["read", "admin"], None)
    text = command(tmp_path, "keys", "create", "--owner", "bob").stdout
    assert "read+write" in text
    assert re.search(r"^lip_[A-Za-z0-9_-]{43}$", text, re.MULTILINE)
    assert command(tmp_path, "keys", "revoke", made["id"]).returncode == 0
    listed = json.loads(command(tmp_path, "keys", "list", "--json").stdout)
    assert [(key["owner"], key["revoked_at"] is None) for key in listed] == [("ada", False), ("bob", True)]
    assert not any("secret" in key for key in listed)
    assert command(tmp_path, "keys", "revoke", "nothing").returncode == 1
    for wrong in (("--owner", "a b"), ("--owner", "x" * 65), ("--owner", "a", "--scopes", "read,fly")):
        assert command(tmp_path, "keys", "create", *wrong).returncode == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_without_keys_only_this_host_is_served(tmp_path: object, host: str) -> None:
    shown = command(tmp_path, "serve", host=host, port=free_port())
    assert shown.returncode == 3
    for way_out in ("lipserve keys create", "--host 127.0.0.1", "LIPSERVE_ANONYMOUS=true"):
        assert way_out in shown.stderr


@pytest.mark.parametrize("how", ["anonymous", "keys"])
def test_other_hosts_are_served_on_request_or_with_keys(start_service: object, tmp_path: object, how: str) -> None:
    if how == "keys":
        command(f"{tmp_path}/data", "keys", "create", "--owner", "ada")
    service: RunningService = start_service(host="0.0.0.0", anonymous=how == "anonymous")  # type: ignore[operator]
    assert service.client.get("/v1/models").status_code == {"anonymous": 200, "keys": 401}[how]
