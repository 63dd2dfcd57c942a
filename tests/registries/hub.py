"""A small hub that speaks the documented protocol: revisions, trees in pages, files by commit, large ones elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.registries.local_server import Answer, Asked, LocalServer, local_server

PAGE = 2


@dataclass
class StandInHub:
    """`commits[sha]` maps paths to bytes; files of `large` paths are kept on `store`, as the hub keeps LFS files."""

    server: LocalServer
    store: LocalServer
    repository: str = "acme/net"
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    token: str = ""

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        listing = sorted((path, hashlib.sha256(data).hexdigest()) for path, data in files.items())
        sha = hashlib.sha1(json.dumps([len(self.commits), *listing]).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        return sha

    def push(self, sha: str) -> dict[str, Any]:
        """The message that the hub's webhook carries after a push."""
        return {
            "event": {"action": "update", "scope": "repo.content"},
            "repo": {
                "type": "model",
                "name": self.repository,
                "id": "621f",
                "private": True,
                "headSha": sha,
                "tags": [],
            },
            "updatedRefs": [{"ref": "refs/heads/main", "oldSha": "0" * 40, "newSha": sha}],
            "webhook": {"id": "66", "version": 3},
        }

    def answer(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401)
        url = urlsplit(asked.path)
        api = f"/api/models/{self.repository}/"
        if url.path.startswith(api + "revision/"):
            sha = self.branches.get(unquote(url.path.removeprefix(api + "revision/")))
            return Answer(body=json.dumps({"sha": sha}).encode()) if sha else Answer(404)
        if url.path.startswith(api + "tree/"):
            return self._tree(url.path, parse_qs(url.query))
        start = f"/{self.repository}/resolve/"
        if url.path.startswith(start):
            sha, _, path = url.path.removeprefix(start).partition("/")
            return self._file(sha, unquote(path))
        return Answer(404)

    def _tree(self, path: str, query: dict[str, list[str]]) -> Answer:
        files = self.commits.get(path.rpartition("/")[2])
        if files is None:
            return Answer(404)
        first = int(query.get("cursor", ["0"])[0])
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "onnx"}, *map(self._entry, files.items())]
        more = f'<{self.server.url}{path}?recursive=true&cursor={first + PAGE}>; rel="next"'
        headers = {"Link": more} if first + PAGE < len(entries) else {}
        return Answer(body=json.dumps(entries[first : first + PAGE]).encode(), headers=headers)

    def _entry(self, file: tuple[str, bytes]) -> dict[str, Any]:
        path, data = file
        entry = {"type": "file", "oid": "1" * 40, "size": len(data), "path": path}
        if path in self.large:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry

    def _file(self, sha: str, path: str) -> Answer:
        data = self.commits.get(sha, {}).get(path)
        if data is None:
            return Answer(404)
        if path not in self.large:
            return Answer(body=data)
        self.store.answer = lambda _: Answer(body=data)
        return Answer(302, headers={"Location": f"{self.store.url}/{sha}/{path}"})


@contextmanager
def stand_in_hub() -> Iterator[StandInHub]:
    with local_server() as server, local_server() as store:
        hub = StandInHub(server, store)
        server.answer = hub.answer
        yield hub
