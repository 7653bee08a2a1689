"""`engine runs`: reading, cancelling, rerunning."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.calling import Call, ended, started


@pytest.fixture
def done(engine: Call) -> str:
    """A completed run."""
    return str(engine("run", "greeting", "-o", "json").json["run_id"])


@pytest.mark.failure(40)
def test_a_list_in_a_pipe_is_whole(engine: Call, done: str) -> None:
    header, line = engine("runs", "list").out.splitlines()
    assert header.split()[:3] == ["RUN", "WORKFLOW", "STATUS"]
    assert line.split()[:3] == [done, "greeting", "COMPLETED"]


def test_a_list_of_nothing_is_empty_and_makes_nothing(engine: Call, folder: Path) -> None:
    assert engine("runs", "list", "-o", "json").json == {"runs": [], "next": None}
    assert list(folder.iterdir()) == []


def test_a_list_can_be_narrowed_and_paged(engine: Call, done: str) -> None:
    failed = engine("run", "failing", "-o", "json").json["run_id"]
    ids = {
        words: [run["run_id"] for run in engine("runs", "list", *words, "-o", "json").json["runs"]]
        for words in [("--status", "failed"), ("--workflow", "greeting"), ("--limit", "1"), ("--since", "1h")]
    }
    assert list(ids.values()) == [[failed], [done], [failed], [failed, done]]
    page = engine("runs", "list", "--limit", "1", "-o", "json").json
    rest = engine("runs", "list", "--before", page["next"], "-o", "json").json
    assert [run["run_id"] for run in rest["runs"]] == [done]


@pytest.mark.parametrize("status", ["suspended", "skipped"])
def test_a_state_that_no_run_is_ever_in_is_refused_with_those_there_are(engine: Call, status: str) -> None:
    answer = engine("runs", "list", "--status", status)
    assert answer.code == 2
    assert "'pending', 'running', 'completed', 'failed', 'cancelled'" in answer.err


def test_show_takes_the_beginning_of_an_id(engine: Call, done: str) -> None:
    answer = engine("runs", "show", done[:13])
    assert answer.code == 0
    for expected in (done, "COMPLETED", "greet", "shout", "HELLO, WORLD!", "letter.txt"):
        assert expected in answer.out


def test_logs_events_and_annotations_are_printed(engine: Call, done: str) -> None:
    assert "greet INFO greeting world" in engine("runs", "logs", done).out
    assert engine("runs", "logs", done, "--stage", "shout").out == ""
    assert [event["type"] for event in engine("runs", "events", done, "-o", "json").json][-1] == "workflow:completed"
    assert "run completed" in engine("runs", "events", done).out
    assert [row["key"] for row in engine("runs", "annotations", done, "-o", "json").json] == ["decision.outcome"]
    assert "decision.outcome" in engine("runs", "annotations", done, "--key", "decision.").out


def test_artifacts_are_saved_once(engine: Call, done: str, folder: Path) -> None:
    assert "letter.txt" in engine("runs", "artifacts", done).out
    assert engine("runs", "artifacts", done, "--save", "kept").code == 0
    assert (folder / "kept/shout/letter.txt").read_text() == "HELLO, WORLD!"
    assert engine("runs", "artifacts", done, "--save", "kept").code == 2


def test_an_export_holds_everything(engine: Call, done: str) -> None:
    document = engine("runs", "export", done).json
    assert document["input"] == {"name": "world"}
    assert document["stages"][0]["output"] == {"text": "Hello, world"}
    assert {"jobs", "logs", "events", "annotations", "artifacts", "config"} <= document.keys()


def test_cancelling_what_has_ended_exits_1(engine: Call, done: str) -> None:
    answer = engine("runs", "cancel", done)
    assert answer.code == 1
    assert "has ended already; it is COMPLETED" in answer.err


def test_a_waiting_run_is_cancelled(engine: Call) -> None:
    run_id = engine("run", "greeting", "--no-wait").out.strip()
    assert engine("runs", "cancel", run_id, "-o", "json").json == {
        "run_id": run_id,
        "cancelled": True,
        "status": "CANCELLED",
    }
    assert engine("runs", "watch", run_id).code == 3


def test_a_rerun_starts_from_its_stage_with_other_input(engine: Call, done: str) -> None:
    answer = engine("runs", "rerun", done, "--from", "shout", "--input", '{"text": "again"}', "-o", "json")
    assert answer.code == 0
    assert answer.json["output"] == {"text": "AGAIN!"}
    assert [stage["generation"] for stage in answer.json["stages"]] == [0, 1]


def test_a_rerun_tells_only_what_happens_from_then_on(engine: Call, done: str) -> None:
    lines = engine("runs", "rerun", done, "--from", "shout").out.splitlines()
    assert not any("run created" in line or " greet " in line for line in lines)
    assert any("shout completed" in line for line in lines)


def test_another_input_that_does_not_fit_is_said_of_the_option(engine: Call, done: str) -> None:
    answer = engine("runs", "rerun", done, "--from", "shout", "--input", '{"txt": 1}')
    assert answer.code == 2
    assert answer.err.startswith("error: --input: ")


def test_a_rerun_may_have_models_that_are_made_up(engine: Call, done: str) -> None:
    assert engine("runs", "rerun", done, "--from", "shout", "--fake-ai").code == 0
    assert engine("runs", "rerun", done, "--from", "shout", "--fake-ai", "--stack", "s").code == 2


def test_a_rerun_from_an_unknown_stage_is_refused(engine: Call, done: str) -> None:
    answer = engine("runs", "rerun", done, "--from", "whisper")
    assert answer.code == 2
    assert "'whisper'" in answer.err


def test_watching_a_finished_run_tells_its_story_and_its_exit_code(engine: Call, done: str) -> None:
    answer = engine("runs", "watch", done)
    assert answer.code == 0
    assert "run completed" in answer.out
    failed = engine("run", "failing", "-o", "json").json["run_id"]
    assert engine("runs", "watch", failed, "-o", "json").code == 1


def test_a_copy_that_nobody_may_write_to_can_be_looked_into(
    engine: Call, done: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder / "a #copy"
    shutil.copytree(folder / ".engine", home)
    (home / "engine.db").chmod(0o444)
    home.chmod(0o555)
    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.W_OK)  # root may write anywhere
    names = sorted(home.iterdir())
    assert done in engine("runs", "list", "--home", str(home)).out
    assert "HELLO, WORLD!" in engine("runs", "show", done, "--home", str(home)).out
    assert sorted(home.iterdir()) == names
    rerun = engine("runs", "rerun", done, "--from", "shout", "--home", str(home))
    assert (rerun.code, "readonly" in rerun.err) == (4, True)
    started_there = engine("run", "greeting", "--home", str(home))
    assert (started_there.code, "cannot write to the folder" in started_there.err) == (4, True)
    home.chmod(0o755)


def test_following_logs_ends_with_the_run(engine: Call, folder: Path) -> None:
    run_id = engine("run", "waiting", "--input", '{"path": "gate"}', "--no-wait").out.strip()
    follower = started("runs", "logs", "-f", run_id, "-o", "json", folder=folder)
    worker = started("run", "--resume", run_id, folder=folder)
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["message"] == "standing at the gate"
    (folder / "gate").touch()
    assert ended(worker).code == 0
    assert ended(follower).code == 0


def test_a_reader_that_leaves_is_no_error(engine: Call, done: str, folder: Path) -> None:
    process = started("runs", "export", done, folder=folder)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(60)
