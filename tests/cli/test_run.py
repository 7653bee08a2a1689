"""`engine run`, piped: what it prints, and what it says to the shell."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.calling import Call, ended, started


def run_ids(engine: Call) -> list[str]:
    return [run["run_id"] for run in engine("runs", "list", "-o", "json").json["runs"]]


def wait_for_run(engine: Call, process: subprocess.Popen[str], folder: Path) -> str:
    """The id of the one run, once its stage has begun. Looks from outside until the process has made its database."""
    end = time.monotonic() + 30
    while ended(started("runs", "list", "--limit", "1", folder=folder)).out.count("RUNNING") == 0:
        assert process.poll() is None
        assert time.monotonic() < end
    (run_id,) = run_ids(engine)
    while "standing at the gate" not in engine("runs", "logs", run_id).out:
        assert time.monotonic() < end
        time.sleep(0.05)
    return run_id


def test_a_run_that_completes_prints_a_line_for_each_change_and_exits_0(engine: Call) -> None:
    answer = engine("run", "greeting", "--input", '{"name": "Ada"}')
    assert answer.code == 0
    happened = [line.split(" ", 1)[1].split(":")[0] for line in answer.out.splitlines() if re.match(r"\d{4}-", line)]
    assert happened == [
        "run created",
        "run started",
        "greet started",
        "greet INFO greeting Ada",
        "greet completed",
        "shout started",
        "shout completed",
        "run completed",
    ]
    assert '"text": "HELLO, ADA!"' in answer.out
    assert "letter.txt" in answer.out
    assert "engine runs show" in answer.out


def test_json_is_one_document_on_stdout(engine: Call) -> None:
    answer = engine("run", "greeting", "-o", "json")
    document = answer.json
    assert document["status"] == "COMPLETED"
    assert document["output"] == {"text": "HELLO, WORLD!"}
    assert document["error"] is None
    assert (document["total_cost"], document["total_tokens"]) == (0.0, 0)
    assert document["duration_ms"] >= 0
    assert [(stage["stage_id"], stage["status"], stage["attempts"]) for stage in document["stages"]] == [
        ("greet", "COMPLETED", 1),
        ("shout", "COMPLETED", 1),
    ]
    assert [artifact["name"] for artifact in document["artifacts"]] == ["letter.txt"]


def test_what_a_body_prints_does_not_spoil_the_json(engine: Call) -> None:
    answer = engine("run", "talking", "-o", "json")
    assert answer.json["output"] == 1
    assert "a body that prints" in answer.err


@pytest.mark.failure(40)
def test_a_run_that_fails_says_where_and_why_and_exits_1(engine: Call) -> None:
    answer = engine("run", "failing")
    assert answer.code == 1
    last = answer.err.strip().splitlines()[-1]
    assert "failed in stage 'break'" in last
    assert "ValueError: cannot break 'Hello, world'" in last
    assert "Traceback" not in answer.out + answer.err
    assert "--from break" in answer.out


def test_a_failed_run_as_json_holds_its_error(engine: Call) -> None:
    answer = engine("run", "failing", "--output=json")
    assert answer.code == 1
    assert answer.json["status"] == "FAILED"
    assert "cannot break" in answer.json["error"]["message"]
    assert "cannot break" in answer.json["stages"][1]["error"]["message"]


def test_retries_are_shown(engine: Call) -> None:
    answer = engine("run", "stumbling")
    assert answer.code == 0
    assert "will be tried again" in answer.out
    assert "stumble started: attempt 2" in answer.out


def test_a_parallel_group_runs_as_a_whole(engine: Call) -> None:
    assert engine("run", "twins", "-o", "json").json["output"] == {"left": 1, "right": 2}


def test_a_file_that_is_not_json_becomes_the_field_path(engine: Call, folder: Path) -> None:
    (folder / "notes.md").write_text("12345")
    assert engine("run", "measuring", "--input", "notes.md", "-o", "json").json["output"] == 5


def test_a_json_file_is_the_input(engine: Call, folder: Path) -> None:
    (folder / "ada.json").write_text('{"name": "Ada"}')
    assert engine("run", "greeting", "--input", "ada.json", "-o", "json").json["output"]["text"] == "HELLO, ADA!"


def test_standard_input_is_json(folder: Path) -> None:
    process = started("run", "greeting", "--input", "-", "-o", "json", folder=folder, stdin=subprocess.PIPE)
    out, _ = process.communicate('{"name": "Ada"}', timeout=60)
    assert json.loads(out)["output"] == {"text": "HELLO, ADA!"}


def test_config_reaches_its_stage(engine: Call) -> None:
    answer = engine("run", "greeting", "--config", '{"shout": {"marks": 3}}', "-o", "json")
    assert answer.json["output"] == {"text": "HELLO, WORLD!!!"}


def test_global_options_may_stand_before_the_command(engine: Call, folder: Path) -> None:
    assert engine("--home", "elsewhere", "-o", "json", "run", "greeting").json["status"] == "COMPLETED"
    assert (folder / "elsewhere").is_dir()
    assert not (folder / ".engine").exists()


def test_the_same_idempotency_key_gives_the_same_run(engine: Call) -> None:
    first, second = (engine("run", "greeting", "--idempotency-key", "one", "-o", "json").json for _ in range(2))
    assert first["run_id"] == second["run_id"]
    other = engine("run", "greeting", "--input", '{"name": "Ada"}', "--idempotency-key", "one")
    assert other.code == 1
    assert "already used" in other.err


def test_no_wait_leaves_the_run_to_a_worker(engine: Call) -> None:
    answer = engine("run", "greeting", "--no-wait")
    assert answer.code == 0
    assert run_ids(engine) == [answer.out.strip()]
    assert engine("runs", "show", answer.out.strip(), "-o", "json").json["status"] == "RUNNING"


def test_resume_takes_the_newest_unfinished_run(engine: Call) -> None:
    run_id = engine("run", "greeting", "--no-wait").out.strip()
    answer = engine("run", "--resume", "-o", "json")
    assert (answer.code, answer.json["run_id"], answer.json["status"]) == (0, run_id, "COMPLETED")
    answer = engine("run", "--resume")
    assert (answer.code, answer.err) == (2, "error: no run is unfinished, so there is nothing to resume\n")
    assert "no run of workflow 'greeting' is unfinished" in engine("run", "greeting", "--resume").err


def test_resume_takes_the_run_it_is_given(engine: Call) -> None:
    first = engine("run", "greeting", "--no-wait").out.strip()
    engine("run", "greeting", "--no-wait")
    assert engine("run", "--resume", first, "-o", "json").json["run_id"] == first


def test_a_reader_that_leaves_is_no_failure_of_the_run(folder: Path) -> None:
    process = started("run", "waiting", "--input", '{"path": "gate"}', folder=folder)
    assert process.stdout is not None
    assert "run created" in process.stdout.readline()
    process.stdout.close()
    (folder / "gate").touch()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("workflow", ["sleeping", "waiting"], ids=["a deaf body", "a body that stops when told"])
def test_a_time_limit_that_is_reached_exits_5_and_keeps_the_run(engine: Call, folder: Path, workflow: str) -> None:
    words = ("run", workflow, "--input", '{"path": "gate"}', "--timeout", "0.3s")
    answer = ended(started(*words, folder=folder))
    assert answer.code == 5
    assert "engine run --resume" in answer.err
    (folder / "gate").touch()
    assert engine("run", "--resume", "-o", "json").json["status"] == "COMPLETED"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_gracefully_and_says_how_to_go_on(
    engine: Call, folder: Path, number: signal.Signals, code: int
) -> None:
    process = started("run", "waiting", "--input", '{"path": "gate"}', folder=folder)
    run_id = wait_for_run(engine, process, folder)
    process.send_signal(number)
    (folder / "gate").touch()
    answer = ended(process)
    assert answer.code in {code, 0}, answer.err
    assert answer.code == code or "COMPLETED" in answer.out
    assert engine("run", "--resume", run_id, "-o", "json").json["status"] == "COMPLETED"


def test_a_second_signal_stops_at_once(engine: Call, folder: Path) -> None:
    process = started("run", "waiting", "--input", '{"path": "gate"}', folder=folder)
    wait_for_run(engine, process, folder)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    assert ended(process).code == 130
    assert time.monotonic() - before < 5


def test_a_killed_run_is_resumed_at_once(engine: Call, folder: Path) -> None:
    process = started("run", "waiting", "--input", '{"path": "gate"}', folder=folder)
    run_id = wait_for_run(engine, process, folder)
    process.kill()
    process.communicate()
    (folder / "gate").touch()
    before = time.monotonic()
    answer = engine("run", "--resume", "-o", "json")
    assert (answer.json["run_id"], answer.json["status"]) == (run_id, "COMPLETED")
    assert time.monotonic() - before < 5


def test_a_run_cancelled_from_elsewhere_exits_3(engine: Call, folder: Path) -> None:
    process = started("run", "waiting", "--input", '{"path": "gate"}', folder=folder)
    run_id = wait_for_run(engine, process, folder)
    assert engine("runs", "cancel", run_id[:13], "--reason", "no need").code == 0
    answer = ended(process)
    assert answer.code == 3
    assert "run cancelled: no need" in answer.out
