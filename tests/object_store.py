"""An S3-compatible server of the tests' own, in a process of its own on the loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_S = 60.0
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class ObjectStore:
    """Where the server listens."""

    endpoint: str

    @property
    def options(self) -> dict[str, Any]:
        """What `LIPSERVE_BLOB_OPTIONS` holds."""
        return {"endpoint_url": self.endpoint, "key": "test", "secret": "test"}

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"b-{uuid.uuid4().hex}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> set[str]:
        """Every object's key."""
        return {found["Key"] for found in self.client().list_objects_v2(Bucket=bucket).get("Contents", [])}

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )


@contextmanager
def running_object_store(directory: Path, port: int) -> Iterator[ObjectStore]:
    """The server, stopped at the block's end."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (directory / "object-store.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | CREDENTIALS, stdout=log, stderr=log)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _await(endpoint, process)
        yield ObjectStore(endpoint)
    finally:
        process.kill()
        process.wait()


def _await(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the object store did not start"
        try:
            httpx.get(endpoint, timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(endpoint)
