"""Keys: how they are kept, made and ended, and what a service without any refuses."""

import hashlib
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from app.store.database import Database
from app.store.keys import KeyRepository, Scope
from app.store.tables import keys as table
from tests.command_line import lipserve
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


def test_keys_are_made_listed_and_revoked_from_the_command_line(tmp_path: Path) -> None:
    keys = partial(lipserve, "keys", data_dir=tmp_path)
    assert keys("list").stdout == "no keys\n"
    made = json.loads(keys("create", "--owner", "ada", "--scopes", "admin,read", "--json").stdout)
    assert (made["owner"], made["scopes"], made["revoked_at"]) == ("ada", ["read", "admin"], None)
    text = keys("create", "--owner", "bob").stdout
    assert "read+write" in text
    assert re.search(r"^lip_[A-Za-z0-9_-]{43}$", text, re.MULTILINE)
    assert keys("revoke", made["id"]).returncode == 0
    listed = json.loads(keys("list", "--json").stdout)
    assert [(key["owner"], key["revoked_at"] is None) for key in listed] == [("ada", False), ("bob", True)]
    assert not any("secret" in key for key in listed)
    assert keys("revoke", "nothing").returncode == 1
    for wrong in (("--owner", "a b"), ("--owner", "x" * 65), ("--owner", "a", "--scopes", "read,fly")):
        assert keys("create", *wrong).returncode == 3


ADDRESSES = [pytest.param("0.0.0.0"), *(pytest.param(host, marks=pytest.mark.slow) for host in ("::", "192.0.2.1", ""))]


@pytest.mark.parametrize("host", ADDRESSES)
def test_without_keys_only_this_host_is_served(tmp_path: Path, host: str) -> None:
    given = {"HOST": host, "PORT": str(free_port()), "DATA_DIR": str(tmp_path)}
    environment = os.environ | {f"LIPSERVE_{name}": value for name, value in given.items()}
    command = [sys.executable, "-m", "app", "serve"]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 3
    for way_out in ("lipserve keys create", "--host 127.0.0.1", "LIPSERVE_ANONYMOUS=true"):
        assert way_out in shown.stderr


@pytest.mark.parametrize("how", ["anonymous", pytest.param("keys", marks=pytest.mark.slow)])
def test_other_hosts_are_served_on_request_or_with_keys(start_service: object, tmp_path: Path, how: str) -> None:
    if how == "keys":
        lipserve("keys", "create", "--owner", "ada", data_dir=tmp_path / "data")
    service: RunningService = start_service(host="0.0.0.0", anonymous=how == "anonymous")  # type: ignore[operator]
    assert service.client.get("/v1/models").status_code == {"anonymous": 200, "keys": 401}[how]
