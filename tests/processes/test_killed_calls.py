"""A process dies by SIGKILL among its calls of models: the ledger keeps what it spent, and budgets count it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.domain.ai_calls import CallState
from engine.domain.lifecycle import RunStatus, StageStatus
from engine.testing.fake_ai import FakeAIServer
from engine.testing.fake_ai.chat import Scripted
from tests.ai.workflows import PRICE
from tests.processes.engine_process import EngineHome, HomeReads, kill, wait_until

THIRTY_CENTS = Scripted(text="ok", usage={"prompt_tokens": 5, "completion_tokens": 10})
HELD_BACK = Scripted(text="ok", usage={"prompt_tokens": 5, "completion_tokens": 10}, delay=60)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeAIServer]:
    with FakeAIServer(tmp_path / "provider", batch_seconds=1.0) as server:
        yield server


@pytest.fixture
def home(fake: FakeAIServer, tmp_path: Path) -> EngineHome:
    return EngineHome(tmp_path, registry="tests.ai.workflows:WORKFLOWS", ai_base_url=fake.url)


def start(home: EngineHome, **given: Any) -> subprocess.Popen[str]:
    fields = {"marks": str(home.folder / "marks"), **given}
    return home.start("run", "dying", "--input", json.dumps(fields))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def states(reads: HomeReads, run_id: str) -> list[tuple[int, CallState]]:
    return [(call.attempt, call.state) for call in reads.ai_calls(run_id)]


def test_an_answer_that_came_before_the_kill_stays_in_the_ledger_of_its_attempt(
    home: EngineHome, fake: FakeAIServer
) -> None:
    fake.say(THIRTY_CENTS, THIRTY_CENTS)
    process = start(home, own=True)
    wait_until(lambda: lines(home.folder / "marks") == 1, "the first answer")
    kill(process)
    document = home.call("run", "--resume")
    assert document["status"] == "COMPLETED"
    assert document["total_cost"] == document["stages"][0]["total_cost"] == pytest.approx(0.60)
    costs = home.call("runs", "cost", document["run_id"])
    split = [(each["attempt"], each["lost"], round(each["total_cost"], 9)) for each in costs["stages"]]
    assert split == [(1, True, 0.3), (2, False, 0.3)]
    assert costs["unsettled"] == 0


def test_an_answer_that_came_before_the_kill_is_not_paid_for_again(home: EngineHome, fake: FakeAIServer) -> None:
    fake.say(THIRTY_CENTS)
    process = start(home)
    wait_until(lambda: lines(home.folder / "marks") == 1, "the first answer")
    kill(process)
    document = home.call("run", "--resume")
    assert (document["status"], document["output"]) == ("COMPLETED", 2)
    assert document["total_cost"] == pytest.approx(0.30)
    assert len(fake.chats()) == 1
    (split,) = home.call("runs", "cost", document["run_id"])["stages"]
    assert (split["attempt"], split["lost"]) == (1, True)


def test_a_call_that_was_out_when_its_process_was_killed_is_shown_as_unsettled(
    home: EngineHome, fake: FakeAIServer
) -> None:
    fake.say(HELD_BACK, THIRTY_CENTS)
    process = start(home)
    wait_until(lambda: len(fake.chats()) == 1, "the first request")
    kill(process)
    document = home.call("run", "--resume")
    assert document["status"] == "COMPLETED"
    assert document["total_cost"] == pytest.approx(0.30)
    costs = home.call("runs", "cost", document["run_id"])
    first, second = costs["stages"]
    assert (first["attempt"], first["lost"], first["unsettled"], first["total_cost"]) == (1, True, 1, 0)
    assert first["unsettled_cost"] >= 0.30
    assert (second["attempt"], second["lost"], second["unsettled"]) == (2, False, 0)


def test_a_budget_counts_what_a_killed_process_spent_and_may_have_spent(home: EngineHome, fake: FakeAIServer) -> None:
    """A dollar, thirty cents a call: one was answered and one was out when the process died, so one is left."""
    fake.say(THIRTY_CENTS, HELD_BACK, *[THIRTY_CENTS] * 5)
    process = start(home, own=True, calls=4)
    wait_until(lambda: len(fake.chats()) == 2, "the second request")
    with home.reads() as reads:
        kill(process)
        (run,) = reads.runs_of_home()
        resumed = home.start("run", "--resume")
        resumed.communicate(timeout=60)
        assert resumed.returncode == 1
        view = reads.run(run.id)
        assert (view.run.status, view.run.failure_code) == (RunStatus.FAILED, "BUDGET_EXCEEDED")
        assert len(fake.chats()) == 3
        assert view.run.total_cost == pytest.approx(0.60)
        settled, reserved = CallState.SETTLED, CallState.RESERVED
        assert states(reads, run.id) == [(1, settled), (1, reserved), (2, settled)]


def test_a_batch_is_polled_checked_and_recorded_once_by_another_process_than_submitted_it(
    home: EngineHome, fake: FakeAIServer
) -> None:
    process = home.start("run", "batching")
    with home.reads() as reads:
        wait_until(lambda: _is_suspended(reads), "the suspension")
        kill(process)
        (run,) = reads.runs_of_home()
        assert [call.state for call in reads.ai_calls(run.id)] == [CallState.RESERVED]
        document = home.call("run", "--resume")
        calls = reads.ai_calls(run.id)
    assert (document["status"], document["output"]) == ("COMPLETED", 2)
    assert len([path for path, _ in fake.requests if path.endswith("/batches")]) == 1
    assert [call.call_type for call in calls] == ["batch", *["batch_item"] * 4]
    assert [call.error for call in calls].count(None) == 3
    good = [call for call in calls if call.call_type == "batch_item" and call.error is None]
    half = sum(call.input_tokens * PRICE.input + call.output_tokens * PRICE.output for call in good) / 2
    assert document["total_cost"] == pytest.approx(half)


def _is_suspended(reads: HomeReads) -> bool:
    runs = reads.runs_of_home()
    return bool(runs) and any(stage.status is StageStatus.SUSPENDED for stage in reads.run(runs[0].id).stages)
