"""Write sets and claim requests as the JSON that the SQL functions read, and their answers back.

What is None or empty is left out. `functions/engine_apply_v1.sql` lists the fields that are not those of the classes.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from engine.adapters.sql.rows import ANNOTATION, ARTIFACT, JOB, KEY, LOG, RUN, STAGE, RecordMapping, instant, storable
from engine.domain.events import Event, StageStarted
from engine.domain.lifecycle import MOVES, Status, check_move
from engine.kernel.apply_guards import LEFT_BY_HOLDER
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.ports.write_set import (
    AnnotationDraft,
    Applied,
    Closes,
    CompleteRun,
    JobChange,
    JobDraft,
    Lease,
    OpenGroup,
    StageChange,
    Verdict,
    WriteSet,
)

type Fields = dict[str, Any]

_CONTAINERS = frozenset({tuple, list, dict})

# The columns of a run that transitions change; engine_apply_v1 writes the others only when told to.
_RUN_STATE = frozenset(
    {
        "status",
        "updated_at",
        "output",
        "version",
        "event_seq",
        "group_no",
        "group_open",
        "started_at",
        "completed_at",
        "duration_ms",
        "total_cost",
        "total_tokens",
        "failure_code",
        "failure_message",
    }
)


def write_set_json(ws: WriteSet, now: datetime | None) -> str:
    fields = {
        "run_id": ws.run_id,
        "at": ws.at,
        "now": now,
        "key": _row(KEY, ws.key) if ws.key else None,
        **(_creation(ws) if ws.create else _change(ws)),
        "opens": _group(ws.opens, ws.at),
        "logs": [_row(LOG, log) for log in ws.logs],
        "artifacts": [_row(ARTIFACT, artifact) for artifact in ws.artifacts],
        "annotations": [_annotation(draft) for draft in ws.annotations],
        "events": _payloads(ws.events),
        "causation_id": ws.causation_id,
    }
    return storable(_given(fields), "write set")


def claim_json(request: ClaimRequest, now: datetime | None) -> str:
    event = StageStarted(
        timestamp=request.at, workflow_run_id="", workflow_id="", stage_id="", stage_name="", stage_number=0
    )
    fields = {
        "lease": _lease(request.lease),
        "at": request.at,
        "now": now,
        "pools": request.pools,
        "job_id": request.job_id,
        "run_id": request.run_id,
        "event": event.payload(),
    }
    return storable(_given(fields), "claim")


def applied(answer: str) -> Applied:
    fields = json.loads(answer)
    status, lease_until, key = fields.get("run_status"), fields.get("lease_until"), fields.get("key")
    return Applied(
        verdict=Verdict(fields["verdict"]),
        run_status=Status(status) if status else None,
        run_version=fields.get("run_version", 0),
        closed=fields.get("closed", False),
        failing=fields.get("failing", False),
        key=KEY.from_json(key) if key else None,
        lease_until=instant(lease_until) if lease_until else None,
    )


def claimed(answer: str) -> Claim | NoClaim | None:
    """None: ask again."""
    fields = json.loads(answer)
    if "again" in fields:
        return None
    if "job" not in fields:
        later_at = fields.get("later_at")
        return NoClaim(later_at=instant(later_at) if later_at else None)
    return Claim(
        run=RUN.from_json(fields["run"]),
        stage=STAGE.from_json(fields["stage"]),
        job=JOB.from_json(fields["job"]),
        previous=fields["previous"],
    )


def _creation(ws: WriteSet) -> Fields:
    return {"create": _row(RUN, ws.create) | RUN.checked(ws.run)}


def _change(ws: WriteSet) -> Fields:
    closes = None if ws.closes is Closes.NOTHING else ws.closes
    return {
        "run_in": sorted(ws.run_in),
        "expected_version": ws.expected_version,
        "run": RUN.checked(ws.run),
        "rewrites": not ws.run.keys() <= _RUN_STATE,
        "job": _job_change(ws.job),
        "stage": _stage_change(ws.stage),
        "cost": ws.cost,
        "tokens": ws.tokens,
        "removes": ws.removes,
        "jobs": [_job_draft(job) for job in ws.jobs],
        "closes": closes,
        "then": _follower(ws.then, ws.at),
        "failed_event": ws.failed_event.payload() if ws.failed_event else None,
        "illegal": _illegal_moves(ws),
    }


def _job_change(change: JobChange | None) -> Fields | None:
    if change is None:
        return None
    return {
        "job_id": change.job_id,
        "to": change.to,
        "status_in": sorted(change.status_in),
        "repeats": sorted(LEFT_BY_HOLDER.get(change.to, ())),
        **_given(
            {
                "token": change.token,
                "expired": change.expired,
                "renew": change.renew,
                "uncounted": change.uncounted,
                "error": change.error,
            }
        ),
        "due_in": change.due_in,
    }


def _stage_change(change: StageChange | None) -> Fields | None:
    if change is None:
        return None
    fields = {
        "record_id": change.record_id,
        "status_in": sorted(change.status_in),
        "patch": STAGE.checked(change.patch),
    }
    return fields if change.poll_token is None else {**fields, "poll_token": change.poll_token}


def _illegal_moves(ws: WriteSet) -> Fields:
    """Of the states that the guards let pass, those from which the transition tables have no such move."""
    after = frozenset({Status(ws.run["status"])}) if "status" in ws.run else ws.run_in
    moves = {
        "run": _illegal("run", ws.run_in, ws.run.get("status")),
        "job": _illegal("job", ws.job.status_in, ws.job.to) if ws.job else (),
        "stage": _illegal("stage", ws.stage.status_in, ws.stage.patch.get("status")) if ws.stage else (),
        "FAILED": _illegal("run", after, Status.FAILED),
        "COMPLETED": _illegal("run", after, Status.COMPLETED),
    }
    return _given(moves)


@cache
def _illegal(kind: str, before: frozenset[Status], after: Status | None) -> tuple[Status, ...]:
    if after is None:
        return ()
    return tuple(sorted(each for each in before if each is not after and after not in MOVES[kind].get(each, ())))


def _follower(then: OpenGroup | CompleteRun | None, at: datetime) -> Fields | None:
    match then:
        case CompleteRun(event=event, output=output):
            return _given({"event": event.payload(), "output": output})
        case _:
            return _group(then, at)


def _group(group: OpenGroup | None, at: datetime) -> Fields | None:
    if group is None:
        return None
    stages = [_row(STAGE, stage) for stage in group.stages]
    if group.lease is not None:
        for stage in stages:
            check_move("stage", stage["status"], Status.RUNNING)
            stage |= {"status": Status.RUNNING, "started_at": at}
    return {
        "group_no": group.group_no,
        "stages": stages,
        "jobs": [_job_draft(job) for job in group.jobs],
        **_given({"events": _payloads(group.events), "lease": _lease(group.lease)}),
    }


def _lease(lease: Lease | None) -> Fields | None:
    if lease is None:
        return None
    return {"worker_id": lease.worker_id, "token": lease.token, "seconds": lease.seconds}


def _job_draft(draft: JobDraft) -> Fields:
    fields = {name: getattr(draft, name) for name in JobDraft.__dataclass_fields__}
    return _given(fields)


def _annotation(draft: AnnotationDraft) -> Fields:
    row = _row(ANNOTATION, draft.record)
    return row if draft.event is None else {**row, "event": draft.event.payload()}


def _payloads(events: Iterable[Event]) -> list[Fields]:
    return [event.payload() for event in events]


def _row(mapping: RecordMapping[Any], record: Any) -> Fields:
    return mapping.checked({name: value for name in mapping.names if (value := getattr(record, name)) is not None})


def _given(fields: Mapping[str, Any]) -> Fields:
    return {name: value for name, value in fields.items() if not _is_absent(value)}


def _is_absent(value: object) -> bool:
    return value is None or value is False or (type(value) in _CONTAINERS and not value)
