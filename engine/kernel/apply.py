"""What a transition does: the reference for every store, over the unit of work alone.

`engine.ports.write_set` tells the rules in words; `engine.testing.contracts` holds the SQL functions of other
stores equal to this module.
"""

from collections.abc import Sequence
from dataclasses import replace

from engine.domain.events import Event, StageCompleted
from engine.domain.lifecycle import Status
from engine.domain.records import RunRecord, StageRecord
from engine.kernel.apply_ending import close_stages
from engine.kernel.apply_guards import Targets, check_targets, refusal
from engine.kernel.apply_rows import (
    RunDraft,
    change_job,
    change_stage,
    gives_up,
    insert_group,
    open_group,
    recreate_missing_jobs,
    remove_stages,
)
from engine.ports.transaction import Tx
from engine.ports.write_set import AnnotationDraft, Applied, Closes, Verdict, WriteSet

_FAILURE = ("failure_code", "failure_message")


def apply_write_set(tx: Tx, ws: WriteSet) -> Applied:
    if ws.key is not None and not tx.keys.insert(ws.key):
        found = tx.keys.find(ws.key.tenant, ws.key.command_type, ws.key.key)
        return Applied(verdict=Verdict.KEY_EXISTS, key=found)
    applied = _change(tx, ws) if ws.create is None else _create(tx, ws, ws.create)
    if ws.key is not None and applied.verdict is not Verdict.APPLIED:
        tx.keys.delete(ws.key)
    return applied


def _create(tx: Tx, ws: WriteSet, blank: RunRecord) -> Applied:
    existing = tx.runs.lock(blank.id)
    if existing is not None:
        return _answer(Verdict.REPEAT, existing)
    drafts = _first_of_each_key(ws.annotations)
    events = [*_announced(drafts), *ws.events, *(ws.opens.events if ws.opens else ())]
    run = replace(blank, **ws.run, event_seq=blank.event_seq + len(events))
    if ws.opens is not None:
        run = replace(run, group_no=ws.opens.group_no, group_open=len(ws.opens.stages))
    tx.runs.insert(run)
    lease_until = insert_group(tx, run, ws.opens, ws.at).lease_until if ws.opens else None
    _append(tx, ws)
    tx.annotations.add(draft.record for draft in drafts)
    tx.outbox.append(run.id, blank.event_seq + 1, events, ws.causation_id)
    return replace(_answer(Verdict.APPLIED, run), lease_until=lease_until)


def _change(tx: Tx, ws: WriteSet) -> Applied:
    run = tx.runs.lock(ws.run_id)
    if run is None:
        return Applied(verdict=Verdict.GHOST)
    refused = refusal(tx, ws, run)
    if refused is not None:
        return _answer(refused, run)
    targets = check_targets(tx, ws)
    if targets is None:
        return _answer(Verdict.LOST, run)
    draft = RunDraft.of(run, _run_patch(ws, run))
    closed = _write(tx, ws, draft, targets)
    return _commit(tx, ws, draft, closed=closed)


def _run_patch(ws: WriteSet, run: RunRecord) -> dict[str, object]:
    """The first failure of a run is the one it ends with."""
    keeps = ws.closes is Closes.GROUP and run.failure_code is not None
    return {name: value for name, value in ws.run.items() if not (keeps and name in _FAILURE)}


def _write(tx: Tx, ws: WriteSet, draft: RunDraft, targets: Targets) -> bool:
    """Everything but the run's own row. True when the group was closed."""
    draft.spend(ws.cost, ws.tokens)
    gave_up = gives_up(ws, draft.run)
    draft.lease_until = change_job(tx, ws, targets.job, cancel=gave_up)
    stage = change_stage(tx, ws, targets, cancel=gave_up)
    _append(tx, ws)
    inserted = tx.annotations.add(each.record for each in ws.annotations)
    draft.events += _announced([each for each in ws.annotations if each.record.id in inserted])
    draft.events += [_with_totals(event, stage) for event in ws.events]
    remove_stages(tx, ws)
    if ws.opens is not None:
        open_group(tx, draft, ws.opens, ws.at)
    recreate_missing_jobs(tx, ws)
    return close_stages(tx, ws, draft, Closes.STAGE if gave_up else ws.closes)


def _with_totals(event: Event, stage: StageRecord | None) -> Event:
    """What the calls of a stage cost is booked while it runs: the row knows it, who finishes it does not."""
    if stage is None or not isinstance(event, StageCompleted):
        return event
    return event.model_copy(update={"total_cost": stage.total_cost, "total_tokens": stage.total_tokens})


def _append(tx: Tx, ws: WriteSet) -> None:
    if ws.logs:
        tx.logs.append(ws.logs)
    if ws.artifacts:
        tx.artifacts.add(ws.artifacts)


def _commit(tx: Tx, ws: WriteSet, draft: RunDraft, *, closed: bool) -> Applied:
    before = draft.before
    draft.set(event_seq=before.event_seq + len(draft.events))
    run = tx.runs.update(ws.run_id, {**draft.changes(), "updated_at": ws.at})
    if draft.events:
        tx.outbox.append(run.id, before.event_seq + 1, draft.events, ws.causation_id)
    return replace(_answer(Verdict.APPLIED, run), closed=closed, lease_until=draft.lease_until)


def _answer(verdict: Verdict, run: RunRecord) -> Applied:
    failing = run.failure_code is not None and run.status is Status.RUNNING
    return Applied(verdict=verdict, run_status=run.status, run_version=run.version, failing=failing)


def _first_of_each_key(drafts: Sequence[AnnotationDraft]) -> list[AnnotationDraft]:
    """What a run without annotations accepts of these."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for draft in drafts:
        identity = (draft.record.key, draft.record.idempotency_key or "")
        if draft.record.idempotency_key is not None and identity in seen:
            continue
        seen.add(identity)
        kept.append(draft)
    return kept


def _announced(drafts: Sequence[AnnotationDraft]) -> list[Event]:
    return [draft.event for draft in drafts if draft.event is not None]
