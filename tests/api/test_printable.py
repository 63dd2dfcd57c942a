"""Nothing that others name or say reaches a terminal or a log as more than text."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading

import pytest

from app.commands.show import Display, summary
from app.contract.progress import Progress
from app.contract.result import ResultView
from app.observability import JsonLines, TextLines, configure_logging, log_uncaught
from app.printable import printable, printable_json
from app.refusals import from_slug
from app.settings import Settings
from tests.conftest import RunningService, fake_model
from tests.pages.results import layer, result

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r2026 INFO forged\n2026 INFO forged\x9b31m\u202egnp\x7f\ud800\u2028\0"
CONTROL = {chr(code) for code in (*range(32), *range(127, 160), 0x202E, 0x2028, 0xD800)}


def hidden(text: str, keep: str = "\n") -> set[str]:
    return CONTROL & {*text} - {*keep}


def test_what_cannot_be_seen_is_written_out() -> None:
    assert printable(HOSTILE).isprintable()
    assert printable("\x1b[31mred\n") == r"\x1b[31mred\n"
    assert printable("a\nb\x9b", keep="\n") == "a\nb\\x9b"
    assert printable("Grüße, 重み ✓") == "Grüße, 重み ✓"
    assert json.loads(printable_json({"a": HOSTILE})) == {"a": HOSTILE}
    assert not hidden(printable_json({"a": HOSTILE}))


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging(Settings(log_format=request.param))
    log_uncaught()
    return stream


def fail() -> None:
    raise ValueError(HOSTILE)


def test_no_formatter_passes_control_characters_on(log: io.StringIO) -> None:
    del logging.getLogger().handlers[1:]  # pytest's own keep every record for its report, which has to be UTF-8
    logger = logging.getLogger("some.room")
    logger.info("file %s", HOSTILE, extra={"name_of_it": HOSTILE, "many": [HOSTILE, {HOSTILE: 1}]})
    try:
        fail()
    except ValueError:
        logger.exception("it failed")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    text = log.getvalue()
    assert not hidden(text)
    assert "forged" in text
    for line in text.splitlines():
        assert not line.startswith("2026 INFO forged")
        if line.startswith("{"):
            assert not hidden(str(json.loads(line)), keep="")


def test_both_formatters_are_the_services_own(log: io.StringIO) -> None:
    assert isinstance(logging.getLogger().handlers[0].formatter, TextLines | JsonLines)


def test_problems_tell_nothing_that_a_terminal_obeys() -> None:
    problem = from_slug("invalid-model", HOSTILE)
    assert not hidden(problem.detail)
    assert not hidden(str(problem))


TEXT = HOSTILE.replace("\ud800", "")  # which no type of the contract takes


def hostile_result() -> ResultView:
    told = result(layers=[layer(0, name=TEXT, op=TEXT)])
    told["warnings"] = [TEXT]
    told["estimates"][0] |= {"status": "skipped", "reason": TEXT}
    return ResultView.model_validate(told)


def test_the_command_line_shows_text_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert not hidden(summary(TEXT, hostile_result()))
    assert "forged" in summary(TEXT, hostile_result())
    with Display(is_live=False) as display:
        display(Progress(method=TEXT, phase=TEXT))
        description = display._progress.tasks[0].description
    assert not hidden(description, keep="")


def test_what_a_child_says_is_neutral_in_the_log_and_in_its_job(service: RunningService) -> None:
    step = {"do": "refuse", "slug": "invalid-model", "detail": HOSTILE.replace("\ud800", "")}
    job = service.analyze(fake_model(analyze=step)).json()
    assert job["status"] == "failed"
    assert not hidden(job["error"]["detail"])
    assert not hidden(service.log())
