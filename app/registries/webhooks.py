"""Sends the outbox: each message signed, tried again with growing pauses, and every attempt written down.

Several processes may send at once. A message belongs to the one that claimed it, until its lease is over; so a message
arrives at least once, under the same id, whatever dies meanwhile.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import httpx
from sqlalchemy import RowMapping

from ..store.deliveries import DeliveryRepository, Outcome
from .guard import Guard, Refused, Unreachable
from .guard_network import guarded_client
from .poller import Poller
from .signing import signed

logger = logging.getLogger(__name__)

SENDERS = 8
LEASE_ROOM_S = 5.0
"""How much longer than one attempt its lease lasts."""
JITTER = 0.2
LONGEST_RETRY_AFTER_S = 3600
FORGET_S = 600.0


@dataclass(frozen=True)
class Terms:
    """How to send. `pauses_s`: the wait after each failed try, so there is one try more than pauses."""

    timeout_s: float
    pauses_s: tuple[float, ...]
    poll_s: float
    keep_s: float


class Sender:
    """Tries every message that is due; one object a process."""

    def __init__(
        self,
        repository: DeliveryRepository,
        guard: Guard,
        terms: Terms,
        secret_of: Callable[[str], str],
        message_of: Callable[[RowMapping], bytes],
    ) -> None:
        self._repository = repository
        self._guard = guard
        self._terms = terms
        self._secret_of = secret_of
        self._message_of = message_of

    def poller(self) -> Poller[str]:
        """The threads that send."""
        poller = Poller("webhooks", SENDERS, self._terms.poll_s, self._repository.due, self.send)
        poller.also(FORGET_S, lambda: self._repository.forget(self._terms.keep_s))
        return poller

    def send(self, delivery_id: str) -> None:
        """Try one message now, unless another sender has it."""
        claimed = self._repository.claim(delivery_id, self._terms.timeout_s + LEASE_ROOM_S)
        if claimed is None:
            return
        started = time.monotonic()
        outcome, retry_after_s, is_final = self._attempt(claimed, started)
        message = f"message {delivery_id} of job {claimed['job']}"
        if outcome.error is None:
            self._repository.delivered(claimed, outcome)
            logger.info("%s: delivered", message)
        elif is_final or claimed["tries"] > len(self._terms.pauses_s):
            self._repository.give_up(claimed, outcome)
            logger.warning("%s: given up: %s", message, outcome.error)
        else:
            delay_s = max(pause(self._terms.pauses_s, claimed["tries"]), retry_after_s)
            self._repository.postpone(claimed, outcome, delay_s)
            logger.info("%s: again in %.1f s: %s", message, delay_s, outcome.error)

    def _attempt(self, claimed: RowMapping, started: float) -> tuple[Outcome, float, bool]:
        """What came of one try, how long the receiver wants to be left alone, and whether it is no use to go on."""
        try:
            response = self._post(claimed)
        except Refused as error:
            return Outcome(None, str(error), time.monotonic() - started), 0, True
        except (Unreachable, httpx.HTTPError) as error:
            return Outcome(None, str(error) or type(error).__name__, time.monotonic() - started), 0, False
        status = response.status_code
        failure = None if response.is_success else f"The receiver answered with status {status}."
        outcome = Outcome(status, failure, time.monotonic() - started)
        return outcome, _retry_after(response), status == HTTPStatus.GONE

    def _post(self, claimed: RowMapping) -> httpx.Response:
        body = self._message_of(claimed)
        headers = signed(self._secret_of(claimed["tenant"]), claimed["id"], int(time.time()), body)
        self._guard.check_url(claimed["url"])
        with (
            guarded_client(self._guard, self._terms.timeout_s) as client,
            client.stream(
                "POST", claimed["url"], content=body, headers={"Content-Type": "application/json"} | headers
            ) as response,
        ):
            return response


def pause(pauses_s: tuple[float, ...], tries: int) -> float:
    """Seconds to wait after that many tries: as listed, a little more or less so that messages spread out."""
    return pauses_s[tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    return min(float(given), LONGEST_RETRY_AFTER_S) if given.isdecimal() else 0.0
