"""The dispatchers, by the setting of that name."""

from __future__ import annotations

from app.jobs.dispatch.embedded import EmbeddedDispatcher
from app.jobs.dispatcher import Dispatcher
from app.settings import Settings
from app.store.jobs import JobRepository


def dispatcher_of(settings: Settings, repository: JobRepository) -> Dispatcher:
    """The dispatcher that the settings ask for."""
    if settings.dispatcher == "celery":
        from app.jobs.dispatch.celery import CeleryDispatcher  # of the extra `cluster`

        return CeleryDispatcher(settings.broker_url, repository, settings.poll_s)
    return EmbeddedDispatcher(settings.poll_s)
