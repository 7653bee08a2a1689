"""Bad input: one clear sentence, the right exit code, nothing left behind."""

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calling import Call, ended, started


def sentence(err: str) -> str:
    assert "Traceback" not in err
    first = err.splitlines()[0]
    assert first.startswith("error: ")
    return first


DIGITS = "9" * 5000

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
    "a long number in JSON": (
        ("run", "greeting", "--input", f'{{"name": {DIGITS}}}'),
        "of 5,000 digits; whole numbers",
    ),
    "a long number alone": (("run", "greeting", "--input", DIGITS), "--input has the number '999"),
    "a long number in a file": (("run", "greeting", "--input", "long.json"), "'long.json' has the number '999"),
    "a long number in config": (("run", "greeting", "--config", f'{{"shout": {{"marks": {DIGITS}}}}}'), "--config has"),
    "NaN in config": (("run", "greeting", "--config", '{"shout": {"marks": NaN}}'), "--config.shout.marks is nan"),
    "deep JSON": (("run", "greeting", "--input", "[" * 100_000), "--input is not usable JSON: it is nested too deeply"),
    "rather deep JSON": (("run", "greeting", "--input", "[" * 9000 + "]" * 9000), "nested too deeply"),
    "UTF-16": (
        ("run", "greeting", "--input", "utf16.json"),
        "'utf16.json' is not UTF-8 (invalid start byte at byte 1)",
    ),
    "a name that is too long": (("run", "greeting", "--input", "x" * 5000), "no file can be read there: File name too"),
    "no file name in UTF-8": (("run", "measuring", "--input", "b\udcff.txt"), "b\\udcff.txt' is not UTF-8; rename it"),
    "too long a timeout": (("run", "greeting", "--timeout", DIGITS), "…' is too long a duration; write fewer days"),
    "no duration, but long": (("run", "greeting", "--timeout", "x" * 5000), "…' is not a duration"),
    "a date before the calendar": (("runs", "list", "--since", "999999d"), "'999999d' ago is before the year 1; write"),
    "an age before the calendar": (("prune", "--older-than", "999999d"), "'999999d' ago is before the year 1; write"),
    "too high a limit of jobs": (("jobs", "list", "--limit", "9" * 30), "Input should be less than or equal to 1000"),
    "too high a limit of events": (("dlq", "list", "--limit", "9" * 30), "Input should be less than or equal to 1000"),
    "a long option": ((f"--{DIGITS}",), "No such option: --999"),
    "a long name": (("run", DIGITS), "…'; known: failing, greeting"),
    "a home that is not there": (("runs", "list", "--home", "hme"), "there is no engine home at 'hme'; correct --home"),
    "resume in no home": (("run", "--resume", "--fake-ai", "--home", "hme"), "there is no engine home at 'hme'"),
    "rerun in no home": (
        ("runs", "rerun", "0", "--from", "a", "--fake-ai", "--home", "hme"),
        "no engine home at 'hme'",
    ),
    "tick in no home": (("tick", "--home", "hme"), "there is no engine home at 'hme'"),
    "fake models for nothing": (("run", "greting", "--fake-ai"), "no workflow 'greting'"),
    "run of nothing": (("runs", "show", "0193"), "no runs in '.engine' yet"),
}


@pytest.mark.parametrize(("words", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_a_sentence_and_leaves_nothing(
    engine: Call, folder: Path, words: tuple[str, ...], expected: str
) -> None:
    (folder / "notes.txt").write_text("notes")
    (folder / "broken.json").write_text('{\n"name":: 1}')
    (folder / "long.json").write_text(f'{{"name": {DIGITS}}}')
    (folder / "utf16.json").write_bytes('{"name": "Ada"}'.encode("utf-16"))
    (folder / "b\udcff.txt").touch()
    before = sorted(folder.iterdir())
    answer = engine(*words)
    assert answer.code == 2
    assert expected in sentence(answer.err)
    assert len(answer.err) < 500
    assert answer.out == ""
    assert sorted(folder.iterdir()) == before


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


@pytest.mark.failure(91)
@pytest.mark.parametrize(
    "words",
    [
        *((*command, "\udcff") for command in (("run",), ("run", "--resume"), ("workflows", "show"), ("dlq", "show"))),
        *(
            ("runs", command, "\udcff")
            for command in ("show", "watch", "logs", "events", "annotations", "artifacts", "cost", "cancel", "export")
        ),
        ("runs", "artifacts", "\udcff", "--save", "there"),
        ("runs", "rerun", "\udcff", "--from", "greet"),
        ("runs", "rerun", "0", "--from", "\udcff"),
        ("runs", "logs", "0", "--stage", "\udcff"),
        ("runs", "annotations", "0", "--key", "\udcff"),
        *(("runs", "list", option, "\udcff") for option in ("--before", "--workflow", "--tenant")),
        *(("dlq", "show", event) for event in ("\udcff.1", f"0.{DIGITS}", f"0.{'8' * 30}")),
        ("dlq", "list", "--type", "\udcff"),
        ("outbox", "flush", "--run", "\udcff"),
        ("models", "show", "\udcff"),
        ("runs", "show", DIGITS),
    ],
    ids=lambda words: " ".join(words).encode(errors="replace")[:40].decode(),
)
def test_an_id_that_nothing_can_have_is_named(engine: Call, words: tuple[str, ...]) -> None:
    engine("run", "greeting")
    answer = engine(*words)
    assert answer.code == 2
    named = sentence(answer.err)
    assert re.search(
        r"no (run|event|workflow|stage|model) '(\\udcff|9{59}|0\.[89]|\\udcff\.1)|'\\udcff' contains half", named
    )
    is_of_a_run = words[:2] in {("run", "--resume"), ("outbox", "flush")} or (words[0] == "runs" and "0" not in words)
    if is_of_a_run and not {"--workflow", "--tenant"} & set(words):
        assert named.startswith("error: no run '")
    elif {"--workflow", "--tenant", "--type", "--key", "--stage"} & set(words):
        assert "contains half a surrogate pair" in named


def test_bytes_that_are_no_utf8_in_a_url_are_named(engine: Call) -> None:
    answer = engine("runs", "list", "--database-url", "postgresql://\udcff@127.0.0.1:1/x")
    assert answer.code == 2
    assert "not UTF-8" in sentence(answer.err)


def test_standard_input_that_is_not_utf8_is_refused(folder: Path) -> None:
    process = started("run", "greeting", "--input", "-", folder=folder, stdin=subprocess.PIPE, encoding="latin-1")
    out, err = process.communicate('{"name": "Ren\xe9"}', timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "--input: standard input is not UTF-8 (" in sentence(err)
    assert not (folder / ".engine").exists()


def test_standard_input_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    words = ("run", "greeting", "--input", "-", "--no-wait")
    process = started(*words, folder=folder, stdin=subprocess.PIPE, encoding="utf-8")
    process.communicate('\ufeff{"name": "Ada"}', timeout=60)
    assert process.returncode == 0


@pytest.mark.failure(98)
def test_a_home_in_the_environment_that_is_not_there_is_named(
    engine: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_HOME", "hme")
    answer = engine("runs", "list", "-o", "json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "NO_HOME_THERE")
    assert list(folder.iterdir()) == []
    assert engine("run", "greeting").code == 0
    assert "greeting" in engine("runs", "list").out


@pytest.mark.parametrize(
    "words", [("runs", "list"), ("jobs", "list"), ("runs", "show", "0"), ("prune", "--older-than", "1d")]
)
def test_reading_a_database_elsewhere_makes_no_home(engine: Call, folder: Path, words: tuple[str, ...]) -> None:
    engine("run", "greeting")
    assert engine(*words, "--home", "other", "--database-url", "sqlite:///.engine/engine.db").code in {0, 1}
    assert not (folder / "other").exists()


def test_a_registry_that_cannot_be_imported_is_named(engine: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_REGISTRY", "nowhere.registry:WORKFLOWS")
    answer = engine("run", "greeting")
    assert answer.code == 2
    assert "nowhere.registry:WORKFLOWS cannot be imported" in answer.err
