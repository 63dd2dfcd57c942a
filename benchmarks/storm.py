"""Jobs in a cluster whose parts are killed at random, and the account of every one of them."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accounts import shown
from benchmarks.scene import Part, Scene, cluster

SLEEPS_S = (0.1, 0.5, 1.0, 2.0)
"""How long an analysis takes; one of these each."""
PAUSE_S = (1.0, 6.0)
"""Between one kill's repair and the next kill."""
GONE_S = (0.0, 8.0)
"""How long what was killed stays away: up to more than a lease."""


@dataclass
class Storm:
    """Kills parts one after another, and brings each back after a while."""

    scene: Scene
    dice: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)

    def strike(self) -> None:
        """Kill one part, and start it again. Every five strikes each kind is hit once, in any order."""
        kinds = {
            "child": self._child,
            "host": self._host,
            "API": self._api,
            "broker": self._broker,
            "database": self._database,
        }
        self.order = self.order or self.dice.sample(sorted(kinds), len(kinds))
        name = self.order.pop()
        kinds[name]()
        self.kills[name] += 1

    def _away(self) -> None:
        time.sleep(self.dice.uniform(*GONE_S))

    def _child(self) -> None:
        workers = self.scene.workers()
        if workers:
            with suppress(ProcessLookupError):
                self.scene.kill_child(self.dice.choice(workers)["name"])

    def _host(self) -> None:
        self._cycle(self.dice.choice(self.scene.cluster.hosts))

    def _api(self) -> None:
        self._cycle(self.scene.api)

    def _broker(self) -> None:
        assert self.scene.redis is not None
        self._cycle(self.scene.redis)

    def _database(self) -> None:
        assert self.scene.postgres is not None
        self._cycle(self.scene.postgres)

    def _cycle(self, part: Part) -> None:
        part.kill()
        self._away()
        part.start()


def storm(seconds: float, jobs: int, seed: int) -> list[Sequence[str]]:
    """The table of one run: `jobs` submissions spread over `seconds` seconds of kills."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)) as scene:
        for sleep_s in SLEEPS_S:
            scene.prepare(sleep_s)
        weather, begun = Storm(scene, dice), time.monotonic()
        sleeps = [dice.choice(SLEEPS_S) for _ in range(jobs)]
        client = threading.Thread(target=submit_all, args=(scene, sleeps, seconds))
        client.start()
        while time.monotonic() - begun < seconds:
            time.sleep(dice.uniform(*PAUSE_S))
            weather.strike()
        client.join()
        calm = time.monotonic()
        scene.finish()
        return table(scene, weather, seed, calm - begun, time.monotonic() - calm)


def submit_all(scene: Scene, sleeps: Sequence[float], seconds: float) -> None:
    """Submit one job each, evenly over the time; what cannot be submitted in time is, afterwards."""
    begun = time.monotonic()
    for index, sleep_s in enumerate(sleeps):
        time.sleep(max(0.0, begun + seconds * index / len(sleeps) - time.monotonic()))
        scene.submit(sleep_s)


def table(scene: Scene, weather: Storm, seed: int, stormy_s: float, calm_s: float) -> list[Sequence[str]]:
    """Figures and their names."""
    found = scene.account(set(range(scene.submitted)))
    return [
        ("what", "how many"),
        ("seed", str(seed)),
        ("seconds of kills; until the last job was over afterwards", f"{stormy_s:.0f}; {calm_s:.1f}"),
        ("kills", f"{weather.kills.total()} ({shown(weather.kills)})"),
        ("submissions, each repeated under one key until it was accepted", str(scene.submitted)),
        ("how the jobs ended", shown(found.outcomes)),
        ("jobs by starts", shown(found.starts)),
        ("jobs by times computed", shown(found.computed)),
        ("lost", str(found.lost)),
        ("doubled jobs or results", str(found.doubled)),
    ]
