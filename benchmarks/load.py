"""Many clients on one service: how many requests fail, how long the answers take, how much memory the API needs.

.venv/bin/python -m benchmarks.load [--requests 2000] [--clients 50] [--real] [--seconds 300]

Starts the service on a free port of this host's loopback with the tests' fake library, which answers at once (`--real`:
with the numerical library on a small network); the clients run in this process, the service in its own. Each client
submits a job on an uploaded model, and asks for its status until it is over. Prints a markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import RunningService, fake_model

OVER = ("succeeded", "failed", "canceled", "timed_out")


@dataclass
class Figures:
    """Seconds of every answer by kind, requests that went wrong, and jobs that did not succeed."""

    submit: list[float] = field(default_factory=list)
    status: list[float] = field(default_factory=list)
    errors: int = 0
    unfinished: int = 0


async def client(service: RunningService, model: str, seeds: list[int], end: float, figures: Figures) -> None:
    """Take seeds until there are none, or the time is over."""
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        while seeds and time.monotonic() < end:
            await one_job(http, {"model": model, "seed": seeds.pop(), "methods": ["autolip"]}, end, figures)


async def one_job(http: httpx.AsyncClient, request: dict[str, object], end: float, figures: Figures) -> None:
    """Submit a job and look at it until it is over."""
    answer = await timed(http, "POST", "/v1/jobs", figures.submit, figures, json=request)
    if answer is None:
        return
    job = answer.json()
    while job["status"] not in OVER and time.monotonic() < end:
        await asyncio.sleep(0.05)
        answer = await timed(http, "GET", job["urls"]["self"], figures.status, figures)
        job = job if answer is None else answer.json()
    figures.unfinished += job["status"] != "succeeded"


async def timed(
    http: httpx.AsyncClient, method: str, url: str, times: list[float], figures: Figures, **how: object
) -> httpx.Response | None:
    """The answer, None where it is an error; its time is kept either way."""
    begun = time.perf_counter()
    try:
        answer = await http.request(method, url, **how)  # type: ignore[arg-type]
    except httpx.TransportError:
        answer = None
    times.append(time.perf_counter() - begun)
    if answer is None or answer.is_error:
        figures.errors += 1
        return None
    return answer


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def small_network() -> bytes:
    """Two layers, 42 parameters, as an ONNX file."""
    from benchmarks.latency import exported, nn  # torch is needed for a real model only

    return exported(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), (1, 4))


def measured(options: argparse.Namespace, folder: str) -> list[str]:
    """The row of one run."""
    worker = "app.worker" if options.real else "tests.jobs.fake_worker"
    limits = {"max_queued": 10**6, "max_queued_per_owner": 10**6}
    service = RunningService(Path(folder) / "data", worker_module=worker, log_format="json", **limits)
    try:
        service.start()
        model = service.upload(small_network() if options.real else fake_model(load=True))
        before, figures, begun = resident_mib(service.pid), Figures(), time.monotonic()
        asyncio.run(crowd(service, model, options, figures))
        seconds, after = time.monotonic() - begun, resident_mib(service.pid)
    finally:
        service.stop()
    return row(options, figures, seconds, before, after)


async def crowd(service: RunningService, model: str, options: argparse.Namespace, figures: Figures) -> None:
    """All clients at once."""
    seeds, end = list(range(options.requests)), time.monotonic() + options.seconds
    await asyncio.gather(*(client(service, model, seeds, end, figures) for _ in range(options.clients)))


def row(options: argparse.Namespace, figures: Figures, seconds: float, before: float, after: float) -> list[str]:
    """The figures as they are shown."""
    asked = len(figures.submit) + len(figures.status)
    return [
        "real" if options.real else "fake",
        str(options.clients),
        str(len(figures.submit)),
        f"{len(figures.submit) / seconds:.0f}",
        f"{asked / seconds:.0f}",
        f"{100 * figures.errors / asked:.2f} %",
        str(figures.unfinished),
        *(f"{1000 * at:.1f}" for times in (figures.submit, figures.status) for at in quantiles(times)),
        f"{before:.0f}",
        f"{after:.0f}",
    ]


def quantiles(times: list[float]) -> tuple[float, float]:
    """Median and 99th percentile, zero without times."""
    if len(times) < 2:
        return (0.0, 0.0)
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


HEADER = (
    "library", "clients", "jobs", "jobs/s", "requests/s", "errors", "unfinished", "submit p50, ms", "p99",
    "status p50, ms", "p99", "API memory before, MiB", "after",
)  # fmt: skip


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--real", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cells = measured(options, folder)
    for line in (HEADER, ("---",) * len(HEADER), cells):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
