"""Programs that have their capture child wholly in their hands: none changes another job's answer, and none its own
beyond what the graph says that it hands over.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.worker.benches import Bench
from tests.worker.possessed import ATTACKS

GRAPH, BREACH, LIMIT = "succeeded", "worker-protocol", "time-limit"
EITHER = "what is seen first: the graph, or that the program goes on"

OUTCOMES = {
    "behave": GRAPH,
    "patch_the_worker": GRAPH,
    "answer_for_itself": BREACH,
    "answer_twice": BREACH,
    "answer_the_next_job_too": EITHER,
    "hand_over_two_graphs": BREACH,
    "say_ready_again": BREACH,
    "speak_in_another_turn": BREACH,
    "report_without_end": BREACH,
    "inspect_when_asked_to_capture": BREACH,
    "send_no_message": BREACH,
    "send_no_line": BREACH,
    "promise_a_huge_graph": BREACH,
    "promise_a_huge_message": BREACH,
    "promise_more_than_it_sends": LIMIT,
    "send_more_than_it_promises": BREACH,
    "send_drop_by_drop": LIMIT,
    "hand_over_nothing": "invalid-artifact",
    "hand_over_rubbish": "invalid-artifact",
    "fail_with_nan": BREACH,
    "fail_with_half_a_surrogate_pair": BREACH,
    "fail_with_nul": BREACH,
    "fail_with_a_huge_number": BREACH,
    "fail_with_deep_nesting": BREACH,
    "fail_with_a_slug_of_its_own": "analysis-failed",
    "fail_with_a_long_story": BREACH,
    "close_the_pipe": BREACH,
    "stop_itself": LIMIT,
    "never_end": LIMIT,
    "leave": "worker-crashed",
    "crash": "worker-crashed",
    "hand_over_and_leave": GRAPH,
    "leave_threads": GRAPH,
    "leave_processes": EITHER,
    "take_all_memory": "out-of-memory",
    "take_all_descriptors": GRAPH,
    "talk_without_end_beside": LIMIT,
    "refuse_to_read": GRAPH,
}
"""What becomes of the program's own job."""

QUICK = ("patch_the_worker", "answer_twice", "answer_the_next_job_too", "speak_in_another_turn", "leave_processes")

DOCUMENT = Path(__file__).parents[2] / "docs" / "confinement.md"

numbers = itertools.count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("hostile"), worker_module="tests.worker.possessed")
    assert made.run("owner", number=0)["status"] == "succeeded"
    yield made
    made.close()


def honest(bench: Bench) -> dict[str, Any]:
    """The answer to an honest owner's question about a model that is new."""
    row = bench.run("owner", number=next(numbers))
    assert row["status"] == "succeeded", row["error"]
    return {name: value for name, value in result_of(bench, row["id"]).items() if name != "pid"}


def result_of(bench: Bench, job: str) -> dict[str, Any]:
    result: dict[str, Any] = bench.repository.result(job)
    return result


@pytest.mark.parametrize(
    "attack", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in OUTCOMES]
)
def test_a_program_changes_no_answer_but_its_own_graph(bench: Bench, attack: str) -> None:
    expected, bounding = honest(bench), bench.pid
    job = bench.submit("thief", is_program=True, attack=attack, value=3.0, number=next(numbers), timeout_s=1.5)
    assert bench.prepared()
    assert bench.slot.run_next()
    assert bench.capturing_pid is None
    row = bench.repository.get("thief", job)
    assert row is not None
    if OUTCOMES[attack] == GRAPH or (OUTCOMES[attack] == EITHER and row["status"] == GRAPH):
        assert row["status"] == "succeeded", row["error"]
        result = result_of(bench, job)
        assert (result["upper"]["value"], result["upper"]["method"]) == (3.0, "fake")
    else:
        assert row["error"]["type"].rpartition(":")[2] == OUTCOMES[attack].replace(EITHER, BREACH), row["error"]
        assert len(str(row["error"])) < 5_000
    assert honest(bench) == expected
    assert bench.pid == bounding
    assert not list(bench.artifacts._blobs._staging.iterdir())


def test_nothing_of_a_program_runs_on(bench: Bench) -> None:
    job = bench.submit("thief", is_program=True, attack="leave_processes", number=next(numbers))
    assert bench.prepared()
    assert bench.slot.run_next()
    assert bench.repository.get("thief", job) is not None
    kept = {bench.pid, bench.around.factory.forkserver.pid}
    eventually(lambda: children_of(os.getpid()), lambda pids: pids == kept)


def children_of(supervisor: int) -> set[int]:
    """Processes of the possessed worker in sessions that this process started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
            parent = re.search(rb"PPid:\s(\d+)", (path.parent / "status").read_bytes())
        except OSError:
            continue
        if b"tests.worker.possessed" in words and parent and int(parent[1]) in (supervisor, 1):
            found.add(int(path.parent.name))
    return found


def test_the_table_of_attacks_is_this_one() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \|", DOCUMENT.read_text().partition("\n## Attacks")[2], re.MULTILINE)
    assert rows == list(OUTCOMES)
    assert set(ATTACKS) == set(OUTCOMES)
