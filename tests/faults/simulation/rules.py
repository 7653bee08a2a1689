"""What must hold after every commit. Each rule is a function of the watch and the commit; to add one, decorate it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.domain.lifecycle import (
    ENDED_RUNS,
    JOB_MOVES,
    OPEN_JOBS,
    OPEN_STAGES,
    RUN_MOVES,
    STAGE_MOVES,
    JobStatus,
    RunStatus,
    StageStatus,
    check_move,
)
from engine.domain.records import JobRecord, OutboxRecord, RunRecord, StageRecord
from tests.faults.simulation.sometimes import State

if TYPE_CHECKING:
    from tests.faults.simulation.watch import Commit, Watch

type Rule = Callable[["Watch", "Commit"], None]

RULES: list[Rule] = []

END_OF = {
    RunStatus.COMPLETED: "workflow:completed",
    RunStatus.FAILED: "workflow:failed",
    RunStatus.CANCELLED: "workflow:cancelled",
}
FAILURES = frozenset({"STAGE_FAILED", "LEASE_EXPIRED", "BATCH_FAILED", "STAGE_TIMEOUT", "STAGE_CANCELLED"})
"""The causes a run of the simulation may fail with. Anything else would be the engine's doing."""


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def _both[R](pairs: Iterable[tuple[R | None, R | None]]) -> Iterable[tuple[R, R]]:
    return ((old, new) for old, new in pairs if old is not None and new is not None)


@rule
def every_move_is_in_the_tables(_watch: "Watch", commit: "Commit") -> None:
    for run, moved_run in _both(commit.runs):
        check_move(RUN_MOVES, run.status, moved_run.status)
    for stage, moved_stage in _both(commit.stages):
        check_move(STAGE_MOVES, stage.status, moved_stage.status)
    for job, moved_job in _both(commit.jobs):
        check_move(JOB_MOVES, job.status, moved_job.status)


@rule
def a_move_raises_the_version(watch: "Watch", commit: "Commit") -> None:
    moved: list[tuple[RunRecord | StageRecord, RunRecord | StageRecord]] = [*_both(commit.runs), *_both(commit.stages)]
    for old, new in moved:
        if old.status is not new.status and new.version <= old.version:
            watch.fail(f"{new.id} went from {old.status} to {new.status} without a new version")


@rule
def attempts_count_claims_and_stay_within_their_number(watch: "Watch", commit: "Commit") -> None:
    for old, new in commit.jobs:
        if new is None:
            continue
        claimed = new.lease_token is not None and (old is None or new.lease_token != old.lease_token)
        before = old.attempt if old else 0
        if new.attempt != before + claimed:
            watch.fail(f"job {new.id} went from attempt {before} to {new.attempt}")
        if new.attempt > new.max_attempts:
            watch.fail(f"job {new.id} is in attempt {new.attempt} of {new.max_attempts}")
        if (
            old is not None
            and new.max_attempts > old.max_attempts
            and new.status not in {JobStatus.PENDING, JobStatus.CANCELLED}
        ):
            watch.fail(f"job {new.id} got another attempt without going back")


@rule
def a_live_lease_is_ended_by_its_holder_alone(watch: "Watch", commit: "Commit") -> None:
    """And an outcome is committed by nobody else at all."""
    for old, new in _both(commit.jobs):
        taken = new.lease_token is not None and new.lease_token != old.lease_token
        if old.status is JobStatus.RUNNING and (taken or new.status is not JobStatus.RUNNING):
            _check_end_of_lease(watch, commit, old, new)
        if taken:
            watch.holders.jobs[new.id] = commit.machine
    for _, new in ((old, new) for old, new in commit.jobs if old is None and new is not None):
        watch.holders.jobs[new.id] = commit.machine


def _check_end_of_lease(watch: "Watch", commit: "Commit", old: JobRecord, new: JobRecord) -> None:
    if new.status is JobStatus.CANCELLED or watch.holders.jobs.get(old.id) is commit.machine:
        return
    if old.lease_until is None or old.lease_until > commit.now:
        watch.fail(f"the live lease of job {old.id} was ended by {commit.name}")
    match new.status:
        case JobStatus.PENDING:
            watch.reached(State.LEASE_REAPED)
        case JobStatus.RUNNING:
            watch.reached(State.LEASE_TAKEN_OVER)
        case JobStatus.FAILED if new.last_error and new.last_error.startswith("LeaseExpired"):
            watch.reached(State.LEASE_FAILED)
        case _:
            watch.fail(f"job {old.id} was {new.status} by a machine that does not hold it")


@rule
def a_poll_is_committed_by_whoever_claimed_it(watch: "Watch", commit: "Commit") -> None:
    for old, new in _both(commit.stages):
        taken = new.poll_token is not None and new.poll_token != old.poll_token
        if taken and old.poll_token is not None and old.poll_until is not None:
            if old.poll_until > commit.now:
                watch.fail(f"two polls of {new.stage_id} at once")
            watch.reached(State.POLL_EXPIRED)
        if taken:
            watch.holders.stages[new.id] = commit.by
            continue
        polled = old.status is StageStatus.SUSPENDED and new.status not in {old.status, StageStatus.CANCELLED}
        waits = old.status is new.status is StageStatus.SUSPENDED and old.next_poll_at != new.next_poll_at
        if (polled or waits) and watch.holders.stages.get(new.id) is not commit.by:
            watch.fail(f"the answer about {new.stage_id} was committed by a poller that had lost it")


@rule
def a_wait_can_be_too_long(watch: "Watch", commit: "Commit") -> None:
    for old, new in _both(commit.stages):
        if (
            old.status is StageStatus.SUSPENDED
            and new.status is StageStatus.FAILED
            and new.error_code == "STAGE_TIMEOUT"
        ):
            watch.reached(State.WAITED_TOO_LONG)


@rule
def a_stage_is_completed_once(watch: "Watch", commit: "Commit") -> None:
    for old, new in commit.stages:
        if new is None or new.status is not StageStatus.COMPLETED:
            continue
        if old is not None and old.status is StageStatus.COMPLETED:
            watch.fail(f"the COMPLETED stage {new.stage_id} was changed")
        job = next(job for job in watch.jobs_of(new.workflow_run_id) if job.stage_record_id == new.id)
        polled = old is not None and old.status is StageStatus.SUSPENDED
        if job.status is not JobStatus.COMPLETED:
            watch.fail(f"stage {new.stage_id} is COMPLETED and its job {job.status}")
        watch.completed_by[new.id] = "a poll" if polled else job.lease_token or "nobody"
        if polled:
            watch.reached(State.POLLED)
        elif job.attempt > 1 and job.last_error:
            watch.reached(State.RETRIED)
        if new.output_data is not None and "blob" in new.output_data:
            watch.reached(State.BLOB_OUTPUT)


@rule
def stages_are_replaced_by_a_rerun_alone(watch: "Watch", commit: "Commit") -> None:
    generations = {
        (row.workflow_run_id, row.stage_id): row.generation for row, gone in commit.stages if row and not gone
    }
    for run_id in {run_id for run_id, _ in generations}:
        if watch.runs[run_id].status not in ENDED_RUNS or watch.run(run_id).status is not RunStatus.RUNNING:
            watch.fail(f"stages of run {run_id} were deleted without a rerun")
    for old, new in commit.stages:
        if old is None and new is not None:
            before = generations.get((new.workflow_run_id, new.stage_id), -1)
            if new.generation <= before:
                watch.fail(f"stage {new.stage_id} came again as generation {new.generation}")


@rule
def what_has_ended_stays_as_it_is(watch: "Watch", commit: "Commit") -> None:
    """Until a rerun, nothing of an ended run changes but the number of its events."""
    for run_id in commit.run_ids():
        before, after = watch.runs.get(run_id), watch.run(run_id)
        if before is None or before.status not in ENDED_RUNS or after.status is RunStatus.RUNNING:
            continue
        told = replace(
            before, event_seq=after.event_seq, last_event_at=after.last_event_at, updated_at=after.updated_at
        )
        if after != told:
            watch.fail(f"the ended run {run_id} was changed")
        rows: list[StageRecord | JobRecord] = [
            row for pairs in (commit.stages, commit.jobs) for _, row in pairs if row is not None
        ]
        if any(row.workflow_run_id == run_id for row in rows):
            watch.fail(f"a stage or job of the ended run {run_id} was changed by {commit.name}")


@rule
def nothing_is_noted_about_what_has_ended(watch: "Watch", _commit: "Commit") -> None:
    """No log, artifact or annotation of a stage is written any more; somebody from outside may annotate the run."""
    for run_id, run in watch.tables.runs._rows.items():
        notes = watch.notes_of(run_id)
        before = watch.runs.get(run_id)
        stays = run.status in ENDED_RUNS and before is not None and before.status in ENDED_RUNS
        if stays and notes != watch.notes[run_id]:
            watch.fail(f"the ended run {run_id} got notes: {watch.notes[run_id]}, then {notes}")
        watch.notes[run_id] = notes


@rule
def every_run_is_sound(watch: "Watch", commit: "Commit") -> None:
    for run_id in commit.run_ids():
        run, stages, jobs = watch.run(run_id), watch.stages_of(run_id), watch.jobs_of(run_id)
        if run.status in ENDED_RUNS:
            _check_ended(watch, run, stages, jobs)
        elif run.status is RunStatus.RUNNING:
            _check_running(watch, run, stages, jobs)
        elif stages or jobs:
            watch.fail(f"run {run_id} is PENDING and has stages or jobs")


def _check_ended(watch: "Watch", run: RunRecord, stages: list[StageRecord], jobs: list[JobRecord]) -> None:
    left = [row.id for row in stages if row.status in OPEN_STAGES] + [row.id for row in jobs if row.status in OPEN_JOBS]
    if left or run.completed_at is None or run.group_open != 0:
        watch.fail(f"run {run.id} is {run.status} and has open rows: {left}")
    if run.status is RunStatus.FAILED and run.failure_code not in FAILURES:
        watch.fail(f"run {run.id} failed with {run.failure_code}: {run.failure_message}")
    if run.status is RunStatus.COMPLETED:
        watch.world.behaviours.check_output(run, stages)


def _check_running(watch: "Watch", run: RunRecord, stages: list[StageRecord], jobs: list[JobRecord]) -> None:
    open_jobs: dict[str, list[JobStatus]] = {}
    for job in jobs:
        if job.status in OPEN_JOBS:
            open_jobs.setdefault(job.stage_record_id, []).append(job.status)
            if (job.lease_until is not None) is not (job.status is JobStatus.RUNNING):
                watch.fail(f"job {job.id} is {job.status} with a lease until {job.lease_until}")
    group = [stage for stage in stages if stage.execution_group == run.group_no]
    open_stages = sum(stage.id in open_jobs for stage in group)
    if run.group_open != open_stages or open_stages == 0:
        watch.fail(f"run {run.id} counts {run.group_open} open stages and has {open_stages}")
    for stage in stages:
        _check_stage(watch, stage, open_jobs.get(stage.id, []))
    if run.failure_code is not None and any(
        job is not JobStatus.RUNNING for each in open_jobs.values() for job in each
    ):
        watch.fail(f"the failing run {run.id} waits for more than running bodies: {open_jobs}")


def _check_stage(watch: "Watch", stage: StageRecord, jobs: list[JobStatus]) -> None:
    match stage.status:
        case StageStatus.PENDING | StageStatus.RUNNING | StageStatus.SUSPENDED:
            is_sound = jobs == [JobStatus(stage.status)]
        case StageStatus.FAILED:
            is_sound = jobs in ([], [JobStatus.PENDING])
        case _:
            is_sound = jobs == []
    if not is_sound:
        watch.fail(f"stage {stage.stage_id} is {stage.status} with the jobs {jobs}")
    if (stage.status is StageStatus.COMPLETED) is not (stage.output_data is not None):
        watch.fail(f"stage {stage.stage_id} is {stage.status} with the output {stage.output_data}")
    if (stage.status is StageStatus.SUSPENDED) is not (stage.next_poll_at is not None):
        watch.fail(f"stage {stage.stage_id} is {stage.status} with a poll at {stage.next_poll_at}")


@rule
def a_failing_run_cancels_what_waits(watch: "Watch", commit: "Commit") -> None:
    for old, new in _both(commit.runs):
        if old.failure_code is None and new.failure_code is not None and new.status is RunStatus.RUNNING:
            watch.reached(State.FAILING_WAITS)
            if any(job and job.status is JobStatus.CANCELLED for _, job in commit.jobs):
                watch.reached(State.FAIL_FAST)
        if old.failure_code is not None and new.failure_code not in {None, old.failure_code}:
            watch.fail(f"run {new.id} first failed with {old.failure_code}, then with {new.failure_code}")


@rule
def nobody_starts_in_a_failing_run(watch: "Watch", commit: "Commit") -> None:
    for old, new in _both(commit.jobs):
        is_taken = new.status is JobStatus.RUNNING and new.lease_token != old.lease_token
        if is_taken and watch.run(new.workflow_run_id).failure_code is not None:
            watch.fail(f"job {new.id} was claimed in a failing run")


@rule
def events_are_gapless_and_in_time(watch: "Watch", commit: "Commit") -> None:
    new = [event for old, event in commit.events if old is None and event is not None]
    for event in sorted(new, key=lambda each: (each.workflow_run_id, each.sequence)):
        run = watch.run(event.workflow_run_id)
        before = watch.tables.outbox._rows.get(f"{run.id}.{event.sequence - 1}")
        if before is None and event.sequence != 1:
            watch.fail(f"event {event.sequence} of run {run.id} follows none")
        if before is not None and before.occurred_at > event.occurred_at:
            watch.fail(f"event {event.sequence} of run {run.id} is before {before.sequence} in time")
        if event.event_type != "annotation:created":
            _check_place(watch, event)
            watch.last_events[run.id] = event
    for run_id in {event.workflow_run_id for event in new}:
        if watch.run(run_id).event_seq != max(e.sequence for e in new if e.workflow_run_id == run_id):
            watch.fail(f"run {run_id} counts {watch.run(run_id).event_seq} events and has others")


def _check_place(watch: "Watch", event: OutboxRecord) -> None:
    """After the end of a run only a rerun is told of."""
    last = watch.last_events.get(event.workflow_run_id)
    is_rerun = event.event_type == "workflow:started" and event.payload.get("from_stage_id") is not None
    if last is not None and last.event_type in END_OF.values() and not is_rerun:
        watch.fail(f"{event.event_type} of run {event.workflow_run_id} follows {last.event_type}")


@rule
def the_end_of_a_run_is_told(watch: "Watch", commit: "Commit") -> None:
    for _, run in commit.runs:
        if run is not None and run.status in ENDED_RUNS:
            last = watch.last_events[run.id].event_type
            if last != END_OF[run.status]:
                watch.fail(f"run {run.id} is {run.status} and its last event is {last}")


@rule
def a_stage_tells_of_one_completion(watch: "Watch", commit: "Commit") -> None:
    completed = [new for old, new in commit.stages if new and new.status is StageStatus.COMPLETED]
    told = [e for old, e in commit.events if old is None and e is not None and e.event_type == "stage:completed"]
    if len(completed) != len(told):
        watch.fail(f"{len(completed)} stages were completed and {len(told)} completions told")


@rule
def an_event_is_published_by_whoever_claimed_it(watch: "Watch", commit: "Commit") -> None:
    overtaken = False
    for old, new in _both(commit.events):
        taken = new.claim_token is not None and new.claim_token != old.claim_token
        if taken and old.claim_token is not None:
            if old.claimed_until is not None and old.claimed_until > commit.now:
                watch.fail(f"two flushers hold event {new.id}")
            overtaken = True
        if taken:
            watch.holders.events[new.id] = commit.by
        elif (old.published_at, old.dlq_at) != (new.published_at, new.dlq_at):
            _check_publication(watch, commit, old, new)
    if overtaken:
        watch.reached(State.FLUSH_OVERTAKEN)


def _check_publication(watch: "Watch", commit: "Commit", old: OutboxRecord, new: OutboxRecord) -> None:
    if old.published_at is not None:
        watch.fail(f"event {new.id} was published twice")
    if old.dlq_at is not None and new.dlq_at is None:
        watch.reached(State.REDRIVEN)
        return
    if watch.holders.events.get(new.id) is not commit.by:
        watch.fail(f"event {new.id} was marked by a flusher that does not hold it")
    if new.dlq_at is not None:
        watch.reached(State.DEAD_LETTER)
