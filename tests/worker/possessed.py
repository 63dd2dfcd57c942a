"""A child in the hands of the program that it ran: whatever confinement leaves, these attacks may do.

The file of a program is an archive's first bytes and JSON: `{"attack": name, "value": number}`. Everything else about
this worker is the fake one: a captured graph is the file itself, its bound the graph's `value`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from app.contract.frames import Header
from app.worker.loop import Voice, serve
from tests.conftest import fake_model
from tests.jobs import fake_worker
from tests.jobs.fake_worker import EMPTY, FakeLibrary, instructions

ARCHIVE = b"PK\x03\x04"
PIPE = os.dup(1)
FORGED = EMPTY | {"upper": {"value": 0.001, "method": "autolip", "guarantee": "certified"}, "verdict": "pass"}


class Attack:
    """What the program has in its hands: the question, the pipe, and the graph that it would honestly hand over."""

    def __init__(self, request: Mapping[str, Any], files: Mapping[str, bytes], voice: Voice) -> None:
        told = instructions(files["model"])
        self.request = request
        self.voice = voice
        self.graph = fake_model(value=told.get("value", 2.0))

    def hand_over(self) -> None:
        self.voice.tell("artifact", {}, artifact=self.graph)

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(PIPE, data) :]

    def frame(self, kind: str, body: object, size: int | None = None, turn: str = "", **files: int) -> bytes:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Header(kind, turn or self.voice.turn, len(data) if size is None else size, files).encode() + data


ATTACKS: dict[str, Callable[[Attack], object]] = {}


def attack(act: Callable[[Attack], object]) -> Callable[[Attack], object]:
    ATTACKS[act.__name__] = act
    return act


@attack
def behave(self: Attack) -> None:
    self.hand_over()


@attack
def patch_the_worker(self: Attack) -> None:
    fake_worker.FakeLibrary.analyze = lambda *_: FORGED  # type: ignore[assignment,method-assign,return-value]
    json.dumps = lambda *_, **__: json.JSONEncoder().encode(FORGED)  # type: ignore[assignment]
    self.write(self.frame("artifact", b"{}", artifact=len(self.graph)) + self.graph)


@attack
def answer_for_itself(self: Attack) -> None:
    self.write(self.frame("result", FORGED))


@attack
def answer_twice(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", artifact=len(self.graph)) + self.graph + self.frame("result", FORGED))


@attack
def answer_the_next_job_too(self: Attack) -> None:
    def later() -> None:
        while True:
            time.sleep(0.01)
            self.write(self.frame("result", FORGED))

    self.hand_over()
    threading.Thread(target=later, daemon=True).start()


@attack
def hand_over_two_graphs(self: Attack) -> None:
    self.write(2 * (self.frame("artifact", b"{}", artifact=len(self.graph)) + self.graph))


@attack
def say_ready_again(self: Attack) -> None:
    self.write(self.frame("ready", {"device": "cpu", "confinement": "full", "torch": "", "details": {}}))


@attack
def speak_in_another_turn(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", turn="0", artifact=len(self.graph)) + self.graph)


@attack
def report_without_end(self: Attack) -> None:
    while True:
        self.write(self.frame("progress", {"phase": "x" * 1000}))


@attack
def inspect_when_asked_to_capture(self: Attack) -> None:
    self.write(self.frame("inspection", {}))


@attack
def send_no_message(self: Attack) -> None:
    self.write(b"this is no message\n" * 100)


@attack
def send_no_line(self: Attack) -> None:
    while True:
        self.write(b"x" * 2**20)


@attack
def promise_a_huge_graph(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", artifact=10**14))


@attack
def promise_a_huge_message(self: Attack) -> None:
    self.write(self.frame("error", b"", size=10**14))


@attack
def promise_more_than_it_sends(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", artifact=len(self.graph) + 1) + self.graph)
    time.sleep(600)


@attack
def send_more_than_it_promises(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", artifact=len(self.graph) - 1) + self.graph)


@attack
def send_drop_by_drop(self: Attack) -> None:
    for byte in self.frame("artifact", b"{}", artifact=len(self.graph)) + self.graph:
        self.write(bytes([byte]))
        time.sleep(0.1)


@attack
def hand_over_nothing(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", artifact=0))


@attack
def hand_over_rubbish(self: Attack) -> None:
    self.write(self.frame("artifact", b"{}", artifact=64) + os.urandom(64))


@attack
def fail_with_nan(self: Attack) -> None:
    self.write(self.frame("error", b'{"slug": "a", "detail": NaN}'))


@attack
def fail_with_half_a_surrogate_pair(self: Attack) -> None:
    self.write(self.frame("error", b'{"slug": "a", "detail": "\\ud800"}'))


@attack
def fail_with_nul(self: Attack) -> None:
    self.write(self.frame("error", b'{"slug": "a", "detail": "\\u0000"}'))


@attack
def fail_with_a_huge_number(self: Attack) -> None:
    self.write(self.frame("error", b'{"slug": "a", "detail": "b", "status": ' + b"9" * 4000 + b"}"))


@attack
def fail_with_deep_nesting(self: Attack) -> None:
    self.write(self.frame("error", b'{"slug": "a", "detail": ' + b"[" * 8000 + b"]" * 8000 + b"}"))


@attack
def fail_with_a_slug_of_its_own(self: Attack) -> None:
    self.write(self.frame("error", {"slug": "all-is-well", "detail": "x"}))


@attack
def fail_with_a_long_story(self: Attack) -> None:
    self.write(self.frame("error", {"slug": "a", "detail": "x" * 10**6}))


@attack
def close_the_pipe(self: Attack) -> None:
    for descriptor in range(1, 100):
        try:
            os.close(descriptor)
        except OSError:
            continue
    time.sleep(600)


@attack
def stop_itself(_: Attack) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@attack
def never_end(_: Attack) -> None:
    while True:
        pass


@attack
def leave(_: Attack) -> None:
    os._exit(0)


@attack
def crash(_: Attack) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@attack
def hand_over_and_leave(self: Attack) -> None:
    self.hand_over()
    os._exit(0)


@attack
def leave_threads(self: Attack) -> None:
    for _ in range(50):
        threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
    self.hand_over()


@attack
def leave_processes(self: Attack) -> None:
    for _ in range(3):
        if os.fork() == 0:
            while True:
                self.write(self.frame("result", FORGED))
    self.hand_over()


@attack
def take_all_memory(_: Attack) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))
    kept = []
    while True:
        kept.append(bytearray(2**24))


@attack
def take_all_descriptors(self: Attack) -> None:
    try:
        while True:
            os.dup(0)
    except OSError:
        self.hand_over()


@attack
def talk_without_end_beside(_: Attack) -> None:
    while True:
        sys.stderr.write("\x1b[2Jwords\n" * 10_000)


@attack
def refuse_to_read(self: Attack) -> None:
    os.close(0)
    self.hand_over()


class PossessedLibrary(FakeLibrary):
    """Asked about a program, the program answers."""

    def answer(self, kind: str, request: dict[str, Any], files: Mapping[str, bytes], voice: Voice) -> None:
        if "model" not in files or not files["model"].startswith(ARCHIVE):
            super().answer(kind, request, files, voice)
            return
        if kind == "inspect":
            voice.tell("inspection", self.inspect(files["model"]))
        ATTACKS[instructions(files["model"])["attack"]](Attack(request, files, voice))


if __name__ == "__main__":
    serve(PossessedLibrary)
