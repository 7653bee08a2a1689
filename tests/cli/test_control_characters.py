"""Nothing that a run stores, and no error, controls the terminal or turns the direction of its text."""

import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from engine.cli.exit_codes import report
from engine.cli.following import StageNow
from engine.cli.printing import PrintableFormatter, note
from engine.cli.views import drawn, log_line
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import RunStatus
from engine.domain.records import LogLevel, LogRecord
from tests.cli.calling import Call

CONTROLS = (
    *(chr(code) for code in (*range(0x01, 0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
)
HOSTILE = f"k{''.join(CONTROLS)}k"
RAW = re.compile(f"[{''.join(map(re.escape, CONTROLS))}]")


@pytest.fixture
def hostile(engine: Call) -> str:
    """A run with control characters in its input, logs, progress, annotations, artifacts and output."""
    answer = engine("run", "hostile", "--input", json.dumps(HOSTILE), "-o", "json")
    assert answer.code == 0
    assert not RAW.search(answer.out + answer.err)
    assert answer.json["output"] == {HOSTILE: HOSTILE}
    return str(answer.json["run_id"])


@pytest.mark.failure(89)
@pytest.mark.parametrize("command", ["show", "watch", "logs", "events", "annotations", "artifacts", "cost", "export"])
@pytest.mark.parametrize("output", ["text", "json"])
def test_what_a_run_stores_is_shown_harmless(engine: Call, hostile: str, command: str, output: str) -> None:
    answer = engine("runs", command, hostile, "-o", output)
    assert answer.code == 0
    assert not RAW.search(answer.out + answer.err)


def test_logs_in_json_keep_every_character(engine: Call, hostile: str) -> None:
    (log,) = engine("runs", "logs", hostile, "-o", "json").json
    assert log["metadata"][HOSTILE] == HOSTILE
    followed = engine("runs", "logs", hostile, "--follow", "-o", "json")
    assert not RAW.search(followed.out)
    assert followed.json["message"] == HOSTILE


def test_the_progress_of_a_run_is_shown_harmless(engine: Call) -> None:
    answer = engine("run", "hostile", "--input", json.dumps(HOSTILE), "--follow")
    assert "k\N{REPLACEMENT CHARACTER}" in answer.out
    assert not RAW.search(answer.out + answer.err)


@pytest.mark.parametrize("words", [("run", HOSTILE), ("runs", "show", HOSTILE), ("run", "hostile", f"--{HOSTILE}")])
def test_errors_show_the_callers_words_harmless(engine: Call, words: tuple[str, ...]) -> None:
    for more in ((), ("-o", "json"), ("--debug",)):
        answer = engine(*words, *more)
        assert answer.code == 2
        assert not RAW.search(answer.out + answer.err)


def test_an_error_with_control_characters_is_reported_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    report(InvalidInput(HOSTILE, [HOSTILE]), as_json=True, debug=True)
    note(HOSTILE)
    shown = capsys.readouterr()
    assert not RAW.search(shown.out + shown.err)
    assert json.loads(shown.out)["error"]["problems"] == [HOSTILE]


@pytest.mark.failure(89)
def test_a_key_of_a_log_stays_in_its_line() -> None:
    log = LogRecord(
        id="1",
        workflow_run_id="r",
        level=LogLevel.INFO,
        message="said",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        metadata={"a\nb\x9b": "c\nd"},
    )
    assert log_line(log).endswith("run INFO said a b\N{REPLACEMENT CHARACTER}=c d")


def test_log_records_of_a_worker_are_formatted_harmless() -> None:
    record = logging.LogRecord("engine", logging.INFO, "", 0, HOSTILE, None, None)
    assert not RAW.search(PrintableFormatter("%(message)s").format(record))


def test_the_live_view_draws_names_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    run = SimpleNamespace(id="0" * 36, workflow_id=HOSTILE, status=RunStatus.RUNNING, total_cost=0.0)
    stages = [StageNow(id="one", name=HOSTILE, group=1)]
    moment = SimpleNamespace(run=run, stages=stages, elapsed=1.0)
    Console(width=400, highlight=False).print(drawn(moment, 400, 30))  # type: ignore[arg-type]  # only what it draws
    assert not RAW.search(capsys.readouterr().out)


def test_files_keep_their_characters(engine: Call, hostile: str, folder: Path) -> None:
    assert engine("runs", "artifacts", hostile, "--save", "there").code == 0
    assert (folder / "there/say/letter.txt").read_bytes().decode() == HOSTILE
