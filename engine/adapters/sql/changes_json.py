"""`Changes` and claim requests as JSON documents of the SQL functions, and the functions' answers.

`functions/engine_write_v1.sql` and `engine_claim_v1.sql` list the fields. None and empty fields are left out.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engine.adapters.sql.rows import JOB, MAPPINGS, RUN, STAGE, instant, storable
from engine.domain.events import StageStarted
from engine.domain.records import KeyRecord
from engine.ports.changes import (
    PASSED,
    AtLeast,
    Changes,
    Check,
    Condition,
    Delete,
    FromNow,
    Insert,
    Refused,
    Update,
    Write,
    Written,
)
from engine.ports.persistence import Claim, ClaimRequest, NoClaim

type Fields = dict[str, Any]

KEY_PATIENCE_MS = 5_000
"""Milliseconds that a request waits for another one under the same idempotency key."""


def changes_json(changes: Changes, now: datetime | None) -> str:
    fields = {
        "run_id": changes.run_id,
        "now": now,
        "patience": KEY_PATIENCE_MS if changes.inserted(KeyRecord) else None,
        "steps": [_step(write, changes.at) for write in changes.steps()],
        "events": [event.stored_payload() for event in changes.events],
        "causation_id": changes.causation_id,
    }
    return storable(_given(fields), "changes")


def written(answer: str, changes: Changes) -> Written | Refused:
    fields = json.loads(answer)
    if "refused" in fields:
        return Refused()
    return Written(changes=changes, now=instant(fields["now"]), last_sequence=fields["last_sequence"])


def claim_json(request: ClaimRequest, now: datetime | None) -> str:
    event = StageStarted(
        timestamp=request.at, workflow_run_id="", workflow_id="", stage_id="", stage_name="", stage_number=0
    )
    lease = request.lease
    fields = {
        "lease": {"worker_id": lease.worker_id, "token": lease.token, "seconds": lease.seconds},
        "at": request.at,
        "now": now,
        "pools": request.pools,
        "job_id": request.job_id,
        "run_id": request.run_id,
        "event": event.stored_payload(),
    }
    return storable(_given(fields), "claim")


def claimed(answer: str) -> Claim | NoClaim | None:
    """None: the claim must be repeated."""
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
        previous=dict(fields["previous"]),
    )


def _step(write: Write, at: datetime) -> Fields:
    match write:
        case Insert():
            return _insert(write)
        case Delete():
            return {"delete": write.ids, "need": len(write.ids)}
        case Check():
            return {"check": write.id, "need": 1, **_conditions(write.expect)}
        case _:
            return _update(write, at)


def _insert(insert: Insert) -> Fields:
    mapping = MAPPINGS[type(insert.rows[0])]
    fields: Fields = {
        "table": mapping.table.name,
        "insert": [mapping.checked(_columns(mapping.names, row)) for row in insert.rows],
        "need": 0 if insert.skip_existing else len(insert.rows),
    }
    return {**fields, "from_now": insert.from_now} if insert.from_now else fields


def _columns(names: tuple[str, ...], row: object) -> Fields:
    return {name: value for name in names if (value := getattr(row, name)) is not None}


def _update(update: Update, at: datetime) -> Fields:
    mapping = MAPPINGS[update.record]
    patch: Mapping[str, Any] = update.set
    later = {name: value.seconds for name, value in patch.items() if isinstance(value, FromNow)}
    fields = {
        "set": {
            **mapping.checked({name: value for name, value in patch.items() if name not in later}),
            "updated_at": at,
        },
        "add": update.add,
        "latest": update.latest,
        "from_now": later,
    }
    return {
        "table": mapping.table.name,
        "ids": update.ids,
        "need": len(update.ids),
        **_given(fields),
        **_conditions(update.expect),
    }


def _conditions(expect: Condition) -> Fields:
    equal: Fields = {}
    one_of: Fields = {}
    least: Fields = {}
    passed = []
    for name, wanted in expect.items():
        match wanted:
            case AtLeast(value):
                least[name] = value
            case frozenset():
                one_of[name] = wanted
            case _ if wanted is PASSED:
                passed.append(name)
            case _:
                equal[name] = wanted
    return _given({"equal": equal, "one_of": one_of, "least": least, "passed": passed})


def _given(fields: Mapping[str, Any]) -> Fields:
    return {name: value for name, value in fields.items() if value is not None and value not in ({}, [], ())}
