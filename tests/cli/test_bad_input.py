"""Bad input: one clear sentence, the right exit code, nothing left behind."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calling import Call, ended, started


def sentence(err: str) -> str:
    assert "Traceback" not in err
    first = err.splitlines()[0]
    assert first.startswith("error: ")
    return first


REFUSED = {
    "unknown workflow": (("run", "greting"), "no workflow 'greting'; did you mean 'greeting'?"),
    "no workflow": (("run",), "name a workflow to run; there are: failing, greeting"),
    "missing file": (("run", "greeting", "--input", "nope.json"), "no file 'nope.json', and it is not JSON either"),
    "a folder": (("run", "measuring", "--input", "."), "'.' is a folder"),
    "broken JSON": (
        ("run", "greeting", "--input", '{"name": "Ada",}'),
        "--input is not JSON: Illegal trailing comma before end of object at line 1, column 15 near",
    ),
    "JSON that stops after a line": (("run", "greeting", "--input", '{"name":\n'), "at line 2, column 1"),
    "broken JSON in a file": (("run", "greeting", "--input", "broken.json"), "'broken.json' is not JSON"),
    "a file that is no JSON": (("run", "greeting", "--input", "notes.txt"), "'notes.txt' is not a .json file"),
    "invalid input": (("run", "greeting", "--input", '{"name": 7}'), "its input does not fit Person"),
    "missing input": (("run", "measuring"), "workflow 'measuring' needs an input; give --input"),
    "invalid config": (("run", "greeting", "--config", '{"shout": {"marks": -1}}'), "its config is not valid"),
    "config that is no object": (("run", "greeting", "--config", "[1]"), "--config is '[1]'; give an object"),
    "no duration": (("run", "greeting", "--timeout", "soon"), "'soon' is not a duration"),
    "too high a priority": (("run", "greeting", "--priority", "2000"), "Input should be less than or equal to 1000"),
    "unknown command": (("rnu",), "No such command 'rnu'. Did you mean 'run'"),
    "unknown option": (("run", "greeting", "--speed", "9"), "No such option: --speed"),
    "resume with input": (("run", "--resume", "--input", "{}"), "--resume continues a run as it is"),
    "unknown profile": (("run", "greeting", "--profile", "moon"), "ENGINE_PROFILE is 'moon'"),
    "run of nothing": (("runs", "show", "0193"), "no runs in '.engine' yet"),
}


@pytest.mark.parametrize(("words", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_a_sentence_and_leaves_nothing(
    engine: Call, folder: Path, words: tuple[str, ...], expected: str
) -> None:
    (folder / "notes.txt").write_text("notes")
    (folder / "broken.json").write_text('{\n"name":: 1}')
    answer = engine(*words)
    assert answer.code == 2
    assert expected in sentence(answer.err)
    assert answer.out == ""
    assert sorted(path.name for path in folder.iterdir()) == ["broken.json", "notes.txt"]


def test_every_problem_is_listed(engine: Call) -> None:
    answer = engine("run", "greeting", "--config", '{"shout": {"marks": -1}, "whisper": {}}')
    assert "shout: marks" in answer.err
    assert "whisper: no such stage" in answer.err


def test_broken_json_in_a_file_is_shown_with_its_place(engine: Call, folder: Path) -> None:
    (folder / "broken.json").write_text('{\n  "name": Ada\n}')
    answer = engine("run", "greeting", "--input", "broken.json")
    assert "line 2, column 11" in answer.err
    assert "Ada" in answer.err


def test_with_json_an_error_is_an_object_too(engine: Call) -> None:
    answer = engine("run", "greting", "-o", "json")
    assert answer.code == 2
    assert answer.json["error"]["code"] == "WORKFLOW_NOT_FOUND"
    assert "did you mean" in answer.json["error"]["message"]


def test_with_json_the_problems_are_listed_apart(engine: Call) -> None:
    error = engine("run", "greeting", "--config", '{"shout": {"marks": -1}}', "-o", "json").json["error"]
    assert error["message"] == "workflow 'greeting': its config is not valid"
    assert len(error["problems"]) == 1


def test_asking_for_nothing_shows_the_help_and_no_error(engine: Call) -> None:
    answer = engine()
    assert answer.code == 2
    assert "Usage: engine" in answer.out
    assert answer.err == ""


def test_debug_adds_the_traceback(engine: Call) -> None:
    assert "Traceback" in engine("run", "greting", "--debug").err


def test_a_home_that_cannot_be_made_is_not_reachable(engine: Call, folder: Path) -> None:
    (folder / "taken").write_text("a file")
    answer = engine("run", "greeting", "--home", "taken/engine")
    assert answer.code == 4
    assert "cannot create the folder 'taken/engine'" in sentence(answer.err)
    assert "--home" in answer.err


def test_a_database_that_does_not_answer_is_not_reachable(engine: Call) -> None:
    answer = engine("doctor", "--database-url", "postgresql://nobody@127.0.0.1:1/none")
    assert answer.code == 1
    assert "database" in answer.err


def test_a_database_that_is_behind_names_the_remedy(engine: Call, folder: Path) -> None:
    engine("run", "greeting")
    with closing(sqlite3.connect(folder / ".engine/engine.db")) as database, database:
        database.execute("DELETE FROM alembic_version")
    answer = ended(started("runs", "list", folder=folder))
    assert answer.code == 4
    assert "run `engine migrate`" in sentence(answer.err)


def test_an_unknown_run_is_named(engine: Call) -> None:
    engine("run", "greeting")
    answer = engine("runs", "show", "ffffffff")
    assert answer.code == 2
    assert sentence(answer.err) == "error: no run 'ffffffff'"


def test_a_prefix_of_several_runs_is_refused_with_all_of_them(engine: Call) -> None:
    engine("run", "greeting")
    engine("run", "greeting")
    answer = engine("runs", "show", "0")
    assert answer.code == 2
    assert "short for more than one run" in answer.err


def test_a_registry_that_cannot_be_imported_is_named(engine: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_REGISTRY", "nowhere.registry:WORKFLOWS")
    answer = engine("run", "greeting")
    assert answer.code == 2
    assert "nowhere.registry:WORKFLOWS cannot be imported" in answer.err
