from engine import RetryPolicy
from engine.domain.ai_calls import Spent
from engine.domain.lifecycle import JobStatus, StageStatus
from engine.domain.records import JobRecord, StageRecord
from engine.ports.changes import Changes
from engine.testing.contracts.rows import a_lease, a_run, a_stage, at
from engine.transitions.open_group import Opening, open_group
from tests.kernel.workflows import pipeline, stage
from tests.unit.transitions.deciding import LOST, NOW, a_context, a_snapshot, after, job_in, states, straight, wide


def rows(opening: Opening) -> tuple[tuple[StageRecord, ...], tuple[JobRecord, ...]]:
    changes = Changes(run_id="r", at=at(10), writes=opening.writes)
    return changes.inserted(StageRecord), changes.inserted(JobRecord)


def test_each_stage_of_a_group_gets_a_record_and_a_job() -> None:
    workflow = pipeline(stage("first"), [stage("a", retry=RetryPolicy(max_attempts=7)), stage("b", pool="gpu")])
    run = a_run(priority=8, config={"a": {"size": 3}})
    opening = open_group(workflow, run, 2, a_context(), generation=1)
    (a, b), (job_of_a, job_of_b) = rows(opening)
    expected = a_stage(
        "a",
        id=a.id,
        stage_number=2,
        execution_group=2,
        generation=1,
        config={"size": 3},
        created_at=at(10),
        updated_at=at(10),
    )
    assert a == expected
    assert (b.stage_id, b.stage_number, b.execution_group, b.config) == ("b", 3, 2, {})
    assert (job_of_a.stage_record_id, job_of_a.max_attempts, job_of_a.pool) == (a.id, 7, "default")
    assert (job_of_b.stage_record_id, job_of_b.max_attempts, job_of_b.pool) == (b.id, 3, "gpu")
    assert (job_of_a.status, job_of_a.attempt, job_of_a.priority) == (JobStatus.PENDING, 0, 8)
    assert job_of_a.trace_context == "00-1-2-03"
    assert (opening.group_no, opening.open, opening.events) == (2, 2, ())


def test_jobs_are_due_at_once_and_rank_by_their_priority() -> None:
    before = a_snapshot(straight("a"), run={"priority": 8})
    opening = open_group(straight("a"), before.run, 1, a_context())
    job = job_in(after(before, Changes(run_id="r", at=at(10), writes=opening.writes)), "a")
    assert (job.due_at, (job.due_at - job.rank).total_seconds()) == (NOW, 8 * 60)


def test_a_group_of_one_can_be_claimed_as_it_opens() -> None:
    before = a_snapshot(straight("a"))
    opening = open_group(straight("a"), before.run, 1, a_context(), lease=a_lease("t", 60))
    now = after(before, Changes(run_id="r", at=at(10), writes=opening.writes))
    (record,), job = now.stages, job_in(now, "a")
    assert (record.status, record.started_at, record.version) == (StageStatus.RUNNING, at(10), 1)
    assert (job.status, job.attempt, job.worker_id) == (JobStatus.RUNNING, 1, "worker of t")
    assert job.lease_token == "t"
    assert job.lease_until is not None
    assert (job.lease_until - NOW).total_seconds() == 60
    assert [event.type for event in opening.events] == ["stage:started"]
    assert opening.events[0].payload()["attempt"] == 1


def test_no_stage_of_a_wide_group_is_claimed_as_it_opens() -> None:
    _, jobs = rows(open_group(wide("a", "b"), a_run(), 1, a_context(), lease=a_lease()))
    assert [job.status for job in jobs] == [JobStatus.PENDING, JobStatus.PENDING]


def test_records_of_the_group_that_are_there_already_stay() -> None:
    workflow = wide("a", "b", "c", "d")
    whole = a_snapshot(workflow, a="RUNNING", b="COMPLETED", c=LOST)
    opening = open_group(workflow, whole.run, 1, a_context(), whole=whole)
    now = after(whole, Changes(run_id="r", at=at(10), writes=opening.writes))
    assert states(now) == {
        "a": "RUNNING RUNNING",
        "b": "COMPLETED COMPLETED",
        "c": "PENDING PENDING",
        "d": "PENDING PENDING",
    }
    assert [record.id for record in now.stages[:3]] == ["r.a", "r.b", "r.c"]
    assert job_in(now, "c").stage_record_id == "r.c"
    assert opening.open == 3


def test_a_stage_that_waits_with_a_job_gets_no_other() -> None:
    whole = a_snapshot(straight("a"), a="PENDING")
    opening = open_group(straight("a"), whole.run, 1, a_context(), whole=whole)
    assert (opening.writes, opening.open) == ((), 1)


def test_a_stage_begins_with_the_costs_of_its_earlier_generations() -> None:
    context = a_context(spent={"a": Spent(1.5, 7)})
    (a, b), _ = rows(open_group(wide("a", "b"), a_run(), 1, context))
    assert (a.total_cost, a.total_tokens, b.total_cost, b.total_tokens) == (1.5, 7, 0.0, 0)
