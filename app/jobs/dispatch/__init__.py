"""The dispatchers, by the setting of that name."""

from __future__ import annotations

from ...settings import Settings
from ...store.jobs import JobRepository
from ..dispatcher import Dispatcher
from .embedded import EmbeddedDispatcher


def dispatcher_of(settings: Settings, repository: JobRepository) -> Dispatcher:
    """The dispatcher that the settings ask for."""
    if settings.dispatcher == "celery":
        from .celery import CeleryDispatcher  # of the extra `cluster`

        return CeleryDispatcher(settings.broker_url, repository, settings.poll_s)
    return EmbeddedDispatcher(settings.poll_s)
