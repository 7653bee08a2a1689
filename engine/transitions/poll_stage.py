"""A poll that goes on, and one whose answer is "not ready": the stage stays SUSPENDED."""

from datetime import datetime

from engine.domain.lifecycle import RunStatus, StageStatus
from engine.domain.records import RunRecord, StageRecord
from engine.ports.changes import Changes, Check, Condition, Insert, Record, RunUpdate, StagePatch, StageUpdate, Write
from engine.transitions.annotations import without_repeats
from engine.transitions.context import DecisionContext
from engine.transitions.facts import Recorded
from engine.transitions.snapshots import StageSnapshot


def keep_poll_claim(stage: StageRecord, token: str, until: datetime, context: DecisionContext) -> Changes:
    update = StageUpdate(ids=(stage.id,), set={"poll_until": until}, expect=_held(token))
    return Changes(run_id=stage.workflow_run_id, at=context.at, writes=(update,))


def keep_waiting(
    snapshot: StageSnapshot, token: str, next_poll_at: datetime, recorded: Recorded, context: DecisionContext
) -> Changes:
    """Conditional on `token`, the poll claim of the stage."""
    run, stage = snapshot.run, snapshot.stage
    annotations = without_repeats(recorded.annotations, snapshot.annotations)
    events = tuple(draft.event for draft in annotations if draft.event is not None)
    is_running = {"status": RunStatus.RUNNING}
    patch: StagePatch = {"next_poll_at": next_poll_at, "poll_token": None, "poll_until": None}
    update = StageUpdate(ids=(stage.id,), set=patch, expect=_held(token))
    kept: list[tuple[Record, ...]] = [recorded.logs, tuple(draft.record for draft in annotations)]
    inserts: list[Write] = [Insert(rows=rows, skip_existing=True) for rows in kept if rows]
    if events:
        of_run = RunUpdate(ids=(run.id,), expect=is_running)
        return Changes(run_id=run.id, at=context.at, run=of_run, writes=(update, *inserts), events=events)
    check = Check(record=RunRecord, id=run.id, expect=is_running)
    return Changes(run_id=run.id, at=context.at, writes=(check, update, *inserts))


def _held(token: str) -> Condition:
    return {"status": StageStatus.SUSPENDED, "poll_token": token}
