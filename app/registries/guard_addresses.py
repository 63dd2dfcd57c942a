"""Which addresses the service may connect to: public ones, and those that the operator lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
COMPATIBLE = IPv6Network("::/96")
ENTRY = re.compile(r"\[(?P<bracketed>[^\]]+)\](?::(?P<far_port>\d+))?|(?P<plain>[^:]+)(?::(?P<port>\d+))?|(?P<bare>.+)")


def is_public(address: Address) -> bool:
    """Whether the address is on the public internet, and so is every IPv4 address that it carries within."""
    if address.is_multicast or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return True
    return not address.is_site_local and all(map(is_public, _carried(address)))


def _carried(address: IPv6Address) -> list[IPv4Address]:
    """IPv4 addresses that a gateway or the kernel may read out of an IPv6 address."""
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in (*NAT64, COMPATIBLE)):
        inner.append(low)
    return [carried for carried in inner if carried is not None]


def plain(address: Address) -> Address:
    """The IPv4 address behind an IPv4-mapped one: what the socket really talks to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@dataclass(frozen=True)
class Entry:
    """One permission: a host name, an address or a network, on one port or on all."""

    host: str
    port: int | None

    def names(self, host: str, port: int) -> bool:
        """Whether it permits this host by its name."""
        return self.port in (None, port) and self.host == host.lower().rstrip(".")

    def holds(self, address: Address, port: int) -> bool:
        """Whether it permits this address."""
        try:
            network = ip_network(self.host, strict=False)
        except ValueError:
            return False
        return self.port in (None, port) and address in network


def entries(text: str) -> tuple[Entry, ...]:
    """The permissions in a list with commas: `host`, `host:port`, `10.0.0.0/8`, `[fd00::/8]:443`; ValueError."""
    return tuple(_entry(part.strip()) for part in text.split(",") if part.strip())


def _entry(text: str) -> Entry:
    matched = ENTRY.fullmatch(text)
    assert matched is not None  # the last alternative takes anything
    host = matched["bracketed"] or matched["plain"] or matched["bare"]
    port = matched["far_port"] or matched["port"]
    if ":" in host or "/" in host:
        ip_network(host, strict=False)
    return Entry(host.lower().rstrip("."), int(port) if port else None)


def literal(host: str) -> Address | None:
    """The address that a host name spells, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
