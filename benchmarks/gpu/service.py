"""The service on its device: how far children are confined, the first result, jobs whose children are killed."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu.measure import Place, Row
from benchmarks.gpu.networks import chain
from tests.conftest import RunningService

SLOTS = 4
READY_S = 60.0


def service(place: Place) -> Iterator[Row]:
    """Several slots on one device."""
    slots = place.pick(1, SLOTS)
    devices = ",".join(["cuda:0" if place.device == "cuda" else "cpu"] * slots)
    with tempfile.TemporaryDirectory() as folder:
        options = {"worker_module": "app.worker", "devices": devices, "warm_spare": False, "worker_threads": 1}
        running = RunningService(Path(folder) / "data", **options)
        begun = time.monotonic()
        try:
            running.start()
            yield from _first(place, running, slots, begun)
            yield from _storm(place, running)
        finally:
            running.stop()
            print(running.log()[-4000:])


def _first(place: Place, running: RunningService, slots: int, begun: float) -> Iterator[Row]:
    wanted = "cuda:0" if place.device == "cuda" else "cpu"
    workers = _workers(running, wanted, slots, begun + READY_S)
    ready, mine = time.monotonic() - begun, [worker for worker in workers if worker["device"] == wanted]
    levels = Counter(worker["confinement"] for worker in mine)
    yield {"case": f"service: children of {slots} slots on {wanted}", "ok": len(mine) >= slots,
           "note": f"{len(mine)} there after {ready:.1f} s, confinement {dict(levels)}"}  # fmt: skip
    yield {"case": "service: what a child says of itself", "note": str(mine[0]["details"] if mine else workers)[:1500]}
    asked = time.monotonic()
    answer = running.analyze(chain([8, 8, 4]), wait=60, methods=["autolip"]).json()
    engine = (answer.get("result") or {}).get("engine", {})
    told = f"{time.monotonic() - asked:.2f} s, {answer.get('status')} {engine} {answer.get('error')}"
    yield {"case": "service: first result", "ok": engine.get("device", "").startswith(place.device), "note": told}


def _workers(running: RunningService, wanted: str, slots: int, until: float) -> list[dict[str, Any]]:
    """All slots, once as many as wanted have a child, or when the time is over."""
    while True:
        found: list[dict[str, Any]] = running.client.get("/v1/workers").json()["workers"]
        ready = [worker for worker in found if worker["device"] == wanted and worker["state"] == "idle"]
        if len(ready) >= slots or time.monotonic() > until:
            return [worker for worker in found if "analyze" in worker["kinds"]]
        time.sleep(0.2)


def _storm(place: Place, running: RunningService) -> Iterator[Row]:
    """Jobs while children are killed at random: each ends, well or with `worker-crashed`, and none is lost."""
    jobs, kills = place.pick((4, 1), (60, 6))
    model, dice, begun = running.upload(chain([40, 60, 60, 5])), random.Random(0), time.monotonic()
    request = {"model": model, "methods": ["autolip", "lipsdp"], "budget_s": 5.0}
    waiting = [_submit(running, request | {"seed": seed}) for seed in range(jobs)]
    for _ in range(kills):
        time.sleep(dice.uniform(0.1, 0.6))
        _kill_one(running, dice)
    ended = [running.finished(job, within_s=45) for job in waiting]
    outcomes = Counter(job["status"] + _slug(job) for job in ended)
    allowed = {"succeeded", "failed worker-crashed", "failed out-of-memory"}
    yield {"case": f"service: {jobs} jobs, {kills} kills", "ok": set(outcomes) <= allowed,
           "note": f"{dict(outcomes)} in {time.monotonic() - begun:.1f} s, {jobs - len(ended)} lost"}  # fmt: skip


def _submit(running: RunningService, request: dict[str, Any]) -> str:
    return str(running.client.post("/v1/jobs", json=request, headers={"Cache-Control": "no-cache"}).json()["id"])


def _kill_one(running: RunningService, dice: random.Random) -> None:
    workers = running.client.get("/v1/workers").json()["workers"]
    pids = [worker["pid"] for worker in workers if worker["pid"] and worker["state"] == "busy"]
    if pids:
        with suppress(ProcessLookupError):
            os.kill(dice.choice(pids), signal.SIGKILL)


def _slug(job: dict[str, Any]) -> str:
    return "" if not job.get("error") else " " + str(job["error"]["type"]).rpartition(":")[2]
