"""The rows of a run stay sound under any sequence of facts. Decisions are applied to snapshots; there is no store."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.lifecycle import OPEN_JOBS, OPEN_STAGES, JobStatus, RunStatus, StageStatus
from engine.domain.records import JobRecord
from engine.ports.changes import Changes
from engine.ports.persistence import ClaimRequest
from engine.testing import FixedIds
from engine.testing.contracts.rows import a_lease, a_run, at
from engine.transitions.advance_run import recreate_missing_jobs, transition_run
from engine.transitions.claim_job import claim_job
from engine.transitions.context import DecisionContext
from engine.transitions.end_run import cancel_run
from engine.transitions.facts import Outcome
from engine.transitions.finish_stage import StageFinish, finish_stage, needs_whole_run
from engine.transitions.release_job import JobRelease, ends_stage, release_job
from engine.transitions.snapshots import RunSnapshot, StageSnapshot
from engine.transitions.start_run import Rerun, RunCreation, create_run, rerun
from tests.kernel.workflows import pipeline, stage
from tests.unit.transitions.deciding import a_context, after, completes, created, fails, suspends

WORKFLOW = pipeline([stage("a"), stage("b"), stage("c")], stage("d"), [stage("e"), stage("f")])
NEVER = at(1e9)

type Fact = Callable[[RunSnapshot, DecisionContext], object]


def on_job(decide: Callable[[StageSnapshot, DecisionContext, RunSnapshot], object], choice: int) -> Fact:
    """A fact about one of the run's jobs whose stage is there: mostly an open one, while there is any."""

    def fact(snapshot: RunSnapshot, context: DecisionContext) -> object:
        records = {record.id: record for record in snapshot.stages}
        jobs: list[JobRecord] = [job for job in snapshot.jobs if job.stage_record_id in records]
        live = [job for job in jobs if job.status in OPEN_JOBS] if choice else []
        job = (live or jobs)[choice % len(live or jobs)]
        known = StageSnapshot(run=snapshot.run, stage=records[job.stage_record_id], job=job)
        return decide(known, context, snapshot)

    return fact


def claims(known: StageSnapshot, context: DecisionContext, _: RunSnapshot) -> object:
    request = ClaimRequest(lease=a_lease(context.ids.token()), at=context.at, job_id=known.job.id)
    return claim_job(known.run, known.stage, known.job, request, NEVER)


def finishes(outcome: Outcome, *, by_poll: bool = False, goes_on: bool = False) -> Callable[..., object]:
    def decide(known: StageSnapshot, context: DecisionContext, whole: RunSnapshot) -> object:
        token = known.stage.poll_token if by_poll else known.job.lease_token
        lease = a_lease(context.ids.token()) if goes_on else None
        fact = StageFinish(outcome=outcome, token=token or "none", workflow=WORKFLOW, by_poll=by_poll, lease=lease)
        return finish_stage(_read(known, whole, needs_whole_run(known, fact)), fact, context)

    return decide


def releases(*, uncounted: bool) -> Callable[..., object]:
    def decide(known: StageSnapshot, context: DecisionContext, whole: RunSnapshot) -> object:
        fact = JobRelease(token=known.job.lease_token, expired=False, uncounted=uncounted)
        return release_job(_read(known, whole, ends_stage(known, fact)), fact, context)

    return decide


def _read(known: StageSnapshot, whole: RunSnapshot, is_needed: bool) -> StageSnapshot:
    return StageSnapshot(run=known.run, stage=known.stage, job=known.job, whole=whole if is_needed else None)


def reruns(stage_id: str) -> Fact:
    fact = Rerun(from_stage_id=stage_id, group_no=WORKFLOW.get_execution_group_index(stage_id))

    def decide(snapshot: RunSnapshot, context: DecisionContext) -> object:
        reached = max(record.execution_group for record in snapshot.stages)
        return rerun(snapshot, fact, WORKFLOW, context) if fact.group_no <= reached else None

    return decide


jobs = st.integers(0, 11)
facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(on_job, st.just(claims), jobs),
    st.builds(on_job, st.just(claims), jobs),
    st.builds(on_job, st.just(finishes(completes("x"))), jobs),
    st.builds(on_job, st.just(finishes(completes("x"), goes_on=True)), jobs),
    st.builds(on_job, st.just(finishes(completes("x"), by_poll=True)), jobs),
    st.builds(on_job, st.sampled_from([finishes(fails("x")), finishes(fails("x", retry_in=1))]), jobs),
    st.builds(on_job, st.sampled_from([finishes(suspends()), finishes(fails("x"), by_poll=True)]), jobs),
    st.builds(on_job, st.sampled_from([releases(uncounted=False), releases(uncounted=True)]), jobs),
    st.just(lambda snapshot, context: transition_run(snapshot, WORKFLOW, context)),
    st.just(lambda snapshot, context: recreate_missing_jobs(snapshot, WORKFLOW, context)),
    st.just(lambda snapshot, context: cancel_run(snapshot, None, context)),
    st.builds(reruns, st.sampled_from(WORKFLOW.get_stage_ids())),
)


def check(snapshot: RunSnapshot) -> None:
    """The rows agree with one another."""
    run, group = snapshot.run, snapshot.group()
    live = [job for job in snapshot.jobs if job.status in OPEN_JOBS]
    if run.status is not RunStatus.RUNNING:
        assert not live, "a job of a run that has ended"
        assert not [record for record in snapshot.stages if record.status in OPEN_STAGES]
        assert run.group_open == 0
        return
    assert {job.stage_record_id for job in live} <= {record.id for record in group}
    assert len({job.stage_record_id for job in live}) == len(live), "a stage with two jobs"
    if run.failure_code is None:
        assert run.group_open == len(live) > 0
    else:
        assert {job.status for job in live} == {JobStatus.RUNNING}, "a failing run waits for bodies that run alone"
        assert run.group_open == len(live)
    for record in group:
        job = snapshot.job_of(record)
        assert (record.status in OPEN_STAGES) <= (job is not None), "an open stage without a job"
        assert (record.status is StageStatus.RUNNING) is (job is not None and job.status is JobStatus.RUNNING)


@settings(max_examples=150, deadline=None)
@given(happened=st.lists(facts, min_size=10, max_size=60))
def test_the_rows_of_a_run_agree_after_any_sequence_of_facts(happened: list[Fact]) -> None:
    ids, seconds = FixedIds(), itertools.count(11)
    snapshot = created(create_run(RunCreation(run=a_run()), WORKFLOW, a_context(ids=ids)))
    check(snapshot)
    for fact in happened:
        answer: Any = fact(snapshot, a_context(ids=ids, at=at(next(seconds))))
        if isinstance(answer, Changes):
            snapshot = _with_polls(after(snapshot, answer))
            check(snapshot)


def _with_polls(snapshot: RunSnapshot) -> RunSnapshot:
    """A poller has claimed each suspended stage."""
    stages = [
        replace(record, poll_token="poll") if record.status is StageStatus.SUSPENDED else record
        for record in snapshot.stages
    ]
    return replace(snapshot, stages=stages)
