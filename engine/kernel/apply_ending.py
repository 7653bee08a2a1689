"""How a transition closes stages, groups and runs."""

from datetime import datetime, timedelta

from engine.domain.events import Event
from engine.domain.lifecycle import OPEN, TERMINAL, Status
from engine.domain.records import RunRecord
from engine.domain.stored_value import StoredValue, by_stage
from engine.kernel.apply_rows import RunDraft, cancel_job, cancel_stage, open_group
from engine.ports.transaction import Tx
from engine.ports.write_set import Closes, CompleteRun, OpenGroup, WriteSet

_WAITING = frozenset({Status.PENDING, Status.SUSPENDED})


def close_stages(tx: Tx, ws: WriteSet, draft: RunDraft, closes: Closes) -> bool:
    """True when no stage of the group is left open, and what comes then was done."""
    match closes:
        case Closes.NOTHING:
            return False
        case Closes.RUN:
            _close_run(tx, ws, draft)
            return False
        case Closes.STAGE:
            draft.set(group_open=max(0, draft.run.group_open - 1))
        case Closes.GROUP:
            _close_group(tx, ws, draft)
        case Closes.DONE:
            draft.set(group_open=0)
    if draft.run.group_open:
        return False
    _follow(tx, ws, draft)
    return True


def _close_group(tx: Tx, ws: WriteSet, draft: RunDraft) -> None:
    if draft.run.failure_code is None and ws.stage is not None:
        patch = ws.stage.patch
        draft.set(failure_code=patch.get("error_code"), failure_message=patch.get("error_message"))
    _cancel(tx, ws.run_id, _WAITING, ws.at)
    running = sum(job.status is Status.RUNNING for job in tx.jobs.of_run(ws.run_id))
    draft.set(group_open=running)


def _close_run(tx: Tx, ws: WriteSet, draft: RunDraft) -> None:
    _cancel(tx, ws.run_id, OPEN, ws.at)
    draft.set(group_open=0)
    if draft.run.status in TERMINAL and "completed_at" not in ws.run:
        draft.set(completed_at=ws.at, duration_ms=_duration_ms(draft.run, ws.at))


def _cancel(tx: Tx, run_id: str, statuses: frozenset[Status], at: datetime) -> None:
    for stage in tx.stages.of_run(run_id):
        if stage.status in statuses:
            cancel_stage(tx, stage, at)
    for job in tx.jobs.of_run(run_id):
        if job.status in statuses:
            cancel_job(tx, job, at)


def _follow(tx: Tx, ws: WriteSet, draft: RunDraft) -> None:
    if draft.run.failure_code is not None:
        _end(tx, ws, draft, Status.FAILED)
        draft.events += _told(ws.failed_event, error=draft.run.failure_message or "", error_code=draft.run.failure_code)
        return
    match ws.then:
        case OpenGroup() as group:
            open_group(tx, draft, group, ws.at)
        case CompleteRun(event=event, output=output):
            draft.set(output=_group_output(tx, draft.run) if output is None else output)
            _end(tx, ws, draft, Status.COMPLETED)
            run = draft.run
            totals = {"total_cost": run.total_cost, "total_tokens": run.total_tokens}
            draft.events += _told(event, duration_ms=run.duration_ms, output=run.output, **totals)
        case None:
            pass


def _end(tx: Tx, ws: WriteSet, draft: RunDraft, status: Status) -> None:
    _cancel(tx, ws.run_id, OPEN, ws.at)
    draft.set(status=status, completed_at=ws.at, duration_ms=_duration_ms(draft.run, ws.at))


def _group_output(tx: Tx, run: RunRecord) -> StoredValue:
    group = [stage for stage in tx.stages.of_run(run.id) if stage.execution_group == run.group_no]
    return by_stage(
        {
            stage.stage_id: stage.output_data
            for stage in group
            if stage.status is Status.COMPLETED and stage.output_data is not None
        }
    )


def _duration_ms(run: RunRecord, at: datetime) -> int | None:
    return None if run.started_at is None else (at - run.started_at) // timedelta(milliseconds=1)


def _told(event: Event | None, **facts: object) -> list[Event]:
    return [] if event is None else [event.model_copy(update=facts)]
