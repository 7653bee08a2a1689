"""The stages of nightly-batch, called with hand-made contexts."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine import BatchFailed, CheckContext, NotReady, Ready, StageContext, Suspended
from functions.workflows.batch_provider.batch_folder import BatchFolder, BatchRequest, BatchState
from functions.workflows.batch_provider.client import poll
from functions.workflows.nightly_batch import (
    SAMPLE,
    EmbedConfig,
    Embeddings,
    Item,
    Nightly,
    check_batch,
    collect,
    embed_batch,
    publish,
    workflow,
)
from tests.unit.workflows.documents import EVENTS

ITEMS = (Item(id="a", text="The tide turns."), Item(id="b", text="The tide gauge drifts."), Item(id="c", text="Moon."))


def embedding(items: tuple[Item, ...], directory: Path, **fields: Any) -> Any:
    config = EmbedConfig(directory=str(directory), seconds=0.2, dimensions=16)
    return StageContext.for_test(input=items, config=config, stage_id="embed-batch", **fields)


def checking(poll_interval: float = 2.0) -> Any:
    return CheckContext.for_test(config=EmbedConfig(poll_interval=poll_interval), stage_id="embed-batch")


def suspended(directory: Path, **fields: Any) -> Suspended:
    outcome = embed_batch(embedding(ITEMS, directory, **fields))
    assert isinstance(outcome, Suspended)
    return outcome


def checked_until_done(state: Any) -> Any:
    deadline = time.monotonic() + 30
    while isinstance(result := check_batch(state, checking()), NotReady):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


def state_of(outcome: Suspended) -> Any:
    return outcome.state(datetime.now(UTC))


def test_without_input_the_sample_is_collected() -> None:
    ctx = StageContext.for_test(input=Nightly())
    assert [item.text for item in collect(ctx)] == list(SAMPLE)
    assert [entry.message for entry in ctx.recorder.logs] == [
        "no items given; taking the sample",
        "8 items for tonight",
    ]


def test_the_example_input_fits() -> None:
    given = Nightly.model_validate_json((EVENTS / "nightly-batch.json").read_text())
    assert [item.id for item in collect(StageContext.for_test(input=given))][:2] == ["tide-gauge", "radar-gauge"]


def test_item_ids_must_differ() -> None:
    with pytest.raises(ValidationError, match="item ids must differ; repeated: a"):
        Nightly(items=(ITEMS[0], ITEMS[0]))


def test_the_stage_suspends_with_all_that_the_check_needs(tmp_path: Path) -> None:
    outcome = suspended(tmp_path, workflow_run_id="run-7", generation=2)
    assert outcome.batch_id == "run-7.embed-batch.2"
    assert outcome.poll_interval == 2.0
    assert outcome.metadata == {"directory": str(tmp_path)}
    assert isinstance(checked_until_done(state_of(outcome)), Ready)


def test_a_relative_directory_is_remembered_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = suspended(Path(".engine/batch-provider"))
    monkeypatch.chdir("/")
    assert isinstance(checked_until_done(state_of(outcome)), Ready)


def test_another_attempt_of_the_same_generation_joins_the_batch(tmp_path: Path) -> None:
    first, second = suspended(tmp_path), suspended(tmp_path, attempt=2)
    assert first.batch_id == second.batch_id
    assert [path.name for path in tmp_path.iterdir()] == [first.batch_id]
    assert isinstance(checked_until_done(state_of(first)), Ready)


def test_a_rerun_submits_a_batch_of_its_own(tmp_path: Path) -> None:
    outcomes = [suspended(tmp_path), suspended(tmp_path, generation=1)]
    assert len({outcome.batch_id for outcome in outcomes}) == 2
    for outcome in outcomes:
        assert isinstance(checked_until_done(state_of(outcome)), Ready)


def test_a_batch_that_is_not_done_is_asked_for_again_after_the_interval(tmp_path: Path) -> None:
    folder = BatchFolder.under(tmp_path, "night")
    folder.put_request(BatchRequest(texts={"a": "x"}, dimensions=4, seconds=1))
    state = Suspended(batch_id="night", metadata={"directory": str(tmp_path)}).state(datetime.now(UTC))
    ctx = CheckContext.for_test(config=EmbedConfig(poll_interval=0.7))
    assert check_batch(state, ctx) == NotReady(next_check_in=0.7)
    assert ctx.recorder.logs[0].message == "queued: 0 of 0 items"


def test_a_failed_batch_fails_the_stage_with_the_reason_and_what_to_do(tmp_path: Path) -> None:
    state = Suspended(batch_id="lost", metadata={"directory": str(tmp_path)}).state(datetime.now(UTC))
    assert check_batch(state, checking()) == BatchFailed(
        "the provider knows no batch 'lost'; rerun from 'embed-batch' to submit a new batch"
    )


def test_what_came_back_is_published_with_nearest_neighbours(tmp_path: Path) -> None:
    ready = checked_until_done(state_of(suspended(tmp_path)))
    output = embed_batch.load_output(embed_batch.validate_output(ready.output))
    result = publish(StageContext.for_test(input=output, outputs={collect: ITEMS}))
    assert [(item.id, item.nearest) for item in result.output.items][:2] == [("a", "b"), ("b", "a")]
    lines = str(result.artifacts["embeddings.jsonl"]).splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b", "c"]


def test_a_single_item_has_no_neighbour() -> None:
    output = Embeddings(batch_id="night", vectors={"a": [1.0]})
    result = publish(StageContext.for_test(input=output, outputs={collect: ITEMS[:1]}))
    assert (result.output.items[0].nearest, result.output.items[0].similarity) == (None, None)


def test_no_provider_is_left_when_the_work_is_done(tmp_path: Path) -> None:
    outcome = suspended(tmp_path)
    checked_until_done(state_of(outcome))
    assert poll(tmp_path, outcome.batch_id).state is BatchState.COMPLETED
    deadline = time.monotonic() + 10
    while BatchFolder.under(tmp_path, outcome.batch_id).is_claimed():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_plan_is_collect_embed_publish() -> None:
    assert workflow.get_stage_ids() == ("collect", "embed-batch", "publish")
    assert [stage.mode for stage in workflow.get_all_stages()] == ["sync", "async-batch", "sync"]
