"""Connections to places that others name: only to addresses that are public or that the operator permits.

A name is resolved once, every address of it is checked, and the connection goes to a checked address itself, so an
answer that changes later changes nothing. TLS still asks for, and checks, the name.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

import httpcore
import httpx

from .guard_addresses import Address, Entry, entries, is_public, literal, plain

SCHEMES = {"http": 80, "https": 443}
MAX_URL = 2048

Resolver = Callable[[str, int], Iterable[str]]


class Refused(Exception):
    """The place may not be connected to; the text says why, for the caller."""


class Unreachable(Exception):
    """The place did not answer, or not as it should; the text says how, for the caller."""


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, by the system's resolver; OSError where there is none."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


@dataclass(frozen=True)
class Guard:
    """What may be connected to. `resolver` and `network` stand for the system's own."""

    allowed: tuple[Entry, ...] = ()
    resolver: Resolver = resolve
    network: httpcore.NetworkBackend | None = None
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, outbound_allow: str) -> Guard:
        """The guard of a setting; ValueError where it cannot be read."""
        return cls(entries(outbound_allow))

    def also(self, url: str) -> Guard:
        """A guard that permits, too, the host and port of a URL that the operator configured."""
        host, port = _place(url)
        return replace(self, allowed=(*self.allowed, Entry(host.lower().rstrip("."), port)))

    def check_url(self, url: str) -> None:
        """Refuse what can be refused without asking the network: scheme, credentials, a forbidden address."""
        host, port = _place(url)
        address = literal(host)
        if address is not None:
            self._check(host, address, port)

    def addresses(self, host: str, port: int) -> list[Address]:
        """The host's addresses, asked for once; Refused when one of them is forbidden."""
        try:
            resolved = [plain(ip_address(text.partition("%")[0])) for text in self.resolver(host, port)]
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"The host {host} cannot be resolved.") from error
        for address in resolved:
            self._check(host, address, port)
        return resolved

    def _check(self, host: str, address: Address, port: int) -> None:
        allowed = any(entry.names(host, port) or entry.holds(address, port) for entry in self.allowed)
        if not (allowed or is_public(address)):
            raise Refused(f"The host {host} is at {address}, which is not a public address.")


def _place(url: str) -> tuple[str, int]:
    """Host and port of a URL that may be fetched; Refused otherwise. The parser is the client's own."""
    if len(url) > MAX_URL:
        raise Refused(f"The URL is longer than {MAX_URL} characters.")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"The URL cannot be read: {error}.") from error
    port = parsed.port or SCHEMES.get(parsed.scheme, 0)
    if parsed.scheme not in SCHEMES or not parsed.host or not 0 < port < 2**16:
        raise Refused("A URL with http or https and a host is needed.")
    if parsed.userinfo:
        raise Refused("The URL must not hold a user name or password.")
    return parsed.host, port
