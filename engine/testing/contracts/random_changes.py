"""Changes and claims of all kinds on one run, made by a random generator: some are written, some refused.

They mean nothing. The same generator serves seeds, and Hypothesis, whose `randoms` strategy makes them shorter.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from engine.domain.events import Event
from engine.domain.lifecycle import JobStatus, RunStatus, StageStatus
from engine.domain.records import RunRecord, StageRecord
from engine.domain.values import inline
from engine.ports.changes import (
    PASSED,
    AtLeast,
    Changes,
    Check,
    Delete,
    FromNow,
    Insert,
    JobUpdate,
    Record,
    RunUpdate,
    StageUpdate,
    Write,
)
from engine.ports.persistence import ClaimRequest
from engine.testing.contracts.rows import (
    a_job,
    a_key,
    a_log,
    a_run,
    a_stage,
    an_annotation,
    an_artifact,
    an_event,
    at,
    claim,
    claim_any,
    held,
)

type Step = Changes | ClaimRequest | float
"""Changes, a claim, or seconds to wait."""

type Choices = Mapping[str, Sequence[Any]]
"""The values a column may get, or a condition may ask for."""

NAMES = "abc"
KEYS = ("k", "k2")
RUN_SET: Choices = {
    "status": (*RunStatus, RunStatus.RUNNING, RunStatus.RUNNING),
    "output": (None, inline([None, 1.5]), {"blob": "k", "size": 1}),
    "group_no": (0, 1, 2),
    "started_at": (None, at(-0.0005)),
    "duration_ms": (None, 0, 12),
    "failure_code": (None, None, "F"),
    "failure_message": (None, "ü \u2028 %s '"),
}
RUN_EXPECT: Choices = {
    "status": (RunStatus.RUNNING, frozenset({RunStatus.PENDING, RunStatus.RUNNING})),
    "failure_code": (None, "F"),
    "group_open": (1, AtLeast(1), AtLeast(3)),
    "duration_ms": (None, AtLeast(0)),
    "total_cost": (0.0,),
    "version": (1, AtLeast(2)),
    "completed_at": (None, PASSED),
}
STAGE_SET: Choices = {
    "status": tuple(StageStatus),
    "metrics": (None, {"n": None, "f": 1.5, "deep": {"": [True]}}),
    "suspended_state": (None, {"batch": 7}),
    "output_data": (None, inline("x")),
    "poll_interval_s": (None, 2, 2.5),
    "next_poll_at": (None, at(7)),
    "poll_token": (None, "p"),
    "error_code": (None, "E"),
}
STAGE_EXPECT: Choices = {
    "status": (*StageStatus, frozenset({StageStatus.PENDING, StageStatus.RUNNING})),
    "poll_token": (None, "p"),
    "next_poll_at": (None, PASSED),
    "total_tokens": (0, AtLeast(1)),
}
JOB_SET: Choices = {
    "status": tuple(JobStatus),
    "due_at": (at(5), FromNow(), FromNow(2.5)),
    "rank": (at(-300), FromNow(-300)),
    "worker_id": (None, "w"),
    "lease_token": (None, "t", "u"),
    "lease_until": (None, at(30), FromNow(60)),
    "last_error": (None, "broke"),
}
JOB_EXPECT: Choices = {
    "status": (*JobStatus, frozenset({JobStatus.PENDING, JobStatus.RUNNING})),
    "lease_token": (None, "t", "u"),
    "lease_until": (None, PASSED),
    "attempt": (0, 1, AtLeast(1)),
}


def random_steps(random: Random, count: int = 12) -> list[Step]:
    return [_beginning(random), *(_step(random) for _ in range(count))]


def _beginning(random: Random) -> Changes:
    stages = tuple(a_stage(name) for name in NAMES[: random.randint(1, 3)])
    jobs = tuple(a_job(stage.stage_id) for stage in stages)
    create = Insert(rows=(a_run(status=RunStatus.RUNNING, group_no=1, group_open=len(stages)),))
    writes = (Insert(rows=stages), Insert(rows=jobs, from_now={"due_at": 0.0, "rank": -300.0}))
    return Changes(run_id="r", at=at(0), run=create, writes=writes, events=_events(random))


def _step(random: Random) -> Step:
    match random.randint(0, 9):
        case 0:
            return random.choice((1.0, 60.0))
        case 1 | 2:
            return claim(random.choice(NAMES), random.choice("tu"))
        case 3:
            return claim_any(random.choice("tu"), run_id=random.choice((None, "r")))
        case _:
            return _changes(random)


def _changes(random: Random) -> Changes:
    run = _run_update(random) if random.random() < 0.8 else None
    return Changes(
        run_id="r",
        at=at(random.randint(0, 9)),
        run=run,
        writes=tuple(_write(random) for _ in range(random.randint(0, 3))),
        events=_events(random) if run else (),
        causation_id=random.choice((None, "cause")),
    )


def _events(random: Random) -> tuple[Event, ...]:
    return (an_event(),) * random.randint(0, 2)


def _write(random: Random) -> Write:
    match random.randint(0, 9):
        case 0 | 1 | 2:
            return StageUpdate(
                ids=_ids(random, "r.{}"),
                set=_some(random, STAGE_SET),
                add=_some(random, {"version": (1,)}),
                expect=_some(random, STAGE_EXPECT, 0.2),
            )
        case 3 | 4 | 5:
            return JobUpdate(
                ids=_ids(random, "r.{}.job"),
                set=_some(random, JOB_SET),
                add=_some(random, {"attempt": (1,), "max_attempts": (1,)}),
                expect=_some(random, JOB_EXPECT, 0.2),
            )
        case 6:
            return Delete(record=StageRecord, ids=_ids(random, "r.{}"))
        case 7:
            return Check(
                record=RunRecord, id=random.choice(("r", "r", "unknown")), expect=_some(random, RUN_EXPECT, 0.2)
            )
        case _:
            return Insert(rows=_rows(random), skip_existing=random.random() < 0.7)


def _run_update(random: Random) -> RunUpdate:
    return RunUpdate(
        ids=("r",),
        set=_some(random, RUN_SET, 0.15),
        add=_some(random, {"version": (1,), "group_open": (-1, 1)}),
        latest=_some(random, {"completed_at": (at(2), at(8))}),
        expect=_some(random, RUN_EXPECT, 0.1),
    )


def _rows(random: Random) -> tuple[Record, ...]:
    name, other = random.choice(NAMES), random.choice(("", "2"))
    run_id = "unknown" if random.random() < 0.05 else "r"
    rows: Sequence[tuple[Record, ...]] = (
        tuple(a_stage(each, run_id, generation=1) for each in NAMES),
        (a_stage(name, run_id, id=f"{run_id}.{name}{other}"),),
        (a_job(name, run_id, id=f"{run_id}.{name}{other}.job", **held()),),
        (a_log(f"{run_id} 1", run_id, metadata={"n": None}), a_log(f"{run_id} 2", run_id)),
        (an_artifact(f"file{other}", name, run_id),),
        (
            an_annotation(f"{run_id} {name}{other}", run_id=run_id, idempotency_key=random.choice((None, "once"))),
            an_annotation(f"{run_id} {name}", value=None, run_id=run_id, idempotency_key="once"),
        ),
        tuple(map(a_key, KEYS)),
        (a_key(random.choice(KEYS)),),
    )
    return random.choice(rows)


def _ids(random: Random, form: str) -> tuple[str, ...]:
    return tuple(form.format(name) for name in random.sample(NAMES, random.choice((1, 1, 1, 2))))


def _some(random: Random, choices: Choices, chance: float = 0.4) -> Any:
    """A value for some of the columns."""
    return {name: random.choice(values) for name, values in choices.items() if random.random() < chance}
