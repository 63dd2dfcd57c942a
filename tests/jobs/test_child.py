"""The pipe to the child: whole messages, caps on all of them, nothing out of turn, every way that a child can end."""

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.jobs import child as module
from app.jobs.child import Child, ChildDied, Message, ProtocolBroken, Sink, describe_exit
from app.jobs.forkserver import Process

Spawn = Callable[[str], Child]

CAPS = ("progress", "result", "error")

LIBRARY = """
import json, os, sys, time
def hear():
    kind, turn, size, *files = sys.stdin.buffer.readline().split()
    body = json.loads(sys.stdin.buffer.read(int(size)))
    return turn.decode(), body, [sys.stdin.buffer.read(int(file.partition(b"=")[2])) for file in files]
def frame(kind, turn, body, **files):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sizes = "".join(f" {name}={len(file)}" for name, file in files.items())
    return f"{kind} {turn} {len(data)}{sizes}\\n".encode() + data + b"".join(files.values())
def say(*arguments, **files):
    data = frame(*arguments, **files)
    while data: data = data[os.write(1, data):]
"""


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a child from source code that can `hear()` and `say(kind, turn, body)`."""
    children: list[Child] = []

    def start(code: str) -> Child:
        pipes = [os.pipe() for _ in range(3)]
        ours, theirs = [pipes[0][1], pipes[1][0], pipes[2][0]], [pipes[0][0], pipes[1][1], pipes[2][1]]
        actions = [(os.POSIX_SPAWN_DUP2, stream, target) for target, stream in enumerate(theirs)]
        command = [sys.executable, "-P", "-c", LIBRARY + code]
        pid = os.posix_spawn(sys.executable, command, {}, file_actions=actions, setsid=True)
        for stream in theirs:
            os.close(stream)
        children.append(Child(Process(pid, *ours)))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def received(child: Child) -> Message:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (message := child.receive(0.05)) is not None:
            return message
    raise TimeoutError


def ask(child: Child, request: dict[str, Any] | None = None, **files: bytes) -> None:
    child.ask("analyze", request or {}, {name: io.BytesIO(file) for name, file in files.items()}, CAPS)


READY = {"device": "cpu", "torch": "none", "confinement": "none", "details": {}}


def test_messages_are_framed_however_they_are_cut(spawn: Spawn) -> None:
    child = spawn(
        "turn, _, _ = hear()\n"
        "data = frame('progress', turn, {'done': 1}) + frame('progress', turn, {'phase': 'a\\nb'})\n"
        "for cut in range(0, len(data), 20):\n"
        "    os.write(1, data[cut : cut + 20]); time.sleep(0.01)\n"
        "time.sleep(60)\n"
    )
    ask(child)
    assert [received(child).body for _ in range(2)] == [{"done": 1}, {"phase": "a\nb"}]
    assert child.receive(0.01) is None


def test_what_is_sent_arrives(spawn: Spawn) -> None:
    child = spawn(
        "turn, body, files = hear()\n"
        "say('error', turn, {'slug': 'a', 'detail': json.dumps([body, *map(len, files)])})\n"
    )
    ask(child, {"text": "line\nbreak", "n": [1.5, None]}, model=b"12345", dataset=b"")
    assert json.loads(received(child).body["detail"]) == [{"text": "line\nbreak", "n": [1.5, None]}, 5, 0]


def test_files_go_to_their_sinks(spawn: Spawn) -> None:
    child = spawn(
        "turn, *_ = hear()\n"
        "say('error', turn, {'slug': 'a', 'detail': 'b'}, witness=b'w' * 3_000_000, certificate=b'')\n"
    )
    files = {"witness": bytearray(), "certificate": bytearray()}
    child.ask("analyze", {}, {}, CAPS, {name: Sink(file.extend, 3_000_000) for name, file in files.items()})
    assert received(child).files == ("witness", "certificate")
    assert files == {"witness": b"w" * 3_000_000, "certificate": b""}
    child.end_turn()


BREACHES = {
    "no header": "os.write(1, b'this is no message\\n')",
    "a header without an end": "os.write(1, b'x' * 300)",
    "another turn": "say('progress', '0' * 32, {})",
    "a kind that was not asked for": "say('ready', turn, {})",
    "an unknown kind": "say('gossip', turn, {})",
    "a file that was not asked for": "say('progress', turn, {}, artifact=b'1')",
    "a file that is too large": "os.write(1, f'progress {turn} 2 witness=1001\\n'.encode())",
    "a file twice": "os.write(1, f'progress {turn} 2 witness=1 witness=1\\n'.encode())",
    "too long a report": "os.write(1, f'progress {turn} 4097\\n'.encode())",
    "too long a result": "os.write(1, f'result {turn} {2**23 + 1}\\n'.encode())",
    "no JSON": "say('progress', turn, b'{')",
    "no UTF-8": "say('progress', turn, b'{\"phase\": \"\\xff\"}')",
    "no object": "say('progress', turn, b'[1]')",
    "NaN": "say('progress', turn, b'{\"upper\": NaN}')",
    "infinity": "say('progress', turn, b'{\"upper\": 1e999}')",
    "a huge integer": "say('progress', turn, b'{\"done\": %d}' % 2**63)",
    "an endless integer": "say('progress', turn, b'{\"done\": ' + b'9' * 4000 + b'}')",
    "a negative count": "say('progress', turn, {'done': -1})",
    "half a surrogate pair": "say('progress', turn, b'{\"phase\": \"\\\\ud800\"}')",
    "NUL": "say('progress', turn, b'{\"phase\": \"\\\\u0000\"}')",
    "NUL in a key": "say('progress', turn, b'{\"a\\\\u0000\": 1}')",
    "deep nesting": "say('result', turn, b'[' * 100_000)",
    "nesting within a result": "say('error', turn, b'{\"detail\": ' + b'[' * 50 + b']' * 50 + b'}')",
    "a nested report": "say('progress', turn, {'phase': {}})",
    "a value of another type": "say('progress', turn, {'done': '1'})",
    "many small values": "say('result', turn, b'[' + b'[],' * 2_000_000 + b'[]]')",
    "a slug that is none": "say('error', turn, {'slug': 'A B', 'detail': 'x'})",
    "half a result": "say('result', turn, {'upper': None})",
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_is_no_message_is_refused(spawn: Spawn, breach: str) -> None:
    child = spawn(f"turn, *_ = hear()\n{BREACHES[breach]}\ntime.sleep(60)\n")
    child.ask("analyze", {}, {}, CAPS, {"witness": Sink(bytearray().extend, 1000)})
    before = peak_bytes()
    with pytest.raises(ProtocolBroken):
        received(child)
    assert peak_bytes() - before < 30_000_000


def test_a_child_that_speaks_unasked_is_found_out(spawn: Spawn) -> None:
    child = spawn(f"say('ready', '0', {READY!r})\nsay('ready', '0', {READY!r})\ntime.sleep(60)\n")
    assert received(child).kind == "ready"
    while child.is_quiet():
        time.sleep(0.01)
    with pytest.raises(ProtocolBroken, match="before it was asked"):
        ask(child)


def test_a_second_answer_is_found_out(spawn: Spawn) -> None:
    child = spawn(
        "turn, *_ = hear()\nsay('error', turn, {'slug': 'a', 'detail': 'b'})\nos.write(1, b'x')\ntime.sleep(60)\n"
    )
    ask(child)
    assert received(child).kind == "error"
    while child.is_quiet():
        time.sleep(0.01)
    with pytest.raises(ProtocolBroken, match="after its answer"):
        child.end_turn()


def test_endless_reports_are_read_slowly(spawn: Spawn) -> None:
    child = spawn("turn, *_ = hear()\nwhile True: say('progress', turn, {'phase': 'x' * 200})\n")
    ask(child)
    start, count, before = time.monotonic(), 0, time.process_time()
    while time.monotonic() - start < 1.5:
        count += child.receive(0.1) is not None
    assert 200 <= count <= 600
    assert time.process_time() - before < 0.5


def test_endless_words_on_standard_error_are_read_slowly(spawn: Spawn) -> None:
    child = spawn("hear()\nwhile True: sys.stderr.write('words' * 1000 + '\\n')\n")
    ask(child)
    start, before = time.monotonic(), time.process_time()
    while time.monotonic() - start < 1.0:
        assert child.receive(0.1) is None
    assert time.process_time() - before < 0.5


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("import os; os._exit(3)", "status 3"),
        ("", "status 0"),
    ],
)
def test_a_death_says_how(spawn: Spawn, code: str, words: str) -> None:
    with pytest.raises(ChildDied, match=words):
        received(spawn(code))


def test_a_closed_pipe_is_no_death(spawn: Spawn) -> None:
    with pytest.raises(ProtocolBroken, match="closed its pipe"):
        received(spawn("os.close(1); time.sleep(60)"))


def test_sending_to_the_dead_says_so(spawn: Spawn) -> None:
    child = spawn("")
    while child.is_alive():
        time.sleep(0.01)
    ask(child, {"a": "x" * 3_000_000})
    with pytest.raises(ChildDied):
        received(child)


COUNTS = """
while True:
    turn, _, files = hear()
    say("error", turn, {"slug": "sums", "detail": json.dumps([sum(file) for file in files])})
"""


def test_files_follow_their_question(spawn: Spawn) -> None:
    child = spawn(COUNTS)
    for size in (0, 1, 5_000_000):
        ask(child, model=b"\n" * size, dataset=b"{" * 3)
        assert received(child).body["detail"] == json.dumps([10 * size, 369])


def test_a_child_that_does_not_read_holds_nobody(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.5)
    child = spawn("time.sleep(60)\n")
    start = time.monotonic()
    ask(child, model=bytes(10**8))
    assert child.receive(0.1) is None
    assert time.monotonic() - start < 0.4
    with pytest.raises(ProtocolBroken, match=r"read nothing for 0\.5 s"):
        received(child)


def test_a_large_file_is_never_held_whole(spawn: Spawn, tmp_path: Path) -> None:
    """200 MB pass through; the service's own memory stays where it was."""
    child = spawn(
        "kind, turn, size, file = sys.stdin.buffer.readline().split()\n"
        "left = int(size) + int(file.partition(b'=')[2])\n"
        "while left: left -= len(sys.stdin.buffer.read1(left))\n"
        "say('error', turn.decode(), {'slug': 'a', 'detail': 'b'})\n"
    )
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200_000_000)
    before = peak_bytes()
    with path.open("rb") as file:
        child.ask("analyze", {}, {"model": file}, CAPS)
        assert received(child).kind == "error"
    assert peak_bytes() - before < 20_000_000


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_what_a_child_says_is_logged_within_limits(spawn: Spawn, caplog: pytest.LogCaptureFixture) -> None:
    child = spawn(
        "turn, *_ = hear()\nsys.stderr.write('words\\n' * 100_000)\nsys.stderr.flush()\n"
        "say('error', turn, {'slug': 'a', 'detail': 'b'})\n"
    )
    with caplog.at_level("INFO", logger="app.jobs.stderr_tail"):
        ask(child)
        assert received(child).kind == "error"
    assert "words" in caplog.messages[0]
    assert "left out" in caplog.messages[-1]
    assert sum(map(len, caplog.messages)) < 2_000_000


def test_a_failed_allocation_of_cpp_is_told_apart(spawn: Spawn) -> None:
    child = spawn(
        "import os, sys\nsys.stderr.write(\"terminate called after throwing an instance of 'std::bad_alloc'\\n\")\n"
        "sys.stderr.flush(); os.abort()\n"
    )
    with pytest.raises(ChildDied) as death:
        received(child)
    assert death.value.is_exhausted
    with pytest.raises(ChildDied) as death:
        received(spawn("import os; os.abort()"))
    assert not death.value.is_exhausted


def test_a_kill_takes_grandchildren_along(spawn: Spawn) -> None:
    child = spawn(
        "import subprocess\nturn, *_ = hear()\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "say('progress', turn, {'pid': p.pid}); time.sleep(60)\n"
    )
    ask(child)
    pid = received(child).body["pid"]
    child.kill()
    child.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and runs(pid):
        time.sleep(0.01)
    assert not runs(pid)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_exits_in_words() -> None:
    assert describe_exit(2) == "exited with status 2"
    assert describe_exit(-11) == "was killed by SIGSEGV"
    assert describe_exit(-9) == "was killed by SIGKILL"
