"""Runs through the command line: logged calls, totals of stages and runs, and the shown costs agree."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.adapters.files.blob_store import FileBlobStore
from engine.adapters.sql.persistence import SqlPersistence
from engine.cli.main import main
from engine.domain.ai_calls import AICallRecord, CallState
from engine.reading.reads import StoredReads
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.chat import Scripted
from tests.ai.workflows import PRICE
from tests.cli.calling import ROOT, Answer, Call
from tests.cli.stack_stub import NAME, StackStub
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied

CENT = 0.01


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / '.engine' / 'engine.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return emptied(server)


@pytest.fixture
def engine(
    store: str, fake: FakeAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    monkeypatch.chdir(tmp_path)
    variables = {
        "ENGINE_REGISTRY": "tests.ai.workflows:WORKFLOWS",
        "ENGINE_CODE": str(ROOT),
        "ENGINE_AI_BASE_URL": fake.url,
        "DATABASE_URL": store,
    }
    (tmp_path / ".engine").mkdir()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> Answer:
        capfd.readouterr()
        code = main(words)
        return Answer(code, *capfd.readouterr())

    return call


@contextmanager
def reads_of(store: str, folder: Path) -> Iterator[StoredReads]:
    persistence = SqlPersistence(store)
    try:
        yield StoredReads(persistence, FileBlobStore(folder / "blobs"))
    finally:
        persistence.close()


def figures(*documents: dict[str, Any]) -> tuple[float, int]:
    """Dollars and tokens. No price has a digit below a billionth."""
    return round(sum(each["total_cost"] for each in documents), 9), sum(each["total_tokens"] for each in documents)


def summed(calls: list[AICallRecord]) -> tuple[float, int]:
    return round(sum(call.cost or 0.0 for call in calls), 9), sum(call.tokens for call in calls)


def check(engine: Call, store: str, folder: Path, run_id: str) -> tuple[dict[str, Any], list[AICallRecord]]:
    """Sum of logged calls = stage totals = run totals = `runs show` = `runs cost`, by stage and by model too."""
    with reads_of(store, folder) as reads:
        view, calls = reads.run(run_id), list(reads.ai_calls(run_id))
    shown = engine("runs", "show", run_id, "-o", "json").json
    costs = engine("runs", "cost", run_id, "-o", "json").json
    assert summed(calls) == (round(view.run.total_cost, 9), view.run.total_tokens)
    assert summed(calls) == figures(shown) == figures(costs)
    for stage in shown["stages"]:
        of_stage = [call for call in calls if call.stage_id == stage["stage_id"]]
        split = [part for part in costs["stages"] if part["stage_id"] == stage["stage_id"]]
        assert summed(of_stage) == figures(stage) == figures(*split), stage["stage_id"]
    for model in costs["models"]:
        assert summed([call for call in calls if call.model_key == model["model"]]) == figures(model)
    assert costs["calls"] == len(calls)
    return costs, calls


def test_every_kind_of_call_is_in_all_sums_of_a_failed_run_and_of_its_rerun(
    engine: Call, store: str, fake: FakeAIServer, tmp_path: Path
) -> None:
    told = {"prompt_tokens": 100_000, "completion_tokens": 10_000, "prompt_tokens_details": {"cached_tokens": 50_000}}
    fake.say(Scripted(status=503), Scripted(usage=told), Scripted(status=401), Scripted(delay=1.0))
    failed = engine("run", "ledger", "-o", "json")
    assert failed.code == 1
    run_id = failed.json["run_id"]
    costs, calls = check(engine, store, tmp_path, run_id)
    assert figures(failed.json) == summed(calls)
    assert Counter((call.stage_id, call.call_type, call.state) for call in calls) == {
        ("trouble", "text", CallState.FAILED): 3,
        ("trouble", "text", CallState.SETTLED): 1,
        ("talk", "text", CallState.SETTLED): 3,
        ("talk", "tool", CallState.SETTLED): 1,
        ("talk", "object", CallState.SETTLED): 1,
        ("talk", "embed", CallState.SETTLED): 1,
        ("talk", "manual", CallState.SETTLED): 1,
        ("stumble", "text", CallState.SETTLED): 2,
        ("listen", "stream", CallState.SETTLED): 1,
        ("batch", "batch", CallState.SETTLED): 1,
        ("batch", "batch_item", CallState.SETTLED): 2,
        ("batch", "batch_item", CallState.FAILED): 2,
        ("end", "text", CallState.SETTLED): 1,
    }
    trouble = next(stage for stage in costs["stages"] if stage["stage_id"] == "trouble")
    assert (trouble["total_tokens"], trouble["unknown"]) == (110_000, 1)
    assert trouble["total_cost"] == pytest.approx(50_000 * 3e-6 + 50_000 * 1e-6 + 10_000 * 7e-6)
    assert trouble["unsettled_cost"] > 0
    assert {(each["stage_id"], each["attempt"]) for each in costs["stages"] if each["lost"]} == {("stumble", 1)}

    again = engine("runs", "rerun", run_id, "--from", "stumble", "-o", "json")
    assert (again.code, again.json["status"]) == (0, "COMPLETED")
    after, all_calls = check(engine, store, tmp_path, run_id)
    assert all_calls[: len(calls)] == calls
    assert len(all_calls) == len(calls) + 9
    assert after["total_cost"] > costs["total_cost"] > CENT
    assert {each["generation"] for each in after["stages"] if each["stage_id"] == "end"} == {0, 1}
    lost = {(each["stage_id"], each["generation"], each["attempt"]) for each in after["stages"] if each["lost"]}
    assert lost == {("stumble", 0, 1), ("stumble", 1, 1)}


def test_half_a_batch_costs_half_the_price_of_what_succeeded(engine: Call, store: str, tmp_path: Path) -> None:
    run = engine("run", "batching", "-o", "json").json
    _, calls = check(engine, store, tmp_path, run["run_id"])
    good = [call for call in calls if call.call_type == "batch_item" and call.state is CallState.SETTLED]
    bad = [call for call in calls if call.state is CallState.FAILED]
    assert [len(good), len(bad), run["output"]] == [2, 2, 2]
    assert [call.cost for call in bad] == [0.0, 0.0]
    assert run["total_cost"] == pytest.approx(
        sum(call.input_tokens * PRICE.input / 2 + call.output_tokens * PRICE.output / 2 for call in good)
    )


def test_a_stage_that_is_retried_after_it_submitted_does_not_submit_again(
    engine: Call, store: str, fake: FakeAIServer, tmp_path: Path
) -> None:
    run = engine("run", "submitting", "-o", "json").json
    assert (run["status"], run["stages"][0]["attempts"]) == ("COMPLETED", 2)
    assert len([path for path, _ in fake.requests if path.endswith("/batches")]) == 1
    _, calls = check(engine, store, tmp_path, run["run_id"])
    assert [call.call_type for call in calls] == ["batch", "batch_item"]


def test_an_unknown_price_is_shown_as_unknown(engine: Call) -> None:
    ran = engine("run", "pricing")
    assert re.search(r"COMPLETED .*\$0\.0\d+ \+ unknown \(1 call\)", ran.out)
    (run,) = engine("runs", "list", "-o", "json").json["runs"]
    run_id = run["run_id"]
    shown = engine("runs", "show", run_id, "-o", "json").json
    assert (shown["unknown_costs"], shown["stages"][0]["unknown_costs"]) == (1, 1)
    assert engine("runs", "show", run_id).out.count("+ unknown (1 call)") == 2
    text = engine("runs", "cost", run_id).out
    (line,) = [line for line in text.splitlines() if line.startswith("priceless")]
    assert "unknown (1 call)" in line
    assert "$" not in line
    (cost,) = [line for line in text.splitlines() if line.startswith("cost")]
    assert re.search(r"\$0\.0\d+ \+ unknown \(1 call\)", cost)


def test_the_costs_of_a_run_in_a_stack_are_shown_like_those_of_one_here(
    engine: Call, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = engine("run", "pricing", "-o", "json").json["run_id"]
    here, here_as_text = engine("runs", "cost", run_id, "-o", "json").json, engine("runs", "cost", run_id).out
    with reads_of(store, tmp_path) as reads:
        monkeypatch.setattr("engine.bootstrap.stack.AwsClients", lambda: StackStub(reads))
        assert engine("--stack", NAME, "runs", "cost", run_id[:20], "-o", "json").json == here
        assert engine("--stack", NAME, "runs", "cost", run_id).out == here_as_text
