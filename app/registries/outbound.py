"""Everything that connects to the outside, built and started together: webhooks, sources, registries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import RowMapping

from ..contract.series import ModelVersion
from ..errors import SourceRefused
from ..settings import Settings
from ..store.blobs import Blobs
from ..store.database import Database
from ..store.deliveries import DeliveryRepository
from ..store.hooks import HookKey, HookRepository
from ..store.secrets import own_secret
from . import hooks, huggingface, mlflow, webhooks
from .fetch import Fetcher
from .guard import Guard
from .hooks import HookWorker
from .huggingface import Hub
from .intake import Intake
from .messages import message_of
from .mlflow import Server
from .poller import Poller
from .signing import tenant_secret
from .sources import Source, whole
from .webhooks import Sender


class MlflowRegistry:
    """Versions of the configured server, and their tags."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def version(self, event: dict[str, str]) -> ModelVersion:
        """The registered model and its version."""
        return ModelVersion.of(event["name"], event["version"])

    def source(self, event: dict[str, str]) -> Source:
        """The version that the event is about."""
        return self._server.version(event["name"], event["version"], None)

    def report(self, event: dict[str, str], tags: dict[str, str]) -> None:
        """Set the tags."""
        for key, value in tags.items():
            self._server.tag(event["name"], event["version"], key, value)


class HubRegistry:
    """Repositories of the configured hub, which has no tags: what was found stays here."""

    def __init__(self, hub: Hub, patterns: str) -> None:
        self._hub = hub
        self._patterns = patterns

    def version(self, event: dict[str, str]) -> ModelVersion:
        """The repository and the commit."""
        return ModelVersion.of(event["repository"], event["revision"])

    def source(self, event: dict[str, str]) -> Source:
        """The repository at the commit that the event is about."""
        return self._hub.snapshot(event["repository"], event["revision"], self._patterns)

    def report(self, event: dict[str, str], tags: dict[str, str]) -> None:
        """Nothing to write."""


@dataclass(frozen=True, kw_only=True)
class Outbound:
    """What reaches out; `server` is None without a tracking server."""

    settings: Settings
    guard: Guard
    deliveries: DeliveryRepository
    hooks: HookRepository
    secret_of: Callable[[str], str]
    server: Server | None
    hub: Hub
    public_hub: Hub
    sender: Sender
    worker: HookWorker
    pollers: list[Poller[HookKey] | Poller[str]]

    def start(self) -> None:
        """Begin to send, and to work on what registries tell."""
        self.pollers.extend([self.sender.poller(), self.worker.poller()])
        for poller in self.pollers:
            poller.start()

    def stop(self) -> None:
        """End what was begun."""
        for poller in self.pollers:
            poller.stop()

    def hub_for(self, tenant: str) -> Hub:
        """The hub; with the operator's token for the operator's own tenant only."""
        return self.hub if tenant == self.settings.hook_owner else self.public_hub

    def server_for(self, tenant: str) -> Server:
        """The tracking server, for the operator's own tenant; SourceRefused otherwise."""
        if self.server is None or tenant != self.settings.hook_owner:
            raise SourceRefused("This service fetches no models from MLflow for you.")
        return self.server

    def fetcher(self) -> Fetcher:
        """For URLs that callers give."""
        return Fetcher(self.guard, self.settings.source_timeout_s)


def open_outbound(settings: Settings, database: Database, blobs: Blobs, intake: Intake) -> Outbound:
    """Everything built, nothing started; ValueError for settings that cannot be read."""
    guard, limit_s = Guard.of(settings.outbound_allow), settings.source_timeout_s
    uri, endpoint = settings.mlflow_tracking_uri, settings.huggingface_endpoint
    server = Server.of(uri, settings.mlflow_token, guard, limit_s) if uri else None
    hub = Hub.of(endpoint, settings.huggingface_token, guard, limit_s)
    registries: dict[str, hooks.Registry] = {huggingface.NAME: HubRegistry(hub, settings.huggingface_files)}
    if server is not None:
        registries[mlflow.NAME] = MlflowRegistry(server)
    deliveries, received = DeliveryRepository(database), HookRepository(database)
    secret_of = partial(tenant_secret, settings.webhook_secret or own_secret(database, "webhooks"))
    sending = webhooks.Terms(
        settings.webhook_timeout_s, tuple(settings.webhook_pauses_s), settings.poll_s, settings.retention_s
    )
    working = hooks.Terms(tuple(settings.hook_pauses_s), settings.poll_s, settings.retention_s)
    render: Callable[[RowMapping], bytes] = message_of(settings.public_url)
    fetch = partial(whole, stage=blobs.stage, max_unpacked=settings.max_unpacked_bytes)
    return Outbound(
        settings=settings,
        guard=guard,
        deliveries=deliveries,
        hooks=received,
        secret_of=secret_of,
        server=server,
        hub=hub,
        public_hub=Hub.of(endpoint, "", guard, limit_s),
        sender=Sender(deliveries, guard, sending, secret_of, render),
        worker=HookWorker(received, registries, intake, fetch, working),
        pollers=[],
    )
