"""How many connections there may be, and which of them yield when there are too many."""

from __future__ import annotations

import logging
import resource
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from .settings import Settings

logger = logging.getLogger(__name__)

RESERVED_DESCRIPTORS = 384
"""Files that the service itself opens: databases, pipes of children, uploads, what it fetches."""
LEAST_CONNECTIONS = 16
MOST_DESCRIPTORS = 2**16
SHARE_TO_YIELD = 20
"""A twentieth yields at a time, so that a flood does not cost a look at every connection for each new one."""
IPV6_BITS = 64
"""What one customer of a provider has all addresses of."""


@dataclass(frozen=True)
class Limits:
    """What clients may cost. Sizes in bytes, times in seconds, `rate` in bytes a second."""

    connections: int
    connections_per_address: int
    header_bytes: int
    header_s: float
    stall_s: float
    rate: float

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of the settings, with no more connections than the process may have descriptors for."""
        room = max(LEAST_CONNECTIONS, raise_descriptor_limit() - RESERVED_DESCRIPTORS)
        return cls(
            min(settings.max_connections, room),
            min(settings.max_connections_per_address, room),
            settings.max_header_bytes,
            settings.header_timeout_s,
            settings.stall_timeout_s,
            settings.min_client_rate,
        )


def raise_descriptor_limit() -> int:
    """Take as many descriptors as this process may have; returns their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


class Pace:
    """Time that a client may still waste, in seconds: it runs out while nothing moves, and comes back with bytes."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._left_s = limits.stall_s
        self._at = now

    def moved(self, size: int) -> None:
        """So many bytes went through."""
        self._left_s = min(self._limits.stall_s, self._left_s + size / self._limits.rate)

    def is_over(self, now: float, *, is_clients_turn: bool) -> bool:
        """Whether the time has run out; it stands still while it is not the client that is waited for."""
        passed, self._at = now - self._at, now
        if is_clients_turn:
            self._left_s -= passed
        return self._left_s < 0


class Yielding(Protocol):
    """A connection, as far as it matters to the others."""

    @property
    def address(self) -> str:
        """Where it comes from."""

    def claim(self, now: float) -> tuple[int, float] | None:
        """Whoever has the least yields first; None for a request that is being answered, which never yields."""

    def check(self, now: float) -> None:
        """End it where its client is too slow."""

    def drop(self) -> None:
        """End it at once."""


class Connections:
    """Every open connection. Where there are too many, those that keep the service waiting yield to new ones.

    Whoever waits longest for its client goes first, of the address that has the most; requests that are being answered
    stay. So a client that opens connections and sends nothing locks nobody out, from the same address either.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: set[Yielding] = set()
        self._of_address: Counter[str] = Counter()
        self._yielded = self._refused = 0

    def add(self, connection: Yielding, now: float) -> bool:
        """Take a connection in, and have others yield for it; False where none does."""
        limits, address = self._limits, connection.address
        if self._of_address[address] >= limits.connections_per_address:
            self._make_room([other for other in self._open if other.address == address], now)
        if len(self._open) >= limits.connections:
            self._make_room(list(self._open), now)
        if (
            self._of_address[address] >= limits.connections_per_address  # nobody yielded
            or len(self._open) >= limits.connections
        ):
            self._refused += 1
            return False
        self._open.add(connection)
        self._of_address[address] += 1
        return True

    def remove(self, connection: Yielding) -> None:
        """Forget a connection that ended, if it was taken in."""
        if connection in self._open:
            self._open.discard(connection)
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    def sweep(self, now: float) -> None:
        """Once a second: end those whose clients are too slow, and tell of those that yielded."""
        for connection in list(self._open):
            connection.check(now)
        if self._yielded or self._refused:
            logger.warning("too many connections: %d had to yield, %d were refused", self._yielded, self._refused)
            self._yielded = self._refused = 0

    def _make_room(self, others: list[Yielding], now: float) -> None:
        claims = {other: claim for other in others if (claim := other.claim(now)) is not None}
        first = sorted(claims, key=lambda other: (claims[other][0], -self._of_address[other.address], claims[other][1]))
        for other in first[: 1 + len(others) // SHARE_TO_YIELD]:
            self.remove(other)
            self._yielded += 1
            other.drop()


def network_of(client: tuple[str, int] | None) -> str:
    """Whom a connection is counted for: an IPv4 address, or the network of an IPv6 one."""
    text = client[0] if client else ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> IPV6_BITS << IPV6_BITS))
    return text
