"""The Hugging Face hub, or a server that speaks its protocol: a repository's file at a commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from ..contract.plain import Json
from ..refusals import InvalidModel
from .fetch import Credentials, Fetcher
from .guard import Guard, Refused, Unreachable
from .sources import Location

NAME = "huggingface"
HOPS = 4
"""Redirects from the hub to where it keeps large files."""
MAX_PAGES = 20
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
REVISION = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)
COMMIT = re.compile("[0-9a-f]{40}")
NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="next"')


@dataclass(frozen=True)
class Hub:
    """The hub that the operator configured."""

    endpoint: str
    fetcher: Fetcher

    @classmethod
    def of(cls, endpoint: str, token: str, guard: Guard, limit_s: float) -> Hub:
        """The hub at `endpoint`, which may be private; without `token` it gives public models."""
        credentials = Credentials(endpoint, {"Authorization": f"Bearer {token}"} if token else {})
        return cls(endpoint.rstrip("/"), Fetcher(guard.also(endpoint), limit_s, credentials, HOPS))

    def snapshot(self, repository: str, revision: str, patterns: str) -> Snapshot:
        """A repository at a revision: a branch or tag is resolved to its commit now."""
        if not REPOSITORY.fullmatch(repository) or not REVISION.fullmatch(revision) or ".." in revision:
            raise Refused("The repository or its revision has a name that the hub does not give.")
        if not COMMIT.fullmatch(revision):
            revision = self._commit(repository, revision)
        return Snapshot(self, repository, revision, patterns)

    def files(self, repository: str, commit: str) -> Iterator[Json]:
        """Every file at that commit: `path`, and `lfs.oid` with the SHA-256 of a large one."""
        url = f"{self.endpoint}/api/models/{repository}/tree/{commit}?recursive=true"
        for _ in range(MAX_PAGES):
            page, headers = self.fetcher.json_with_headers(url)
            if not isinstance(page, list):
                raise Unreachable("The hub lists no files.")
            yield from (entry for entry in page if isinstance(entry, dict) and entry.get("type") == "file")
            following = NEXT.search(headers.get("link", ""))
            if following is None:
                return
            url = following[1]

    def _commit(self, repository: str, revision: str) -> str:
        answer = self.fetcher.json(f"{self.endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}")
        commit = answer.get("sha") if isinstance(answer, dict) else None
        if not (isinstance(commit, str) and COMMIT.fullmatch(commit)):
            raise Unreachable("The hub answers without a commit.")
        return commit


@dataclass(frozen=True)
class Snapshot:
    """A repository at a commit, as a source: the first file that fits one of the patterns, in their order."""

    hub: Hub
    repository: str
    commit: str
    patterns: str

    def find(self) -> Location:
        """The file, with its SHA-256 where the hub tells it; InvalidModel where none fits."""
        files = {str(entry.get("path")): entry for entry in self.hub.files(self.repository, self.commit)}
        for pattern in self.patterns.split(","):
            fitting = [path for path in files if fnmatchcase(path, pattern.strip())]
            if fitting:
                path = min(fitting, key=lambda p: (p.count("/"), p))
                return Location(
                    f"{self.repository.replace('/', '-')}-{path.rpartition('/')[2]}", path, _digest(files[path])
                )
        raise InvalidModel(f"The repository {self.repository} holds no file that fits {self.patterns}.")

    def read(self, path: str, write: Callable[[bytes], None]) -> None:
        """One of the repository's files, at the commit."""
        self.hub.fetcher.stream(f"{self.hub.endpoint}/{self.repository}/resolve/{self.commit}/{quote(path)}", write)


def event_of(payload: Any) -> dict[str, str] | None:
    """The model and the commit at the head of its main branch, after a push; None for other messages."""
    match payload:
        case {
            "event": {"scope": "repo.content", "action": "update"},
            "repo": {"type": "model", "name": str(name), "headSha": str(commit)},
        }:
            return {"repository": name, "revision": commit}
    return None


def _digest(entry: Json) -> str | None:
    match entry:
        case {"lfs": {"oid": str(digest)}}:
            return digest
    return None
