"""Under which names the service may be called, and whether a page's origin is one of them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ..registries.guard_addresses import Entry, entries, literal
from ..settings import Settings

PORTS = {"http": 80, "https": 443}
LOCALHOST = Entry("localhost", None)

Server = tuple[str, int | None]
"""Address and port on which a connection arrived."""


@dataclass(frozen=True)
class Hosts:
    """The operator's names for the service: `allowed_hosts`, the host of `public_url`, and `host`."""

    named: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """The names in the settings; ValueError where they cannot be read."""
        public = urlsplit(settings.public_url)
        configured = entries(settings.allowed_hosts)
        own = [Entry(settings.host.lower(), None)] if not _is_unspecified(settings.host) else []
        return cls((*configured, *([Entry(public.hostname, None)] if public.hostname else []), *own))

    def hold(self, host: str, server: Server | None) -> bool:
        """Whether the header `Host` is the loopback's, the operator's, or the address that the connection came to.

        No web page can have such a name unless it comes from here: others' names can be made to lead here at any
        time (DNS rebinding), numbers cannot.
        """
        place = _place(f"http://{host}")
        if place is None:
            return False
        address = literal(place.name)
        if address is not None and (address.is_loopback or (server is not None and place.name == server[0])):
            return True
        return any(
            entry.names(place.name, place.port) or (address is not None and entry.holds(address, place.port))
            for entry in (LOCALHOST, *self.named)
        )

    def own(self, origin: str, host: str) -> bool:
        """Whether a page of that origin came from here: by the name of the request itself, or by the operator's.

        An entry without a port stands for the scheme's own, as other ports of a host may be others' pages.
        """
        place = _place(origin)
        if place is None:
            return False
        return place.netloc == host.lower() or any(
            entry.names(place.name, place.port) and place.port in (entry.port, PORTS[place.scheme])
            for entry in self.named
        )


@dataclass(frozen=True)
class _Place:
    scheme: str
    netloc: str
    name: str
    port: int


def _place(url: str) -> _Place | None:
    """A scheme, a host and perhaps a port, and nothing else; None for any other text."""
    try:
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname
    except ValueError:
        return None
    if not name or parts.scheme not in PORTS or "@" in parts.netloc or parts._replace(scheme="", netloc="").geturl():
        return None
    return _Place(parts.scheme, parts.netloc.lower(), name.rstrip("."), port or PORTS[parts.scheme])


def _is_unspecified(host: str) -> bool:
    address = literal(host)
    return address.is_unspecified if address is not None else not host
