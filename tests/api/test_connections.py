"""Clients that send too much, too slowly or over too many connections harm nobody but themselves: on real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median

import httpx
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from app.server_connections import Connections, Limits
from app.server_protocol import LimitedProtocol
from app.settings import Settings
from tests.conftest import RunningService, eventually, fake_model

HALF = b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Half: "
UPLOAD = b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
AT_ONCE_S = 1.0
HALVES = 1100


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with short limits."""
    service = RunningService(
        tmp_path_factory.mktemp("narrow") / "data",
        max_connections=40,
        header_timeout_s=1.5,
        stall_timeout_s=1.5,
        min_client_rate=2000,
    )
    service.start()
    yield service
    service.stop()


def connect(service: RunningService, first: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    connection.sendall(first)
    return connection


def answer_on(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """The last answer before the service ends the connection."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    head, _, body = received.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    assert b"\r\nx-request-id: " in head.lower()
    return int(head.split()[0]), json.loads(body)


def is_refused(connection: socket.socket, status: int, slug: str) -> bool:
    with connection:
        seen, problem = answer_on(connection)
        return (seen, problem["type"]) == (status, f"urn:lipserve:problem:{slug}")


def prompt(service: RunningService) -> float:
    """How long an ordinary client waits for an answer, in seconds; it connects anew each time."""
    start = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.request("GET", "/v1/models")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - start


def half_requests(service: RunningService, stack: ExitStack, count: int, first: bytes = HALF) -> None:
    for _ in range(count):
        stack.enter_context(connect(service, first))


@pytest.mark.parametrize("first", [HALF, UPLOAD, b""], ids=["head", "body", "nothing"])
def test_half_requests_lock_nobody_out(narrow: RunningService, first: bytes) -> None:
    with ExitStack() as stack:
        half_requests(narrow, stack, 38, first)
        half_requests(narrow, stack, 80)
        assert median(prompt(narrow) for _ in range(5)) < AT_ONCE_S
        assert narrow.analyze(fake_model(test=repr(first))).status_code == 200


def test_eleven_hundred_half_requests_lock_nobody_out(start_service: Callable[..., RunningService]) -> None:
    service = start_service()
    with ExitStack() as stack:
        half_requests(service, stack, HALVES)
        assert median(prompt(service) for _ in range(5)) < AT_ONCE_S
        assert service.client.get("/readyz").status_code == 200
    assert "too many connections" in eventually(service.log, lambda log: "too many connections" in log)


def test_an_answer_in_the_making_never_yields(narrow: RunningService) -> None:
    model = fake_model(analyze={"do": "sleep", "seconds": 3})
    job = narrow.analyze(model, wait=None).json()
    seen: list[int] = []

    def wait() -> None:
        seen.append(httpx.get(f"{narrow.url}/v1/jobs/{job['id']}?wait=30", timeout=40).status_code)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with ExitStack() as stack:
        half_requests(narrow, stack, 100)
        httpx.post(narrow.url + job["urls"]["cancel"])  # a connection of its own: idle ones have yielded
        waiting.join(timeout=30)
    assert seen == [200]


def test_where_every_connection_is_in_use_new_ones_are_refused(narrow: RunningService) -> None:
    job = narrow.analyze(fake_model(analyze={"do": "sleep", "seconds": 60}), wait=None).json()
    asked = f"GET /v1/jobs/{job['id']}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        half_requests(narrow, stack, 40, asked)
        time.sleep(0.3)
        assert is_refused(connect(narrow), 503, "too-many-connections")
    eventually(lambda: prompt(narrow), lambda seconds: seconds < AT_ONCE_S)
    narrow.client.post(job["urls"]["cancel"])


def test_a_huge_header_is_refused_and_stalls_nobody(service: RunningService) -> None:
    longest = 0.0
    with connect(service, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Huge: ") as connection:
        for _ in range(64):
            connection.sendall(b"x" * 2**20)
            longest = max(longest, prompt(service) if _ % 16 == 0 else 0)
        connection.shutdown(socket.SHUT_WR)
        assert is_refused(connection, 431, "header-too-large")
    assert longest < AT_ONCE_S


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /?" + b"x" * 400_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x" * 400_000,
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 800_000,
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * 800_000,
    ],
    ids=["path", "query", "many", "long", "name", "chunk-extension", "trailer"],
)
def test_no_part_of_a_head_is_long(service: RunningService, request_: bytes) -> None:
    assert is_refused(connect(service, request_), 431, "header-too-large")


def test_what_is_no_http_is_a_problem(service: RunningService) -> None:
    assert is_refused(connect(service, b"\x16\x03\x01 nonsense\r\n\r\n"), 400, "malformed-request")


def test_a_head_has_a_deadline(narrow: RunningService) -> None:
    answered = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n"
    trickles = [(HALF, b"x"), (b"", b""), (b"\r\n", b"\r\n"), (answered, b"\r\n"), (b"P", b"O"), (b"GET /", b"x")]
    alive = [(connect(narrow, first), more) for first, more in trickles]
    deadline = time.monotonic() + 5
    while alive and time.monotonic() < deadline:
        alive = [(connection, more) for connection, more in alive if is_open(connection, more)]
        time.sleep(0.1)
    assert not alive


def is_open(connection: socket.socket, more: bytes) -> bool:
    """Whether the other side has not ended the connection; sends some bytes on it."""
    connection.settimeout(0.001)
    try:
        connection.sendall(more)
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return True
    except OSError:
        pass
    connection.close()
    return False


def test_a_trickling_body_has_a_deadline(narrow: RunningService) -> None:
    connection = connect(narrow, UPLOAD)
    start = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - start < 8:
        try:
            connection.sendall(b"x")
            if connection.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
    assert time.monotonic() - start < 6
    connection.settimeout(10)
    assert is_refused(connection, 408, "request-timeout")


def test_a_slow_link_gets_its_file_through(narrow: RunningService) -> None:
    data = fake_model(pad="x" * 10_000)
    head = f"POST /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    with connect(narrow, head.encode()) as connection:
        for at in range(0, len(data), 1000):
            connection.sendall(data[at : at + 1000])
            time.sleep(0.2)
        assert answer_on(connection)[0] == 201


class Full(asyncio.Transport):
    """A transport whose client takes `rate` bytes a second of a large answer."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.unsent, self.is_aborted = rate, 10**6, False

    def get_write_buffer_size(self) -> int:
        self.unsent = max(0, self.unsent - int(self.rate))
        return self.unsent

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(("rate", "is_let_go"), [(0, True), (10, True), (2000, False), (10**6, False)])
def test_whoever_takes_no_answer_is_let_go(rate: float, is_let_go: bool) -> None:
    async def seconds(count: int) -> bool:
        limits = Limits.of(Settings(stall_timeout_s=20, min_client_rate=1000))
        config, transport = Config(lambda: None), Full(rate)
        protocol = LimitedProtocol(limits, Connections(limits), config=config, server_state=ServerState(), app_state={})
        protocol.connection_made(transport)
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        start = asyncio.get_running_loop().time()
        for second in range(count):
            protocol.check(start + second)
        return transport.is_aborted

    assert asyncio.run(seconds(25)) is is_let_go


def test_requests_ahead_of_their_answers_are_few(service: RunningService) -> None:
    asked = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(service, asked * 8 + asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as connection:
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    assert received.count(b"HTTP/1.1 200 OK") == 9
    with connect(service) as connection:
        received = b""
        try:
            connection.sendall(asked * 5000)
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
    assert received.count(b"HTTP/1.1 200 OK") < 20


def test_an_upgrade_is_answered_and_not_followed(service: RunningService) -> None:
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    )
    with connect(service, b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n" + upgrade + b"\x81\x00" * 100) as connection:
        assert connection.recv(12) == b"HTTP/1.1 200"
    with connect(service, b"GET /v1/jobs HTTP/1.1\r\nHost: evil.example\r\n" + upgrade) as connection:
        assert connection.recv(12) == b"HTTP/1.1 421"


def test_a_request_may_come_in_one_piece(service: RunningService) -> None:
    """What a body brings along is no part of the next head, however the pieces fall."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    connection.connect()
    for _ in range(8):
        connection.sock.sendall(UPLOAD.replace(b"localhost", b"127.0.0.1") + b"x" * 100_000)
        answer = http.client.HTTPResponse(connection.sock, method="POST")
        answer.begin()
        assert (answer.status, len(answer.read()) > 0) == (415, True)
    connection.close()
