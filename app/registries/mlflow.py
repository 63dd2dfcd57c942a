"""MLflow's model registry over its REST interface: a version's file, its signature, its tags."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from ..contract.plain import Json
from ..refusals import InvalidModel
from .fetch import Credentials, Fetcher
from .guard import Guard, Unreachable
from .sources import Location, Shape

NAME = "mlflow"
API = "/api/2.0/mlflow"
CARD = "MLmodel"
MAX_CARD_BYTES = 2**20
SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, ten times as fast."""
TORCH_FILES = ("model.pt2", "model.pth")
"""A torch.export archive, or TorchScript; a pickled module has the second name, too, and is refused by its content."""
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
        shapes = _shapes(card.get("signature"))
        flavors = card.get("flavors")
        match flavors if isinstance(flavors, dict) else {}:
            case {"onnx": {"data": str(path)}}:
                return Location(f"{self.name}-{self.version}.onnx", path, shapes=shapes)
            case {"pytorch": {"model_data": str(folder)}}:
                path = next(filter(self._has, (f"{folder}/{file}" for file in TORCH_FILES)), "")
                if path:
                    return Location(f"{self.name}-{self.version}.{path.rpartition('.')[2]}", path, shapes=shapes)
        raise InvalidModel("The MLflow model has neither an ONNX nor a PyTorch flavour with a file.")

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


def _shapes(signature: Any) -> tuple[Shape, ...]:
    """The input shapes of a signature, which is JSON within YAML; none where it has other inputs than tensors."""
    try:
        columns = json.loads(signature["inputs"])
        return tuple(Shape(c.get("name"), tuple(map(int, c["tensor-spec"]["shape"]))) for c in columns)
    except (TypeError, KeyError, ValueError, AttributeError):
        return ()


def _authorization(token: str) -> dict[str, str]:
    if not token:
        return {}
    if ":" in token:
        return {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
    return {"Authorization": f"Bearer {token}"}
