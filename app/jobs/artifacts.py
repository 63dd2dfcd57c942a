"""Captured graphs kept as files of their own, so that a second question about a model does not read it again."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from typing import Any, BinaryIO

from .. import __version__
from ..errors import Problem
from ..store.artifacts import ArtifactKey, ArtifactRepository
from ..store.blobs import Blobs, Staged
from ..store.database import OUTAGES

logger = logging.getLogger(__name__)

GROWTH = 8
"""How much larger than its model's file a captured graph may be: numbers of one byte become eight."""
SMALL_BYTES = 8 * 2**20
LARGE_BYTES = 2**30


def max_bytes(model_bytes: int) -> int:
    """The largest captured graph of a file of that size; constants that a graph computes come on top."""
    return GROWTH * model_bytes + LARGE_BYTES


class Artifacts:
    """Finds and keeps captures. One that cannot be kept is made again."""

    def __init__(self, repository: ArtifactRepository, blobs: Blobs) -> None:
        self._repository = repository
        self._blobs = blobs

    def key(self, tenant: str, model: str, inputs: Any) -> ArtifactKey:
        """What a capture is kept under; `inputs` are the shapes of the request."""
        shapes = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        return ArtifactKey(tenant, model, shapes, __version__)

    def open(self, key: ArtifactKey) -> BinaryIO | None:
        """The capture's file, to be read from the start; None where it is not here."""
        try:
            digest = self._repository.digest(key)
            return None if digest is None else self._blobs.open(Blobs.key(digest))
        except (FileNotFoundError, *OUTAGES):
            return None

    def stage(self) -> Staged:
        """A file for a capture that is about to come; the caller closes it, kept or not."""
        return self._blobs.stage()

    def keep(self, key: ArtifactKey, staged: Staged, model_bytes: int) -> None:
        """Keep a capture unless it is much larger than its model; what goes wrong is only logged."""
        if staged.size > GROWTH * model_bytes + SMALL_BYTES:
            return
        try:
            staged.sync()
            self._repository.put(key, staged.sha256, lambda: self._blobs.keep(staged))
        except (OSError, Problem, *OUTAGES) as error:
            logger.warning("the captured graph of model %s was not kept: %s", key.model, error)

    def drop(self, key: ArtifactKey) -> None:
        """Forget a capture that turned out to be of no use."""
        with suppress(*OUTAGES):
            self._repository.drop(key, self._blobs.remove)

    def drop_model(self, tenant: str, model: str) -> None:
        """Forget every capture of a model that goes."""
        self._repository.drop_model(tenant, model, self._blobs.remove)

    def purge(self, age_s: float) -> None:
        """Forget captures that nobody has used for so long."""
        self._repository.purge(age_s, self._blobs.remove)
