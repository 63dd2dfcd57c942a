"""How quick the machinery around an analysis is: acceptance, starts, results, cancels, limits, memory, throughput.

.venv/bin/python -m benchmarks.engine [--count 100] [--write]

Measures a service of one process with SQLite, and an API with two worker machines, PostgreSQL and Redis, all on this
host: once with the tests' fake library, whose analysis takes no time, once with the numerical library on the example
model (`examples/iris.onnx`, AutoLip) and on TorchScript programs that loop and that grow without end. `--write` puts
the table into docs/faults.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks.faults import PAGE, dated, markdown
from benchmarks.load import quantiles
from benchmarks.scene import Scene, cluster, embedded
from tests.cluster.hosts import seconds, wait_of
from tests.conftest import ROOT, eventually, fake_model
from tests.worker import scripts

MEMORY_BYTES = 2**30
LIMIT_S = 1.0
CLIENTS = 4
INPUTS = {"x": [1, 2]}
HEADER = ("what", "library", "one process, p50", "p99", "n", "cluster, p50", "p99", "n")

Open = Callable[..., AbstractContextManager[Scene]]
Figure = tuple[str, str, Sequence[float]]
"""What, its unit, and the values measured."""


class Bench:
    """Jobs of one model on a running service, never answered from the cache."""

    def __init__(self, scene: Scene, model: str, **request: Any) -> None:
        self._client = scene.api.client
        self._request = {"model": model} | request
        self._scene = scene

    def submit(self, wait_s: float = 0, **request: Any) -> dict[str, Any]:
        """The job as the API first answers."""
        headers = {"Cache-Control": "no-cache"} | ({"Prefer": f"wait={wait_s}"} if wait_s else {})
        answer = self._client.post("/v1/jobs", json=self._request | request, headers=headers)
        return dict(answer.raise_for_status().json())

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job once it is over."""
        return self._scene.api.finished(job["id"], within_s=60)

    def accept(self) -> float:
        """Seconds of one submission."""
        begun = time.perf_counter()
        job = self.submit()
        taken = time.perf_counter() - begun
        self.finished(job)
        return taken

    def start(self) -> float:
        """Seconds that a job waits although a slot is idle."""
        return wait_of(self.finished(self.submit()))

    def result(self) -> float:
        """Seconds from submission to the result at the client."""
        begun = time.perf_counter()
        job = self.submit(wait_s=30)
        taken = time.perf_counter() - begun
        assert job["status"] == "succeeded", job
        return taken

    def cancel(self) -> float:
        """Seconds from the cancel request to the job's end at the client."""
        job = self.submit()
        eventually(lambda: self._scene.job(job["id"]), lambda job: job.get("status") == "running")
        time.sleep(0.3)  # by now it loops
        begun = time.perf_counter()
        self._client.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
        assert self.finished(job)["status"] == "canceled"
        return time.perf_counter() - begun

    def overshoot(self) -> float:
        """Seconds that a job ran beyond its limit."""
        job = self.finished(self.submit(timeout_s=LIMIT_S))
        assert job["status"] == "timed_out", job
        return ran(job) - LIMIT_S

    def growth(self) -> float:
        """Seconds that a job ran until it failed for lack of memory."""
        job = self.finished(self.submit())
        assert job["error"]["type"].endswith("out-of-memory"), job
        return ran(job)

    def first(self) -> float:
        """Seconds from the start of all processes to the first result."""
        begun = time.perf_counter()
        self._scene.restart()
        self.result()
        return time.perf_counter() - begun

    def rate(self, count: int) -> float:
        """Jobs a second, from the first submission of several clients to the last end."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            jobs = list(pool.map(lambda _: self.submit(), range(count)))
        ended = [self.finished(job) for job in jobs]
        assert all(job["status"] == "succeeded" for job in ended)
        begun = min(seconds(job["created_at"]) for job in ended)
        return count / (max(seconds(job["finished_at"]) for job in ended) - begun)


def ran(job: dict[str, Any]) -> float:
    """Seconds from the job's start to its end."""
    return seconds(job["finished_at"]) - seconds(job["started_at"])


def repeated(measure: Callable[[], float], count: int) -> list[float]:
    """As many values; the first, for which things are still cold, is left out."""
    return [measure() for _ in range(count + 1)][1:]


def fake_figures(scene: Scene, count: int) -> Iterator[Figure]:
    """Of a library that answers at once."""
    bench = Bench(scene, scene.api.upload(fake_model(engine=True)))
    yield "submission accepted", "ms", repeated(bench.accept, count)
    yield "submitted to started, idle slot", "ms", repeated(bench.start, count)
    yield "submitted to result", "ms", repeated(bench.result, count)
    yield f"jobs a second, {CLIENTS} clients", "1/s", [bench.rate(5 * count)]


def real_figures(scene: Scene, count: int) -> Iterator[Figure]:
    """Of the numerical library."""
    iris = Bench(scene, scene.api.upload((ROOT / "examples" / "iris.onnx").read_bytes()), methods=["autolip"])
    loop, grower = (program(scene, kind) for kind in (scripts.NeverEnds, scripts.GrowsWithoutEnd))
    few = max(2, count // 10)
    yield "submitted to result", "ms", repeated(iris.result, count)
    yield f"jobs a second, {CLIENTS} clients", "1/s", [iris.rate(count)]
    yield "cancel of a C++ loop, until it is canceled", "ms", repeated(loop.cancel, few)
    yield f"C++ loop beyond its time limit of {LIMIT_S:g} s", "ms", repeated(loop.overshoot, few)
    yield f"growth to {MEMORY_BYTES / 2**30:g} GiB, until it failed", "s", repeated(grower.growth, few)
    scene.settle()
    yield "idle API, resident", "MiB", [memory_mib(scene.api.pid, "Rss")]
    children = [worker["pid"] for worker in scene.workers()]
    yield "idle child, resident", "MiB", [memory_mib(pid, "Rss") for pid in children]
    yield "idle child, its share of shared pages counted", "MiB", [memory_mib(pid, "Pss") for pid in children]
    yield "all processes started to first result", "s", repeated(iris.first, 2)


def program(scene: Scene, kind: type) -> Bench:
    """Jobs of a TorchScript program."""
    model = scene.api.upload(scripts.archive(kind()), "program.pt")
    return Bench(scene, model, inputs=INPUTS, methods=["autolip"])


def memory_mib(pid: int, name: str) -> float:
    """Resident (`Rss`) or proportional (`Pss`) memory of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def column(open_: Open, count: int) -> Iterator[tuple[str, str, list[str]]]:
    """What was measured on one kind of service, with the library, and the cells of its values."""
    real: dict[str, Any] = {"worker_module": "app.worker", "job_memory_bytes": MEMORY_BYTES}
    for library, figures, settings in (("fake", fake_figures, dict[str, Any]()), ("real", real_figures, real)):
        with tempfile.TemporaryDirectory() as folder, open_(Path(folder), **settings) as scene:
            for what, unit, values in figures(scene, count):
                yield what, library, cells(unit, values)


def cells(unit: str, values: Sequence[float]) -> list[str]:
    """Median, 99th percentile and number of the values; a few of them have no percentile, and show their largest."""
    scale = 1000 if unit == "ms" else 1
    middle, high = quantiles(list(values)) if len(values) >= 20 else (statistics.median(values), max(values))
    return [f"{scale * middle:.3g} {unit}", f"{scale * high:.3g}" if len(values) > 1 else "-", str(len(values))]


def main() -> None:
    """Read the command line, measure, print, and write if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    ours, theirs = (list(column(open_, options.count)) for open_ in (embedded, cluster))
    rows = [[what, library, *one, *two] for (what, library, one), (_, _, two) in zip(ours, theirs, strict=True)]
    text = markdown([HEADER, *rows])
    print(text)
    if options.write:
        from benchmarks.paper_table import write

        write(PAGE, "engine", dated("engine", text))


if __name__ == "__main__":
    main()
