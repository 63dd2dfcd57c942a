"""A service with keys, and clients of several owners."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import httpx

from tests import command_line
from tests.conftest import RunningService


def lipserve(service: RunningService, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on the service's database."""
    return command_line.lipserve(*arguments, data_dir=service.data_dir)


def new_key(service: RunningService, owner: str, scopes: str) -> dict[str, Any]:
    """A key and its secret."""
    shown = lipserve(service, "keys", "create", "--owner", owner, "--scopes", scopes, "--json")
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def client_of(service: RunningService, secret: str) -> httpx.Client:
    """A client that sends the key."""
    return httpx.Client(base_url=service.url, timeout=60, headers={"Authorization": f"Bearer {secret}"})


def upload(client: httpx.Client, data: bytes, kind: str = "models") -> str:
    """The id of an uploaded file."""
    answer = client.post(f"/v1/{kind}", content=data)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


def finished(client: httpx.Client, model: str, **request: Any) -> dict[str, Any]:
    """A job that has succeeded."""
    answer = client.post("/v1/jobs", json={"model": model} | request, headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded"), answer.text
    return answer.json()
