"""`engine models`, and models that are made up: `engine run --fake-ai`, `engine dev --fake-ai`."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from engine.cli import models
from tests.cli.calling import VARIABLES, Answer, Call, ended, started

# litellm warns of its own affairs; that is for its authors to see.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def examples(engine: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line with the example workflows, and without anybody's keys."""
    monkeypatch.setenv("ENGINE_REGISTRY", "functions.workflows.registry:WORKFLOWS")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return engine


def test_models_are_listed_with_their_prices_for_a_million_tokens(engine: Call) -> None:
    lines = engine("models", "list", "gpt-4o-mini", "--provider", "openai").out.splitlines()
    (line,) = [line for line in lines if line.startswith("gpt-4o-mini ")]
    assert line.split() == ["gpt-4o-mini", "openai", "chat", "$0.15", "$0.6"]
    unknown = engine("models", "list", "github_copilot/gpt-4o-mini").out.splitlines()[1]
    assert unknown.split()[-2:] == ["unknown", "unknown"]


def test_models_are_found_by_kind_and_by_a_price_for_batches(engine: Call) -> None:
    found = engine("models", "list", "text-embedding-3", "--mode", "embedding", "--batches", "-o", "json").json
    assert {model["key"] for model in found} >= {"text-embedding-3-small", "text-embedding-3-large"}
    assert all(model["mode"] == "embedding" and model["batch_price"]["input"] for model in found)


def test_a_model_is_shown_with_all_its_prices(engine: Call) -> None:
    shown = engine("models", "show", "gpt-4o-mini", "-o", "json").json
    assert (shown["provider"], shown["price"]["input"], shown["batch_price"]["input"]) == ("openai", 1.5e-7, 7.5e-8)
    assert "$0.075 and $0.3" in engine("models", "show", "gpt-4o-mini").out


def test_an_unknown_model_is_a_usage_error_that_names_others(engine: Call) -> None:
    answer = engine("models", "show", "gpt-4o-mimi")
    assert (answer.code, answer.out) == (2, "")
    assert "gpt-4o-mini" in answer.err


def test_sync_says_where_prices_come_from_without_asking_anybody(engine: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    document = engine("models", "sync", "-o", "json").json
    assert document["listed"] > 1000
    answer = engine("models", "sync")
    assert f"the list of litellm {document['litellm']}" in answer.out
    assert "pyproject.toml" in answer.err
    monkeypatch.setattr(models, "price_list", dict)
    missing = engine("models", "sync")
    assert missing.code != 0
    assert "install the extra `ai`" in missing.err


def test_the_triage_of_tickets_runs_on_made_up_models_and_says_what_it_would_cost(examples: Call) -> None:
    answer = examples("run", "support-triage", "--fake-ai", "-o", "json")
    assert answer.code == 0
    run = answer.json
    assert sum(run["output"]["categories"].values()) == 8
    costs = {stage["stage_id"]: (stage["total_cost"] > 0, stage["total_tokens"] > 0) for stage in run["stages"]}
    paid = {stage_id for stage_id, cost in costs.items() if cost == (True, True)}
    assert paid == {"classify", "draft", "cluster", "long-tail"}
    assert {costs[stage_id] for stage_id in costs.keys() - paid} == {(False, False)}
    assert run["total_cost"] == pytest.approx(sum(stage["total_cost"] for stage in run["stages"]))
    assert run["total_tokens"] == sum(stage["total_tokens"] for stage in run["stages"])
    shown = examples("runs", "cost", run["run_id"], "-o", "json").json
    assert shown["total_cost"] == pytest.approx(run["total_cost"])
    _check_decisions(examples("runs", "annotations", run["run_id"], "-o", "json").json)


def _check_decisions(annotations: list[dict[str, Any]]) -> None:
    """Each of the eight tickets has an actor, a confidence, a rationale, and whether a fallback was used."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for each in annotations:
        by_key.setdefault(each["key"], []).append(each)
    for key in ("outcome", "confidence", "rationale", "fallback", "subject"):
        assert len(by_key[f"decision.{key}"]) == 8
    assert {each["actor_kind"] for each in annotations} == {"agent"}


def test_the_triage_as_text_ends_with_its_cost_and_tokens(examples: Call) -> None:
    answer = examples("run", "support-triage", "--fake-ai", "--input", '{"tickets": [{"id": "1", "text": "a bug"}]}')
    assert answer.code == 0
    assert re.search(r"^COMPLETED in .* · \$0\.\d+ · [\d,]+ tokens · run ", answer.out, re.MULTILINE)


def test_a_triage_left_to_a_worker_says_which_pools_that_needs(examples: Call) -> None:
    assert "engine worker --pools ai,default)" in examples("run", "support-triage", "--no-wait").err


def test_without_a_key_one_sentence_says_what_to_do(examples: Call) -> None:
    answer = examples("run", "support-triage", "-o", "json")
    assert answer.code == 1
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert "set OPENAI_API_KEY" in line
    assert "--fake-ai" in line
    assert "Traceback" not in answer.err
    assert [stage["attempts"] for stage in answer.json["stages"]] == [1, 1]


def test_a_triage_that_was_killed_while_its_batch_ran_is_resumed(
    examples: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIABLES, "ENGINE_REGISTRY", "functions.workflows.registry:WORKFLOWS")
    process = started("run", "support-triage", "--fake-ai", folder=folder, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while "SUSPENDED" not in _states_of_newest(examples):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.kill()
    process.communicate()
    answer = examples("run", "--resume", "--fake-ai", "-o", "json")
    assert (answer.code, answer.json["status"]) == (0, "COMPLETED")
    assert answer.json["output"]["notes"]
    assert [stage["attempts"] for stage in answer.json["stages"]] == [1] * 6


def _states_of_newest(engine: Call) -> list[str]:
    """The states of the stages of the newest run, once there is one."""
    listed = engine("runs", "list", "--limit", "1", "-o", "json")
    runs = listed.json["runs"] if listed.code == 0 else []
    shown = [engine("runs", "show", run["run_id"], "-o", "json") for run in runs]
    return [stage["status"] for answer in shown if answer.code == 0 for stage in answer.json["stages"]]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of `engine dev --fake-ai`, which is told to stop afterwards."""
    process = started("dev", "--fake-ai", "-o", "json", folder=folder)
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1] != "}\n":
            lines.append(process.stdout.readline())
            assert lines[-1], "it ended before it said where it is"
        yield json.loads("".join(lines))["url"]
    finally:
        process.send_signal(signal.SIGINT)
        answer: Answer = ended(process)
    assert answer.code == 0, answer.err


def posted(url: str, document: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as response:
        return json.load(response)


def test_dev_serves_made_up_models_to_others_until_it_is_stopped(examples: Call, folder: Path) -> None:
    with served(folder) as url, pytest.MonkeyPatch.context() as patched:
        asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        assert posted(f"{url}/chat/completions", asked)["choices"][0]["message"]["content"]
        assert len(posted(f"{url}/embeddings", {"model": "m", "input": ["a", "b"]})["data"]) == 2
        patched.setenv("ENGINE_AI_BASE_URL", url)
        assert examples("run", "support-triage").code == 0


def test_dev_without_a_choice_says_which_there_are(engine: Call) -> None:
    answer = engine("dev")
    assert answer.code == 2
    assert "engine dev --fake-ai" in answer.err
