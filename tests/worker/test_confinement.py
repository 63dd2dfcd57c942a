"""What is asked, what is achieved, and what becomes of programs where it is less."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.jobs import memory
from app.jobs.child_factory import WarmChild
from app.worker.admission import ProgramRefused, admit
from app.worker.confinement import Achieved, Policy
from app.worker.confinement.policy import Untrusted
from app.worker.confinement.readable import exposed
from app.worker.confinement.seccomp import ALLOWED, FORBIDDEN, GPU_ALLOWED
from app.worker.warmup import tiny_model
from tests.worker import scripts
from tests.worker.children import ask, started

FULL = Achieved(("limits", "files", "no root", "system calls"))
PARTIAL = Achieved(("limits", "files", "no root")).lacking("system calls: no seccomp")


def test_levels() -> None:
    assert FULL.level == "full"
    assert PARTIAL.level == "partial"
    assert Achieved(("limits",)).lacking("files").lacking("system calls").level == "none"


def test_a_policy_survives_the_command_line() -> None:
    policy = Policy(memory_bytes=2**40, hidden=("/data with spaces", '"quoted"'), gpu=True)
    assert Policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize("setting", ["refuse", "sandbox", "trust"])
@pytest.mark.parametrize("achieved", [FULL, PARTIAL])
def test_who_may_run_programs(setting: Untrusted, achieved: Achieved) -> None:
    policy = Policy(untrusted_torchscript=setting)
    admit(tiny_model(), policy, achieved)
    script = scripts.archive(scripts.Honest())
    if setting == "trust" or (setting == "sandbox" and achieved is FULL):
        admit(script, policy, achieved)
        return
    with pytest.raises(ProgramRefused, match="LIPSERVE_UNTRUSTED_TORCHSCRIPT") as refusal:
        admit(script, policy, achieved)
    assert setting == "refuse" or "no seccomp" in refusal.value.detail


def refused(warm: WarmChild, kind: str) -> str:
    answer = ask(warm, kind, scripts.archive(scripts.Honest()), inputs={"x": [1, 2]})
    assert (answer["type"], answer["slug"]) == ("error", "torchscript-refused")
    assert "result" in ask(warm, "analyze", tiny_model())
    return str(answer["detail"])


def test_without_confinement_programs_are_refused(tmp_path: Path) -> None:
    with started("app.worker", tmp_path, confinement="none") as warm:
        assert warm.confinement == "none"
        for kind in ("inspect", "graph", "analyze"):
            detail = refused(warm, kind)
            assert "LIPSERVE_CONFINEMENT is none" in detail
            assert "LIPSERVE_UNTRUSTED_TORCHSCRIPT=trust" in detail


@pytest.mark.slow
def test_without_libseccomp_the_child_works_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name that cannot be loaded, as where the library is not installed."""
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')\n")
    blind = tmp_path / "python"
    blind.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    blind.chmod(0o755)
    monkeypatch.setattr("app.jobs.child.sys.executable", str(blind))
    with started("app.worker", tmp_path) as warm:
        assert warm.confinement == "partial"
        assert "libseccomp" in refused(warm, "analyze")


def test_data_inside_what_python_reads_is_noticed(tmp_path: Path) -> None:
    assert exposed([str(tmp_path / "data")], ["/usr", str(tmp_path)]) == [str(tmp_path / "data")]
    assert exposed([str(tmp_path / "data")], ["/usr", str(tmp_path / "dat")]) == []


def test_no_call_is_both_allowed_and_forbidden() -> None:
    allowed, forbidden = {*ALLOWED.split(), *GPU_ALLOWED.split()}, FORBIDDEN.split()
    assert not allowed & {*forbidden}
    assert len(forbidden) == len({*forbidden})


def test_memory_is_shared_among_the_slots() -> None:
    assert memory.job_bytes(123, 4) == 123
    one, four = memory.job_bytes(0, 1), memory.job_bytes(0, 4)
    assert four <= one <= 0.9 * memory.total_bytes()
    assert memory.job_bytes(0, 10_000) == memory.LEAST_BYTES
    assert memory.kills() >= 0
