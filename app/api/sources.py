"""`POST /v1/models` with JSON: the service fetches the model itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Self

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from pydantic import Field, ValidationError, model_validator

from ..contract.domain import Digest, Strict
from ..errors import DigestMismatch
from ..parsing import invalid
from ..registries.sources import Location, Source, Url, refusals_as_problems, whole
from ..services import Services
from ..store.blobs import Staged
from .bodies import small_body
from .callers import Caller
from .forms import Upload, clean_name
from .problems import parse_json

MAX_BYTES = 64 * 2**10
FETCHES = CapacityLimiter(8)
"""Threads that may fetch at one time, so that slow sources leave the others to everything else."""

Name = Annotated[str, Field(min_length=1, max_length=255)]


class MlflowSource(Strict):
    """A version of a registered model: by number, or by alias."""

    name: Name = Field(description="The registered model's name.")
    version: Annotated[str, Field(pattern="^[0-9]{1,9}$")] | None = Field(default=None, description="Its number ...")
    alias: Name | None = Field(default=None, description="... or an alias of it.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.version is None) == (self.alias is None):
            raise ValueError("give either version or alias")
        return self


class HubSource(Strict):
    """A file of a repository on the Hugging Face hub."""

    repo: Name = Field(description="Owner and name, with a slash between.")
    revision: Name = Field(default="main", description="A commit, branch or tag.")
    file: Name | None = Field(default=None, description="Its path; null: the first that the service's patterns fit.")


class SourceFields(Strict):
    """Where the model is: one of the three."""

    url: str | None = Field(default=None, description="http or https; redirects are not followed.")
    mlflow: MlflowSource | None = Field(default=None, description="A version in the MLflow registry.")
    hf: HubSource | None = Field(default=None, description="A file on the Hugging Face hub.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(place is not None for place in (self.url, self.mlflow, self.hf)) != 1:
            raise ValueError("give one of url, mlflow and hf")
        return self


class SourceRequest(Strict):
    """The JSON body of `POST /v1/models`."""

    source: SourceFields = Field(description="Where the model is.")
    sha256: Digest | None = Field(default=None, description="What the bytes must hash to.")
    name: Name | None = Field(default=None, description="The model's name; null: that of the file.")


def names_source(request: Request) -> bool:
    """Whether the body is JSON, so no file."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


async def source_request(request: Request) -> SourceRequest:
    """The body; InvalidRequest points at what is wrong."""
    data = parse_json(await small_body(request, MAX_BYTES))
    try:
        return SourceRequest.model_validate(data, strict=True)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False), data) from error


@asynccontextmanager
async def fetched(services: Services, caller: Caller, asked: SourceRequest) -> AsyncIterator[Upload | str]:
    """The staged file that the source holds; its digest alone where the model is known and need not be fetched."""
    source, location = await _locate(services, caller, asked)
    promised = asked.sha256 or location.sha256
    known = await to_thread.run_sync(services.models.known, caller.tenant, promised) if promised else None
    if known is not None:
        yield known.id
        return
    staged, name = await to_thread.run_sync(_read, services, source, location, limiter=FETCHES)
    try:
        if asked.sha256 not in (None, staged.sha256):
            raise DigestMismatch(f"The bytes fetched have the SHA-256 {staged.sha256}.")
        yield Upload(staged, clean_name(asked.name or name))
    finally:
        await to_thread.run_sync(staged.close)


async def _locate(services: Services, caller: Caller, asked: SourceRequest) -> tuple[Source, Location]:
    def locate() -> tuple[Source, Location]:
        with refusals_as_problems():
            source = _source(services, caller.tenant, asked.source)
            return source, source.find()

    return await to_thread.run_sync(locate, limiter=FETCHES)


def _source(services: Services, tenant: str, place: SourceFields) -> Source:
    outbound = services.outbound
    if place.url is not None:
        return Url(place.url, outbound.fetcher())
    if place.mlflow is not None:
        return outbound.server_for(tenant).version(place.mlflow.name, place.mlflow.version, place.mlflow.alias)
    assert place.hf is not None
    patterns = place.hf.file or services.settings.huggingface_files
    return outbound.hub_for(tenant).snapshot(place.hf.repo, place.hf.revision, patterns)


def _read(services: Services, source: Source, location: Location) -> tuple[Staged, str]:
    with refusals_as_problems():
        return whole(location, source, services.blobs.stage, services.settings.max_unpacked_bytes)
