"""A real service in a process of its own, on a free port, with an empty data directory."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from sqlalchemy import create_engine

from app.settings import Settings
from app.store.database import Database
from app.store.keys import KeyRepository, Scope
from tests.effort import QUICK_EXAMPLES
from tests.object_store import ObjectStore, running_object_store
from tests.preloaded import SERVER, START_S, Preloaded

# `make test` draws the same examples every time, and few, `make test-some` all of them; `make test-all` draws new ones.
settings.register_profile("steady", derandomize=True, deadline=None, max_examples=QUICK_EXAMPLES)
settings.register_profile("thorough", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

ROOT = Path(__file__).resolve().parent.parent

# Libraries and thousands of cases make millions of objects, none of them garbage: walking through them again and again
# took a third of the collection's time, and half a second in any test that makes many objects.
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that ask the service with the real library come first: then one worker of pytest-xdist has them, and starts
    that service, the dearest of all fixtures.
    """
    asking = {item.path for item in items if "library_service" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in asking)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Once all is collected; also in the process that only hands tests out to pytest-xdist's workers."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    SERVER.close()
    if hasattr(config, "workerinput"):
        os._exit(0)  # pytest-xdist has this worker's reports; to free all objects would take it five seconds
    gc.unfreeze()  # at the end some libraries look for what was never freed


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names of cases that are the same in every worker: archives hold the time at which they were made."""
    return argname if isinstance(val, bytes) else None


class RunningService:
    """`lipserve serve` in a process group of its own, which can be killed as a whole and started again."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=120)
        chosen = {"worker_module": "tests.jobs.fake_worker", "sweep_s": 0.5, "quick_s": 0} | settings
        self.settings = chosen | {"port": self.port, "data_dir": data_dir}
        self._process: Preloaded | None = None

    @property
    def process(self) -> Preloaded:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> None:
        self._process = Preloaded("serve", self._log, self.settings)
        self._await_ready()

    def kill(self) -> None:
        """What a power cut does to the processes."""
        self.process.kill()

    def terminate(self) -> None:
        """Ask for a graceful end."""
        self.process.signal(signal.SIGTERM)
        self.process.wait(30)
        self.process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
        self.client.close()

    def log(self) -> str:
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def analyze(self, data: bytes, wait: float | None = 30, **request: Any) -> httpx.Response:
        """`POST /v1/analyze` of a file; without an answer from the cache."""
        files = {"file": ("m.onnx", data), "request": (None, json.dumps(request), "application/json")}
        headers = {"Cache-Control": "no-cache"} | ({} if wait is None else {"Prefer": f"wait={wait}"})
        return self.client.post("/v1/analyze", files=files, headers=headers)

    def upload(self, data: bytes, name: str = "m.onnx") -> str:
        """The id of an uploaded model."""
        answer = self.client.post("/v1/models", files={"file": (name, data)})
        assert answer.status_code in (200, 201), answer.text
        return answer.json()["id"]

    def finished(self, job_id: str, within_s: float = 30) -> dict[str, Any]:
        """The job when it is over."""
        return eventually(
            lambda: self.client.get(f"/v1/jobs/{job_id}", params={"wait": 5}).json(),
            lambda job: job["finished_at"] is not None,
            within_s,
        )

    def files(self) -> set[str]:
        """Everything that uploads have left on the disk."""
        root = self.data_dir / "files"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert not self.process.is_over(), self.log()
            try:
                if _works(self.client.get("/readyz").json()["checks"]):
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise TimeoutError(self.log())


def _works(checks: dict[str, str]) -> bool:
    """Whether a service does all that it was started for; some are started without room on the disk."""
    return all(told == "ok" for name, told in checks.items() if name != "disk")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(
    look: Callable[[], Any], is_so: Callable[[Any], bool], within_s: float = 10, every_s: float = 0.02
) -> Any:
    """What `look` sees once `is_so`."""
    deadline = time.monotonic() + within_s
    while not is_so(seen := look()):
        assert time.monotonic() < deadline, f"still {seen}"
        time.sleep(every_s)
    return seen


def fake_model(**told: Any) -> bytes:
    """A file that claims to be ONNX, and tells the fake library what to do."""
    body = json.dumps(told).encode()
    length, digits = len(body), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return b"\x08\x08\x3a" + bytes(digits) + bytes([length]) + body


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests that leave it as it was, with the fake library."""
    running = RunningService(tmp_path_factory.mktemp("service") / "data", max_upload_bytes=2**20)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def library_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The same with the real library; its children take seconds to start, so there are no more than it needs."""
    settings = {"worker_module": "app.worker", "warm_spare": False, "poll_s": 0.1, "sweep_s": 5}
    limits = {"job_memory_bytes": 2**30, "max_unpacked_bytes": 2**26}
    running = RunningService(tmp_path_factory.mktemp("library") / "data", **settings, **limits)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, str]]:
    """A service with one key, and the key."""
    service = RunningService(tmp_path_factory.mktemp("keyed") / "data", sweep_s=5)
    service.start()
    database = Database(Settings(data_dir=service.data_dir).sqlalchemy_url())
    _, secret = KeyRepository(database).create("ada", {Scope.READ, Scope.WRITE})
    database.close()
    yield service, secret
    service.stop()


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[Callable[..., RunningService]]:
    """Starts a service of the test's own; the same data directory each time."""
    started: list[RunningService] = []

    def start(**settings: Any) -> RunningService:
        running = RunningService(tmp_path / "data", **settings)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty PostgreSQL of the session's own; tests that need it are skipped where it is not installed."""
    from tests.servers import Missing, private_postgres

    try:
        with private_postgres(fsync="off") as server:  # processes are killed here, machines are not
            yield server.url
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """An empty Redis of the session's own; tests that need it are skipped where it is not installed."""
    from tests.servers import Missing, private_redis

    try:
        with private_redis() as server:
            yield server.url
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a database with our tables: to copy it costs less than to make them."""
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE with_tables")
    server.dispose()
    database = Database(server.url.set(database="with_tables").render_as_string(hide_password=False))
    database.migrate()
    database.close()
    return "with_tables"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, on each kind of server; empty unless the test asks for `database`."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    template = request.getfixturevalue("template") if "database" in request.fixturenames else "template0"
    server = create_engine(request.getfixturevalue("postgres_url"), isolation_level="AUTOCOMMIT")
    name = f"test_{uuid.uuid4().hex}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same, with its tables."""
    database = Database(database_url)
    database.migrate()
    yield database
    database.close()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An empty S3-compatible server."""
    with running_object_store(tmp_path_factory.mktemp("object-store"), free_port()) as store:
        yield store
