"""The commands that keep an engine in order, and those that need no store."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.formats import counted
from tests.cli.calling import COMMAND, ROOT, Call, ended, environment, started


def test_help_lists_every_command_without_loading_them(folder: Path) -> None:
    program = (
        "import sys; from engine.cli.main import main; code = main(['--help']); "
        "heavy = ('sqlalchemy', 'alembic', 'litellm', 'engine.kernel.kernel'); "
        "print([name for name in heavy if name in sys.modules]); sys.exit(code)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"
    for command in ("init", "run", "runs", "workflows", "worker", "jobs", "outbox", "dlq", "tick", "prune", "doctor"):
        assert f" {command} " in answer.stdout


def test_a_usage_error_does_not_load_the_database_libraries(folder: Path) -> None:
    program = "import sys; from engine.cli.main import main; main(['run', 'x']); sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment(), capture_output=True, check=True)


def test_each_command_has_help(engine: Call) -> None:
    for words in (["run"], ["runs", "rerun"], ["workflows", "graph"], ["worker"], ["dlq", "replay"], ["init"]):
        answer = engine(*words, "--help")
        assert answer.code == 0
        assert "Usage: engine " + " ".join(words) in answer.out


@pytest.mark.parametrize(
    ("words", "offered"), [("engine ru", ["run", "runs"]), ("engine runs rerun --fa", ["--fake-ai"])]
)
def test_shells_are_told_how_words_go_on(folder: Path, words: str, offered: list[str]) -> None:
    asked = {"_ENGINE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    answer = subprocess.run(COMMAND, cwd=folder, env=environment(**asked), capture_output=True, text=True, check=True)
    assert answer.stdout.split() == offered


@pytest.mark.parametrize(("number", "said"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs")])
def test_one_is_not_many(number: int, said: str) -> None:
    assert counted(number, "job") == said


def test_workflows_are_listed_shown_and_drawn(engine: Call, folder: Path) -> None:
    assert "greeting" in engine("workflows", "list").out
    assert "1. Greet (greet)" in engine("workflows", "show", "greeting").out
    assert engine("workflows", "graph", "greeting").out.split() == ["[", "greet", "]", "|", "v", "[", "shout", "]"]
    assert "flowchart" in engine("workflows", "graph", "greeting", "--mermaid").out
    assert engine("workflows", "graph", "twins", "-o", "json").json["groups"] == [["left", "right"]]
    assert engine("workflows", "show", "greting").code == 2
    assert list(folder.iterdir()) == []


def test_jobs_outbox_and_dead_letters_of_a_fresh_run(engine: Call) -> None:
    run_id = engine("run", "greeting", "--no-wait").out.strip()
    (job,) = engine("jobs", "list", "-o", "json").json
    assert (job["workflow_run_id"], job["stage_id"], job["status"]) == (run_id, "greet", "PENDING")
    assert engine("outbox", "list", "-o", "json").json["waiting"] == 2
    assert engine("outbox", "flush", "-o", "json").json["published"] == 2
    assert engine("outbox", "list").out == "no event waits\n"
    assert engine("dlq", "list", "-o", "json").json == []
    assert engine("dlq", "show", f"{run_id}.1").json["type"] == "workflow:created"
    assert engine("dlq", "show", f"{run_id}.99").code == 2
    assert engine("dlq", "replay").out == "replayed 0\n"


def test_a_workflow_that_cannot_be_imported_does_not_hide_the_others(
    engine: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = '{"twins": "tests.cli.pipelines:twins", "broken": "not_there:workflow"}'
    (folder / "some_workflows.py").write_text(f"WORKFLOWS = {targets}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("ENGINE_REGISTRY", "some_workflows:WORKFLOWS")
    answer = engine("workflows", "list")
    assert answer.code == 2
    assert "twins" in answer.out
    assert "workflow 'broken'" in answer.err
    assert engine("workflows", "list", "-o", "json").json["error"]["code"] == "SETTINGS_ERROR"


def test_tick_and_prune_say_what_they_did(engine: Call) -> None:
    engine("run", "greeting")
    assert engine("tick", "-o", "json").json["errors"] == []
    assert engine("prune", "--older-than", "90d", "-o", "json").json["runs"] == 0
    assert engine("prune", "--older-than", "0s", "-o", "json").json["runs"] == 1
    assert engine("runs", "list", "-o", "json").json["runs"] == []
    assert engine("prune", "--older-than", "a while").code == 2


def test_migrate_can_be_said_twice_and_prints_its_sql(engine: Call) -> None:
    assert engine("migrate").code == 0
    assert engine("migrate").code == 0
    assert "CREATE TABLE" in engine("migrate", "--sql").out
    assert engine("run", "greeting").code == 0


def test_doctor_finds_nothing_wrong_and_makes_nothing(engine: Call, folder: Path) -> None:
    answer = engine("doctor", "-o", "json")
    assert answer.code == 0
    assert answer.json["ok"] is True
    assert list(folder.iterdir()) == []


def test_doctor_refuses_a_home_that_is_a_file(engine: Call, folder: Path) -> None:
    (folder / "file").touch()
    for home in ("file", "file/below"):
        answer = engine("doctor", "--home", home, "-o", "json")
        assert answer.code == 1
        assert [check["name"] for check in answer.json["checks"] if not check["ok"]] == ["home"]


def test_doctor_does_not_propose_to_migrate_a_database_that_is_not_there(engine: Call) -> None:
    answer = engine("doctor", "--database-url", "postgresql://nobody@127.0.0.1:1/none")
    assert answer.code == 1
    assert "is it running" in answer.out
    assert "migrate" not in answer.out


def test_a_worker_finishes_what_others_created_and_stops_when_told(engine: Call, folder: Path) -> None:
    run_id = engine("run", "greeting", "--no-wait").out.strip()
    process = started("worker", "--slots", "2", folder=folder)
    assert engine("runs", "watch", run_id, "--timeout", "30s").code == 0
    process.terminate()
    answer = ended(process)
    assert answer.code == 0
    assert "2 slots, pools default; released 0 jobs of dead workers" in answer.err
    assert "stopped after" in answer.err


def test_a_new_project_runs_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch, engine: Call) -> None:
    assert engine("init", "hello").code == 0
    monkeypatch.delenv("ENGINE_REGISTRY")
    program = "import sys; from engine.cli.main import main; sys.exit(main())"
    variables = {name: value for name, value in environment().items() if not name.startswith("ENGINE_")}
    run = subprocess.run(
        [sys.executable, "-c", program, "run", "hello", "--input", '{"name": "Ada"}'],
        cwd=folder / "hello",
        env={**variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Hello, Ada!" in run.stdout
    again = engine("init", "hello")
    assert again.code == 2
    assert "exists already" in again.err
