from typing import Any

from engine.domain.lifecycle import JobStatus, RunStatus
from engine.domain.records import LogRecord, RunRecord
from engine.ports.changes import Changes, Check, FromNow, Insert, JobUpdate
from engine.ports.persistence import Claim
from engine.testing.contracts.rows import a_log, at
from engine.transitions.facts import Progress, Recorded
from engine.transitions.keep_lease import keep_lease, renew_lease
from tests.unit.transitions.deciding import (
    NOW,
    a_context,
    a_snapshot,
    after,
    condition_of_run,
    job_in,
    stage_in,
    straight,
    told,
)

BEFORE = a_snapshot(straight("a"), a="RUNNING")
CLAIM = Claim(run=BEFORE.run, stage=stage_in(BEFORE, "a"), job=job_in(BEFORE, "a"), previous={})
WANTED = {"status": RunStatus.RUNNING, "failure_code": None}


def beat(**recorded: Any) -> Changes:
    return keep_lease(CLAIM, Recorded(**recorded), 60.0, a_context())


def renewal(changes: Changes) -> JobUpdate:
    (update,) = [write for write in changes.writes if isinstance(write, JobUpdate)]
    return update


def test_a_heartbeat_renews_the_lease_on_the_stores_clock() -> None:
    lease_until = job_in(after(BEFORE, beat()), "a").lease_until
    assert lease_until is not None
    assert (lease_until - NOW).total_seconds() == 60


def test_a_heartbeat_holds_for_who_has_the_job_in_a_run_that_wants_it() -> None:
    assert renewal(beat()).expect == {"status": JobStatus.RUNNING, "lease_token": "a"}
    assert beat().writes[0] == Check(record=RunRecord, id="r", expect=WANTED)


def test_a_heartbeat_without_progress_does_not_write_the_run() -> None:
    changes = beat(logs=(a_log("1"),))
    assert (changes.run, changes.events) == (None, ())


def test_a_heartbeat_writes_logs_that_may_be_there_already() -> None:
    (insert,) = [write for write in beat(logs=(a_log("1"), a_log("2"))).writes if isinstance(write, Insert)]
    assert (insert.rows, insert.skip_existing) == ((a_log("1"), a_log("2")), True)
    assert beat().inserted(LogRecord) == ()


def test_progress_is_written_with_an_event() -> None:
    changes = beat(progress=Progress(0.5, "half", {"n": 1}, at(7)), logs=(a_log("1"),))
    now = after(BEFORE, changes)
    stage = stage_in(now, "a")
    assert stage.progress == {"progress": 0.5, "message": "half", "details": {"n": 1}, "at": at(7).isoformat()}
    assert (stage.version, now.run.version) == (1, 1)
    assert told(changes) == ["stage:progress"]
    payload = changes.events[0].payload()
    assert (payload["progress"], payload["message"], payload["details"]) == (0.5, "half", {"n": 1})
    assert condition_of_run(changes) == WANTED
    assert renewal(changes).expect == {"status": JobStatus.RUNNING, "lease_token": "a"}
    assert changes.inserted(LogRecord) == (a_log("1"),)


def test_a_renewal_writes_the_lease_and_nothing_else() -> None:
    changes = renew_lease("r", "r.a.job", "a", 30.0, at(10))
    renewed = JobUpdate(
        ids=("r.a.job",),
        set={"lease_until": FromNow(30.0)},
        expect={"status": JobStatus.RUNNING, "lease_token": "a"},
    )
    assert changes == Changes(run_id="r", at=at(10), writes=(Check(record=RunRecord, id="r", expect=WANTED), renewed))
