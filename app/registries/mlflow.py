"""MLflow's model registry over its REST interface: a version's file, its signature, its tags."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from ..contract.plain import Json
from ..refusals import InvalidModel
from .card import CARD, file_of, shapes_of
from .fetch import Credentials, Fetcher
from .guard import Guard, Unreachable
from .sources import Location

NAME = "mlflow"
API = "/api/2.0/mlflow"
MAX_CARD_BYTES = 2**20
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, ten times as fast."""
EVENTS = {("model_version", "created"), ("model_version_alias", "created")}
MAX_TAG = 5000


@dataclass(frozen=True)
class Server:
    """The tracking server that the operator configured."""

    uri: str
    fetcher: Fetcher

    @classmethod
    def of(cls, uri: str, token: str, guard: Guard, limit_s: float) -> Server:
        """The server at `uri`, which may be private; `token` is a bearer's, or `user:password`."""
        return cls(uri.rstrip("/"), Fetcher(guard.also(uri), limit_s, Credentials(uri, _authorization(token))))

    @property
    def artifacts(self) -> str:
        """Where versions' files are asked for."""
        return f"{self.uri}/model-versions/get-artifact"

    def version(self, name: str, version: str | None, alias: str | None) -> Version:
        """A registered version; an alias is resolved now."""
        if version is None:
            answer = self._get("/registered-models/alias", name=name, alias=alias or "")
        else:
            answer = self._get("/model-versions/get", name=name, version=version)
        try:
            return Version(self, name, str(answer["model_version"]["version"]))
        except (TypeError, KeyError) as error:
            raise Unreachable("The MLflow server answers without a model version.") from error

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        document = {"name": name, "version": version, "key": key, "value": value[:MAX_TAG]}
        self.fetcher.post(f"{self.uri}{API}/model-versions/set-tag", document)

    def _get(self, path: str, **params: str) -> Any:
        return self.fetcher.json(f"{self.uri}{API}{path}", params)


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as a source."""

    server: Server
    name: str
    version: str

    def find(self) -> Location:
        """The file of its ONNX or PyTorch flavour, and the shapes of its signature; InvalidModel without either."""
        card = self._card()
        path = file_of(card, self._has)
        if path is None:
            raise InvalidModel("The MLflow model has neither an ONNX nor a PyTorch flavour with a file.")
        name = f"{self.name}-{self.version}.{path.rpartition('.')[2]}"
        return Location(name, path, shapes=shapes_of(card.get("signature")))

    def read(self, path: str, write: Callable[[bytes], None]) -> None:
        """One of the version's files, which the tracking server hands out wherever they are kept."""
        self.server.fetcher.stream(self.server.artifacts, write, self._params(path))

    def _has(self, path: str) -> bool:
        return self.server.fetcher.exists(self.server.artifacts, self._params(path))

    def _card(self) -> Json:
        try:
            text = self.server.fetcher.bytes(self.server.artifacts, MAX_CARD_BYTES, self._params(CARD))
            card = yaml.load(text, SAFE_LOADER)  # noqa: S506 (it is a safe one)
        except (yaml.YAMLError, UnicodeError, RecursionError) as error:
            raise InvalidModel(f"The file {CARD} of the MLflow model cannot be read.") from error
        return card if isinstance(card, dict) else {}

    def _params(self, path: str) -> dict[str, str]:
        return {"name": self.name, "version": self.version, "path": path}


def event_of(payload: Any) -> dict[str, str] | None:
    """The version that a webhook's message is about; None for messages that ask for nothing."""
    match payload:
        case {"entity": str(entity), "action": str(action), "data": {"name": str(name), "version": version}}:
            if (entity, action) in EVENTS and isinstance(version, str | int):
                return {"name": name, "version": str(version)}
    return None


def _authorization(token: str) -> dict[str, str]:
    if not token:
        return {}
    if ":" in token:
        return {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"}
