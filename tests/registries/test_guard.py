"""Only public addresses, or permitted ones, are ever connected to."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
import trustme

from app.registries.fetch import Credentials, Fetcher
from app.registries.guard import Guard, Refused, Unreachable
from app.registries.guard_addresses import entries, is_public
from tests.registries.local_server import Answer, local_server

PUBLIC = "93.184.215.14"
FORBIDDEN = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1",
    "2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]  # fmt: skip
SPELLINGS = ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_loopback_gets_through(host: str) -> None:
    with local_server() as server:
        with pytest.raises((Refused, Unreachable)):
            get(Guard(), f"http://{host}:{server.port}/")
        assert server.asked == []


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433"])
def test_the_same_spellings_reach_the_server_when_it_is_permitted(host: str) -> None:
    with local_server(lambda _: Answer(body=b"here")) as server:
        assert get(Guard.of(f"127.0.0.0/8,[::1]:{server.port}"), f"http://{host}:{server.port}/") == b"here"


@pytest.mark.parametrize(
    ("allow", "passes"),
    [
        ("127.0.0.1", True), ("127.0.0.1:{port}", True), ("127.0.0.1:1", False), ("127.0.0.0/8", True),
        ("10.0.0.0/8", False), ("localhost", False), ("", False), ("example.com, 127.0.0.1:{port}", True),
    ],
)  # fmt: skip
def test_the_allow_list(allow: str, passes: bool) -> None:
    with local_server() as server:
        guard = Guard.of(allow.format(port=server.port))
        if passes:
            get(guard, server.url)
        else:
            with pytest.raises(Refused):
                get(guard, server.url)
        assert len(server.asked) == passes


@pytest.mark.parametrize("text", ["10.0.0.0/99", "[not::an::address]", "host:port:1"])
def test_an_allow_list_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        entries(text)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com", "http://", "http://user:word@example.com/",
     "http://10.0.0.1/", "http://[::1]/", "http://[::1", "http://example.com:99999/", f"http://{'a' * 3000}.com/",
     "http://exa\nmple.com/"],
)  # fmt: skip
def test_urls_that_need_no_network_to_be_refused(url: str) -> None:
    with pytest.raises(Refused):
        Guard().check_url(url)


def test_a_name_with_one_forbidden_address_is_refused_as_a_whole() -> None:
    network = Recording()
    guard = Guard(resolver=lambda *_: [PUBLIC, "10.0.0.1"], network=network)
    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        get(guard, "http://both.example/")
    assert network.connected == []


def test_dns_that_changes_between_check_and_connect_does_not_get_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is public, all later ones are loopback; a client that asks twice is taken in, the guard not."""
    with local_server(lambda _: Answer(body=b"inside")) as server:
        with rebinding(monkeypatch, server.port) as answers:
            socket.getaddrinfo("rebind.example", server.port)
            assert httpx.get(f"http://rebind.example:{server.port}/", trust_env=False).content == b"inside"
            assert answers[0] == PUBLIC
            assert "127.0.0.1" in answers[1:]
        seen = len(server.asked)
        with rebinding(monkeypatch, server.port) as answers:
            network = Recording()
            with pytest.raises(Unreachable):
                get(Guard(network=network), f"http://rebind.example:{server.port}/")
            assert answers == [PUBLIC]
            assert network.connected == [PUBLIC]
        assert len(server.asked) == seen


def test_a_connection_that_ends_elsewhere_is_refused() -> None:
    with local_server() as server:
        guard = Guard(resolver=lambda *_: [PUBLIC], network=Diverting(server.port))
        with pytest.raises(Refused, match="instead of"):
            get(guard, "http://diverted.example/")
        assert server.asked == []


def test_redirects_are_refused_not_followed() -> None:
    with local_server() as inside, local_server(redirect_to(inside.url)) as outside:
        with pytest.raises(Refused, match="redirect"):
            get(Guard.of(outside.place), outside.url)
        assert inside.asked == []


def test_a_hub_may_redirect_but_every_hop_is_checked_and_secrets_stay() -> None:
    with local_server(lambda _: Answer(body=b"file")) as store, local_server(redirect_to(store.url)) as hub:
        guard = Guard.of(f"{hub.place},{store.place}")
        assert (
            Fetcher(guard, 5, Credentials(hub.url, {"Authorization": "Bearer t"}), hops=2).bytes(hub.url, 99) == b"file"
        )
        assert hub.asked[0].headers["authorization"] == "Bearer t"
        assert "authorization" not in store.asked[0].headers
        with pytest.raises(Refused):
            Fetcher(Guard.of(hub.place), 5, hops=2).bytes(hub.url, 99)
        with pytest.raises(Unreachable, match="redirects more than"):
            Fetcher(Guard.of(hub.place), 5, hops=2).bytes(loop(hub), 99)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with local_server() as proxy, local_server(lambda _: Answer(body=b"direct")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert get(Guard.of(server.place), server.url) == b"direct"
        assert proxy.asked == []


def test_size_and_encoding_are_capped() -> None:
    with local_server(lambda _: Answer(body=bytes(1000))) as server:
        with pytest.raises(Unreachable, match="more than 999"):
            Fetcher(Guard.of(server.place), 5).bytes(server.url, 999)
        server.answer = lambda _: Answer(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
        with pytest.raises(Unreachable, match="encoding"):
            get(Guard.of(server.place), server.url)
        assert server.asked[0].headers["accept-encoding"] == "identity"


def test_a_server_that_drips_cannot_hold_us_beyond_the_limit() -> None:
    for first in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"):
        for drops in (100, 8):  # all the time, or silent after 0.4 s
            with dripping(first, drops) as port:
                begun = time.monotonic()
                with pytest.raises(Unreachable, match="in time"):
                    Fetcher(Guard.of("127.0.0.1"), 0.5).bytes(f"http://127.0.0.1:{port}/", 10**6)
                assert time.monotonic() - begun < 0.8


def test_tls_is_checked_for_the_name_although_the_address_is_pinned(tmp_path: Path) -> None:
    authority, names = trustme.CA(), []
    server_tls, client_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("models.example").configure_cert(server_tls)
    authority.configure_trust(client_tls)
    server_tls.sni_callback = lambda _socket, name, _context: names.append(name)
    with tls_server(server_tls) as port:
        guard = Guard(entries("127.0.0.1"), resolver=lambda *_: ["127.0.0.1"], tls=client_tls)
        assert get(guard, f"https://models.example:{port}/") == b"ok"
        assert names == ["models.example"]
        with pytest.raises(Unreachable, match="certificate"):
            get(guard, f"https://other.example:{port}/")


def get(guard: Guard, url: str) -> bytes:
    return Fetcher(guard, 5).bytes(url, 10**6)


def redirect_to(url: str) -> Any:
    return lambda _: Answer(302, headers={"Location": url})


def loop(hub: Any) -> str:
    hub.answer = redirect_to(hub.url)
    return str(hub.url)


@contextmanager
def rebinding(monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[list[str]]:
    """The system's resolver says PUBLIC once and loopback ever after."""
    real, answers = socket.getaddrinfo, list[str]()

    def changing(host: Any, *args: Any, **options: Any) -> Any:
        if host not in ("rebind.example", b"rebind.example"):
            return real(host, *args, **options)
        answers.append("127.0.0.1" if answers else PUBLIC)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[-1], port))]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", changing)
        yield answers


class Recording(httpcore.NetworkBackend):
    """Remembers where it should connect to; nobody is there."""

    def __init__(self) -> None:
        self.connected: list[str] = []

    def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.NetworkStream:
        self.connected.append(host)
        raise httpcore.ConnectError("nobody is there")


class Diverting(httpcore.NetworkBackend):
    """Connects to loopback whatever address it is given, as a rule in a kernel might."""

    def __init__(self, port: int) -> None:
        self._port = port

    def connect_tcp(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self._port, 5)


@contextmanager
def serving(handle: Any) -> Iterator[int]:
    """A raw TCP server; `handle(connection)` runs in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@contextmanager
def dripping(first: bytes, drops: int) -> Iterator[int]:
    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(first or b"HTTP/1.1 200 OK\r\n")
                for _ in range(drops):
                    connection.sendall(b"x" if first else b"X-Drip: 1\r\n")
                    time.sleep(0.05)
                time.sleep(5)
            except OSError:
                return

    with serving(drip) as port:
        yield port


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    def answer(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(4096)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        except OSError:
            connection.close()

    with serving(answer) as port:
        yield port
