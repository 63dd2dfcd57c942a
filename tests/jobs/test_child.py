"""The pipe to the child: whole messages, a cap on their length, and every way that a child can end."""

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
    with pytest.raises(ChildDied):
        child.send({"a": "x" * 100_000})


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
    assert "memory" in describe_exit(-9)
