"""`--stack`: the command line on a deployed stack, with real handlers, queue and database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

import engine.bootstrap.stack
from engine.cli.main import main
from engine.localcloud.cloud import CONTROL_TIMEOUT, LocalCloud
from engine.localcloud.running import connect
from engine.localcloud.sandbox import Sandbox
from tests.cli.calling import Answer, Call
from tests.cloud.deployment import ROOT, ended, started
from tests.cloud.stack import NAME, StackClients, stream
from tests.support.waiting import until

pytestmark = pytest.mark.postgres

REGISTRY = {"ENGINE_REGISTRY": "tests.cloud.stack:WORKFLOWS", "ENGINE_CODE": str(ROOT)}


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud(more=REGISTRY) as running:
        yield running


@pytest.fixture(scope="module")
def clients(cloud: LocalCloud) -> Iterator[StackClients]:
    maintenance = Sandbox(cloud.function("maintenance", CONTROL_TIMEOUT))
    try:
        yield StackClients(maintenance)
    finally:
        maintenance.stop()


@pytest.fixture
def call(
    clients: StackClients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    """The command line in an empty folder, with the stack as its only target."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine.bootstrap.stack, "AwsClients", lambda: clients)
    for name, value in REGISTRY.items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> Answer:
        capfd.readouterr()
        code = main([*words, "--stack", NAME])
        return Answer(code, *capfd.readouterr())

    return call


def run_of(cloud: LocalCloud, workflow_id: str, *, end: bool = True) -> str:
    with connect(cloud.environment) as opened:
        run_id = started(opened, workflow_id, {"text": "hello"})
        if end:
            until(ended(opened, run_id), "the run has ended", seconds=60)
    return run_id


@pytest.fixture(scope="module")
def completed(cloud: LocalCloud) -> str:
    """A run that logged, suspended, and left an artifact."""
    return run_of(cloud, "suspending")


@pytest.fixture(scope="module")
def analysed(cloud: LocalCloud) -> str:
    with connect(cloud.environment) as opened:
        run_id = started(opened, "document-analysis", {"content": "To be, or not to be.", "name": "a.txt"})
        until(ended(opened, run_id), "the run has ended", seconds=60)
    return run_id


def test_a_text_file_of_this_machine_goes_along_as_text(call: Call, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# Title\n\nTo be, or not to be: that is the question. — Hamlet\n")
    done = call("run", "document-analysis", "--input", "note.md", "--timeout", "60s", "-o", "json")
    assert done.code == 0, done.err
    assert (done.json["output"]["name"], done.json["output"]["kind"]) == ("note.md", "markdown")
    assert done.json["output"]["statistics"]["words"] == 11


@pytest.mark.parametrize(
    ("workflow", "name", "content", "said"),
    [
        ("document-analysis", "a.pdf", b"%PDF-1.7\n\xe2\xe3\xcf\xd3", "'a.pdf' is not UTF-8"),
        ("document-analysis", "long.txt", b"x" * 4_200_000, "cannot be sent to the stack: it is more than 4 MiB"),
        ("document-analysis", "gone.txt", None, "there is no file 'gone.txt'"),
        ("suspending", "a.txt", b"text", "is not a .json file, and no file of another kind is accepted here"),
    ],
)
def test_a_file_that_cannot_go_along_is_refused_before_anything_is_asked(
    call: Call, clients: StackClients, tmp_path: Path, *, workflow: str, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    asked = len(clients.invocations)
    refused = call("run", workflow, "--input", name)
    assert (refused.code, refused.out, len(clients.invocations)) == (2, "", asked)
    assert said in refused.err
    assert refused.err.count("\n") == 1


def test_a_run_is_started_once_though_the_answer_is_lost(call: Call, clients: StackClients) -> None:
    before = call("runs", "list", "--workflow", "far-ahead", "-o", "json").json["runs"]
    clients.lost_answers = 2
    created = call("run", "far-ahead", "--no-wait", "-o", "json")
    assert created.code == 0, created.err
    after = call("runs", "list", "--workflow", "far-ahead", "-o", "json").json["runs"]
    assert [each["run_id"] for each in after] == [created.json["run_id"], *(each["run_id"] for each in before)]


def test_runs_are_listed_page_by_page_and_found_by_their_beginning(call: Call, completed: str, analysed: str) -> None:
    first = call("runs", "list", "--status", "completed", "--limit", "1", "-o", "json").json
    second = call("runs", "list", "--status", "completed", "--limit", "1", "--before", first["next"], "-o", "json").json
    assert first["runs"][0]["run_id"] != second["runs"][0]["run_id"]
    assert {completed, analysed} <= {each["run_id"] for each in call("runs", "list", "-o", "json").json["runs"]}
    assert call("runs", "show", completed, "-o", "json").json["run_id"] == completed
    assert completed in call("runs", "show", completed).out
    missing = call("runs", "show", "nothing")
    assert (missing.code, missing.err) == (2, "error: no run 'nothing'\n")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("logs",), "reading 'a.txt'"),
        (("logs", "--follow"), "reading 'a.txt'"),
        (("events",), "run completed"),
        (("annotations", "--key", "decision."), "decision.outcome"),
        (("artifacts",), "report.md"),
        (("cost",), "MODEL  CALLS"),
        (("show",), "To be"),
        (("watch",), "run completed"),
        (("export",), '"annotations"'),
    ],
)
def test_everything_that_is_kept_of_a_run_is_shown(
    call: Call, analysed: str, *, words: tuple[str, ...], seen: str
) -> None:
    verb, *options = words
    shown = call("runs", verb, analysed, *options)
    assert shown.code == 0, shown.err
    assert seen in shown.out


def test_annotations_are_refused_rather_than_cut_short(
    call: Call, analysed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.bootstrap.stack, "MOST", 1)
    refused = call("runs", "annotations", analysed)
    assert (refused.code, refused.out) == (1, "")
    assert f"run {analysed} has 1 annotations or more, which a stack does not give; use --key" in refused.err


def test_an_export_is_the_same_as_one_made_beside_the_database(call: Call, cloud: LocalCloud, completed: str) -> None:
    exported = call("runs", "export", completed).json
    with connect(cloud.environment) as opened:
        view = opened.kernel.reads.run(completed)
        assert exported["output"] == opened.kernel.reads.value(view.run.output)
        assert [each["id"] for each in exported["events"]] == [e.id for e in opened.kernel.reads.events(completed)]
    assert {stage["status"] for stage in exported["stages"]} == {"COMPLETED"}


def test_a_run_is_cancelled_once(call: Call, cloud: LocalCloud) -> None:
    run_id = run_of(cloud, "far-ahead", end=False)
    cancelled = call("runs", "cancel", run_id, "--reason", "enough", "-o", "json")
    assert (cancelled.code, cancelled.json["status"]) == (0, "CANCELLED")
    again = call("runs", "cancel", run_id)
    assert (again.code, again.err) == (1, f"error: run {run_id} has ended already; it is CANCELLED\n")
    assert call("runs", "watch", run_id).code == 3


def test_a_run_is_done_again_from_a_stage_with_another_input(call: Call, cloud: LocalCloud, tmp_path: Path) -> None:
    run_id = run_of(cloud, "suspending")
    (tmp_path / "input.json").write_text('{"text": "again"}')
    again = call("runs", "rerun", run_id, "--from", "c", "--input", "input.json", "--timeout", "60s", "-o", "json")
    assert again.code == 0, again.err
    generations = {each["stage_id"]: each["generation"] for each in again.json["stages"]}
    assert generations["c"] == generations["a"] + 1
    assert call("runs", "rerun", run_id, "--from", "nowhere").code == 2


def test_a_failed_run_says_so_as_it_does_on_this_machine(call: Call) -> None:
    failed = call("run", "failing", "--timeout", "60s")
    assert failed.code == 1
    assert "boom" in failed.err + failed.out


def test_dead_letters_are_listed_shown_and_replayed(call: Call, cloud: LocalCloud, completed: str) -> None:
    with connect(cloud.environment) as opened:
        event = opened.kernel.reads.events(completed)[0]
    dead_letter(cloud, event.id)
    (dead,) = call("dlq", "list", "-o", "json").json
    assert (dead["id"], dead["last_error"]) == (event.id, "nobody listens")
    assert json.loads(call("dlq", "show", event.id).out)["id"] == event.id
    assert call("dlq", "replay", "-o", "json").json["replayed"] == 1
    assert call("dlq", "list", "-o", "json").json == []


def dead_letter(cloud: LocalCloud, event_id: str) -> None:
    """Makes the event a dead letter, as its last retry would."""
    database = create_engine(cloud.environment["DATABASE_URL"])
    with database.begin() as connection:
        statement = "UPDATE outbox_event SET dlq_at = now(), last_error = 'nobody listens' WHERE id = :id"
        assert connection.execute(text(statement), {"id": event_id}).rowcount == 1
    database.dispose()


def test_waiting_jobs_and_events_are_listed(call: Call, cloud: LocalCloud) -> None:
    run_id = run_of(cloud, "far-ahead", end=False)

    def waits() -> bool:
        return run_id in {each["workflow_run_id"] for each in call("jobs", "list", "-o", "json").json}

    until(waits, "its job waits")
    assert call("outbox", "list").code == 0
    assert call("outbox", "flush").code == 0
    assert call("runs", "cancel", run_id).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("runs", "artifacts", "RUN", "--save", "files"), 1, "artifacts of a stack stay in its bucket; read "),
        (("run", "--resume"), 2, "--stack runs where it is deployed; leave out --resume\n"),
        (("run", "far-ahead", "--fake-ai"), 2, "--stack runs where it is deployed; leave out --fake-ai"),
        (("worker",), 2, "--stack works with run, runs, jobs, dlq, outbox; engine worker runs on this machine only"),
        (("tick",), 2, "engine tick runs on this machine only"),
        (("prune", "--older-than", "90d"), 2, "engine prune runs on this machine only"),
        (("migrate",), 2, "engine migrate runs on this machine only"),
        (("doctor",), 2, "engine doctor runs on this machine only"),
        (("workflows", "list"), 2, "engine workflows runs on this machine only"),
        (("jobs", "list", "--limit", "2000"), 2, "less than or equal to 1000"),
    ],
)
def test_what_a_stack_does_not_do_is_refused_in_a_sentence(
    call: Call, analysed: str, *, words: tuple[str, ...], code: int, said: str
) -> None:
    refused = call(*(analysed if word == "RUN" else word for word in words))
    assert (refused.code, refused.out) == (code, "")
    assert said in refused.err
    assert "Traceback" not in refused.err


def test_a_function_that_dies_is_said_to_be_out_of_reach(
    call: Call, clients: StackClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(**_: Any) -> Any:
        return {"FunctionError": "Unhandled", "Payload": stream({"errorMessage": "out of memory"})}

    monkeypatch.setattr(clients, "invoke", dead)
    refused = call("runs", "list")
    assert refused.code == 4
    assert refused.err == f"error: stack {NAME!r} could not answer: out of memory\n"
