"""The pipe to the child: whole messages, a cap on their length, and every way that a child can end."""

import io
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.jobs import child as module
from app.jobs.child import Child, ChildDied, ProtocolBroken, describe_exit

Spawn = Callable[[str], Child]


@pytest.fixture
def spawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spawn]:
    """Starts a child from source code."""
    children: list[Child] = []
    monkeypatch.setattr(module, "SOURCE_ROOT", tmp_path)

    def start(code: str) -> Child:
        (tmp_path / f"child{len(children)}.py").write_text(code)
        children.append(Child(f"child{len(children)}", {}, 1000))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def received(child: Child) -> object:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (message := child.receive(0.05)) is not None:
            return message
    raise TimeoutError


def test_messages_are_lines_however_they_are_cut(spawn: Spawn) -> None:
    child = spawn(
        "import os, time\n"
        "for piece in (b'{\"a\"', b': 1}\\n{\"b\": 2}\\n{', b'\"c\": 3}\\n'):\n"
        "    os.write(1, piece); time.sleep(0.05)\n"
        "time.sleep(60)\n"
    )
    assert [received(child) for _ in range(3)] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert child.receive(0.01) is None


def test_what_is_sent_arrives(spawn: Spawn) -> None:
    child = spawn("import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n")
    child.send({"text": "line\nbreak", "n": [1.5, None]})
    assert received(child) == {"text": "line\nbreak", "n": [1.5, None]}


@pytest.mark.parametrize(
    "sent",
    ["'x' * 2000", "'x' * 900 + '\\n'", "'[1]\\n'", "'{\"a\": NaN}\\n'", "'{\"a\": Infinity}\\n'", "'[' * 999 + '\\n'"],
)
def test_what_is_no_message_is_refused(spawn: Spawn, sent: str) -> None:
    child = spawn(f"import time\nprint({sent}, end='', flush=True)\ntime.sleep(60)\n")
    with pytest.raises(ProtocolBroken):
        received(child)


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


def test_sending_to_the_dead_says_so(spawn: Spawn) -> None:
    child = spawn("")
    while child.is_alive():
        time.sleep(0.01)
    child.send({"a": "x" * 3_000_000})
    with pytest.raises(ChildDied):
        received(child)


COUNTS = """
import json, sys
for line in sys.stdin.buffer:
    sizes = json.loads(line)["sizes"]
    print(json.dumps({"sums": [sum(sys.stdin.buffer.read(size)) for size in sizes]}), flush=True)
"""


def test_files_follow_their_message(spawn: Spawn) -> None:
    child = spawn(COUNTS)
    for size in (0, 1, 5_000_000):
        contents = [b"\n" * size, b"{" * 3]
        child.send({"sizes": [len(content) for content in contents]}, [io.BytesIO(content) for content in contents])
        assert received(child) == {"sums": [10 * size, 369]}


def test_a_child_that_does_not_read_holds_nobody(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.5)
    child = spawn("import time\ntime.sleep(60)\n")
    start = time.monotonic()
    child.send({"sizes": [10**8]}, [io.BytesIO(bytes(10**8))])
    assert child.receive(0.1) is None
    assert time.monotonic() - start < 0.4
    with pytest.raises(ProtocolBroken, match=r"read nothing for 0\.5 s"):
        received(child)


def test_a_large_file_is_never_held_whole(spawn: Spawn, tmp_path: Path) -> None:
    """500 MB pass through; the service's own memory stays where it was."""
    child = spawn(
        "import json, sys\nleft = json.loads(sys.stdin.buffer.readline())['size']\n"
        "while left: left -= len(sys.stdin.buffer.read1(left))\nprint('{}', flush=True)\n"
    )
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(500_000_000)
    before = peak_bytes()
    with path.open("rb") as file:
        child.send({"size": 500_000_000}, [file])
        assert received(child) == {}
    assert peak_bytes() - before < 20_000_000


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_what_a_child_says_is_logged_within_limits(spawn: Spawn, caplog: pytest.LogCaptureFixture) -> None:
    child = spawn(
        "import sys\nfor line in sys.stdin: sys.stderr.write('words\\n' * 200_000); print('{}', flush=True)\n"
    )
    with caplog.at_level("INFO", logger="app.jobs.remarks"):
        child.send({})
        assert received(child) == {}
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
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('{\"pid\": %d}' % p.pid, flush=True); time.sleep(60)\n"
    )
    message = received(child)
    child.kill()
    child.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and runs(message["pid"]):
        time.sleep(0.01)
    assert not runs(message["pid"])


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_exits_in_words() -> None:
    assert describe_exit(2) == "exited with status 2"
    assert describe_exit(-11) == "was killed by SIGSEGV"
    assert describe_exit(-9) == "was killed by SIGKILL"
