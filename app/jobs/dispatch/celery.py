"""Jobs rung by Celery, through Redis, Valkey or RabbitMQ. A message carries a job's id and nothing else.

A ring may be lost with its broker, or with who took it; the slots find the job in the table all the same.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery.worker import WorkController, state
from celery.worker.request import Request
from kombu.entity import Queue

from ...store.jobs import JobRepository
from ...store.line import Wanted
from ..dispatcher import Slot
from ..record import Kind
from ..states import CLAIM
from .slot_threads import SlotThreads

logger = logging.getLogger(__name__)

TASK = "lipserve.ring"
QUEUE = "lipserve"
BACKLOG = 10_000
"""Rings that wait to be sent; what comes on top is left to the table."""
OUTAGE_S = 5.0
"""How long a broker that failed is left alone."""
END_S = 3.0

LOGGERS = {"celery": logging.WARNING, "kombu": logging.WARNING}
CONFIGURATION: dict[str, Any] = {
    "task_default_queue": QUEUE,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_acks_late": False,
    "task_publish_retry": False,
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 2.0,
}
REDIS: dict[str, Any] = {
    "broker_transport_options": {"socket_timeout": 5.0, "socket_connect_timeout": 2.0},
    "task_queues": [Queue(QUEUE, no_ack=True)],  # type: ignore[no-untyped-call]
    "worker_disable_prefetch": True,
    "task_acks_late": True,
}
"""Redis knows no acknowledgements, Kombu imitates them: those that fail in an outage fill its window, and it listens no
more. So a ring is gone once it is taken, and is taken when a thread is free.
"""


class CeleryDispatcher:
    """Sends rings from a thread of its own, and hands those that come to this process's idle slots."""

    def __init__(self, broker_url: str, repository: JobRepository, poll_s: float) -> None:
        for name, level in LOGGERS.items():
            logging.getLogger(name).setLevel(level)
        self._app = _celery(broker_url)
        request = _Unacknowledged if _is_redis(broker_url) else Request
        self._app.task(self._ring, name=TASK, shared=False, Request=request, wake=self._wake)
        self._repository = repository
        self._threads = SlotThreads(poll_s)
        self._rings = _Rings(self._app)
        self._worker: WorkController | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def notify(self, job_id: str, priority: int) -> None:  # noqa: ARG002 (the table knows it)
        """Hand the ring to the sending thread."""
        self._rings.send(job_id)

    def hear(self, job_id: str) -> None:  # noqa: ARG002 (the table knows it)
        """Wake the slots for inspections, whose rings may be stuck behind those of long jobs."""
        self._threads.ring(Kind.INSPECT)

    def serve(self, slots: Sequence[Slot]) -> None:
        """Start one thread a slot, and a Celery worker that takes as many rings at once as analyses can run."""
        self._threads.open(slots)
        self._app.set_default()  # where the worker's threads look their tasks up
        state.should_stop = None
        busy = max(1, sum(Kind.ANALYZE in slot.kinds for slot in slots))
        self._thread = threading.Thread(target=self._consume, args=(busy,), name="celery", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let slots and rings end. A worker that waits for its broker does not hold us up."""
        self._closed.set()
        state.should_stop = 0
        self._threads.close()
        self._rings.close()
        if self._thread is not None:
            self._thread.join(END_S)

    def _ring(self, job_id: str) -> None:  # noqa: ARG002 (whichever job it was for, the table knows which is next)
        """What the Celery task does: return when a slot has seen to a job, so that a busy host takes no more rings."""
        self._threads.ring(Kind.INSPECT)
        if self._repository.is_waiting(CLAIM, Wanted((Kind.ANALYZE,))):
            self._threads.ring_one(Kind.ANALYZE)

    def _consume(self, rings: int) -> None:
        """Let a Celery worker listen. It bears the loss of its connection itself; should it end, another takes over."""
        while not self._closed.is_set():
            self._worker = WorkController(
                app=self._app,
                pool="threads",
                concurrency=rings,
                without_heartbeat=True,
                without_mingle=True,
                without_gossip=True,
            )
            self._worker.start()  # logs what it dies of
            self._closed.wait(OUTAGE_S)

    def _wake(self) -> None:
        if self._worker is not None and self._worker.hub is not None:
            self._worker.hub.call_soon(lambda: None)


class _Unacknowledged(Request):  # type: ignore[misc]
    """A ring that came through Redis. When it is over, the worker has to be told to look for the next."""

    def acknowledge(self) -> None:
        """Send nothing: an acknowledgement on a connection that was lost ends Celery's worker."""
        self.task.wake()


class _Rings:
    """Rings on their way to the broker. A broker that is down costs nobody but the sending thread any time."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: queue.Queue[str | None] = queue.Queue(BACKLOG)
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._send_all, name="rings", daemon=True)
        self._thread.start()

    def send(self, job_id: str) -> None:
        """Have the ring sent, unless far too many wait."""
        try:
            self._waiting.put_nowait(job_id)
        except queue.Full:
            return

    def close(self) -> None:
        """Send what waits, if that is quick."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(END_S)

    def _send_all(self) -> None:
        while (job_id := self._waiting.get()) is not None:
            if time.monotonic() >= self._quiet_until:
                self._send(job_id)

    def _send(self, job_id: str) -> None:
        try:
            self._app.send_task(TASK, (job_id,))
        except Exception as error:
            self._quiet_until = time.monotonic() + OUTAGE_S
            logger.warning("the broker takes no rings, workers look at the table: %s", error)


def _celery(broker_url: str) -> Celery:
    app = Celery("lipserve", broker=broker_url, backend=None, set_as_current=False)
    app.conf.update(CONFIGURATION)
    if _is_redis(broker_url):
        app.conf.update(REDIS)
    return app


def _is_redis(broker_url: str) -> bool:
    return broker_url.startswith("redis")
