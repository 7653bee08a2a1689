"""A state machine of runs under all events that can happen to them, in any order.

Workers take a job, run its body and commit its outcome as separate steps, so that several of them can hold attempts
of the same job, some long expired. The machine chooses the result of a body or completion check when it runs.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine import BatchFailed, CheckContext, NotReady, Ready, RetryPolicy, StageContext, Suspended, SuspendedState
from engine.domain.errors import RerunRefused
from engine.domain.lifecycle import ENDED_RUNS, RunStatus
from engine.execution.attempt import Attempt
from engine.kernel import (
    JobExecute,
    LeaseReapStale,
    RunCancel,
    RunClaimPending,
    RunReapStuck,
    RunReconcile,
    RunRerunFrom,
    RunTransition,
    StagePollSuspended,
)
from engine.kernel.host_commands import JobRelease, JobTimeout
from engine.ports.event_sink import SinkUnavailable
from engine.ports.persistence import Lease, Persistence
from engine.testing import CollectingEventSink, FakeClock
from engine.transitions.facts import Completed, Outcome
from tests.kernel.bench import LEASE, Bench
from tests.kernel.workflows import Body, batch_stage, pipeline, stage
from tests.properties.checked_persistence import CheckedPersistence
from tests.properties.soundness import check_events, check_rows

MAX_RUNS = 2
TURNS_TO_END = 400

any_one = st.integers(0, 23)
behaviours = st.sampled_from(["complete", "complete", "suspend", "fail", "suspend", "give up"])
answers = st.sampled_from(["ready", "ready", "not ready", "failed", "raise"])
starts = st.sampled_from([True, True, False])
keys = st.sampled_from([None, "key"])


class GivenUp(Exception):
    """An error that must not be retried."""


RETRY = RetryPolicy(max_attempts=3, give_up_on=(GivenUp,), jitter=0)


class Held:
    """An attempt that a worker holds, or believes to hold."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.outcome: Outcome | None = None


class RunMachine(RuleBasedStateMachine):
    open_store: Callable[[FakeClock], Persistence]

    @initialize()
    def begin(self) -> None:
        self.behaviour, self.answer = "complete", "ready"
        self.clock = FakeClock()
        self.store = CheckedPersistence(type(self).open_store(self.clock))
        self.sink = CollectingEventSink()
        self.bench = Bench(
            pipeline(self._batch("a"), self._stage("b"), self._stage("c"), workflow_id="line"),
            pipeline([self._stage("a"), self._batch("b")], [self._stage("c"), self._stage("d")], workflow_id="fan"),
            clock=self.clock,
            persistence=self.store,
            event_sink=self.sink,
        )
        self.runs: list[str] = []
        self.held: list[Held] = []
        self.accepted: dict[str, str] = {}

    # What users do

    @precondition(lambda self: len(self.runs) < MAX_RUNS)
    @rule(workflow=st.sampled_from(["line", "fan"]), start=starts, key=keys)
    def create(self, workflow: str, start: bool, key: str | None) -> None:
        create = self.bench.create if start else self.bench.create_pending
        run_id = create(workflow, "in", idempotency_key=key and f"{key} {workflow} {start}")
        if run_id not in self.runs:
            self.runs.append(run_id)

    @precondition(lambda self: self.runs)
    @rule(which=any_one, mood=st.integers(0, 3))
    def cancel(self, which: int, mood: int) -> None:
        if mood:
            return  # users seldom do
        self.bench.dispatch(RunCancel(workflow_run_id=self._run(which)))
        assert self.bench.run_of(self._run(which)).status in ENDED_RUNS

    @precondition(lambda self: self.runs)
    @rule(which=any_one, stage_id=st.sampled_from("abc"), override=st.sampled_from([None, "other"]))
    def rerun(self, which: int, stage_id: str, override: str | None) -> None:
        try:
            command = RunRerunFrom(workflow_run_id=self._run(which), from_stage_id=stage_id, input_override=override)
            self.bench.dispatch(command)
        except RerunRefused:
            return
        assert self.bench.run_of(self._run(which)).status is RunStatus.RUNNING

    @precondition(lambda self: self.runs)
    @rule(which=any_one)
    def attach(self, which: int) -> None:
        self.bench.annotations.attach(self._run(which), attributes={"k": 1}, idempotency_key="k", emit_event=True)

    # What workers do

    @rule()
    def deliver(self) -> None:
        self._hold(self.bench.try_start())

    @rule(behaviours=st.lists(behaviours, min_size=1, max_size=5))
    def work(self, behaviours: list[str]) -> None:
        """A worker without faults."""
        for behaviour in behaviours:
            self.behaviour = behaviour
            started = self.bench.try_start()
            if isinstance(started, Attempt) and isinstance(self.bench.finish(started).outcome, Completed):
                self._accept(started)

    @rule(behaviours=st.lists(behaviours, min_size=2, max_size=3), last_first=st.booleans())
    def work_side_by_side(self, behaviours: list[str], last_first: bool) -> None:
        """Workers that start together and end one after the other."""
        begun = []
        for behaviour in behaviours:
            started = self.bench.try_start()
            if isinstance(started, Attempt):
                self.behaviour = behaviour
                begun.append((started, self.bench.perform(started)))
        for attempt, outcome in begun[::-1] if last_first else begun:
            if isinstance(self.bench.finish(attempt, outcome).outcome, Completed):
                self._accept(attempt)

    @rule(behaviour=behaviours)
    def work_on_all(self, behaviour: str) -> None:
        """A worker that continues from stage to stage."""
        self.behaviour = behaviour
        self._work_off()

    @precondition(lambda self: self.runs)
    @rule(which=any_one, job=any_one)
    def deliver_again(self, which: int, job: int) -> None:
        jobs = self.bench.reads.run(self._run(which)).jobs
        if jobs:
            self._hold(self.bench.try_start(job_id=jobs[job % len(jobs)].id))

    @precondition(lambda self: self.held)
    @rule(which=any_one, behaviour=behaviours)
    def perform(self, which: int, behaviour: str) -> None:
        held = self.held[which % len(self.held)]
        self.behaviour = behaviour
        held.outcome = self.bench.perform(held.attempt)

    @precondition(lambda self: any(held.outcome for held in self.held))
    @rule(which=any_one, go_on=st.booleans(), forget=st.booleans())
    def finish(self, which: int, go_on: bool, forget: bool) -> None:
        performed = [held for held in self.held if held.outcome]
        held = performed[which % len(performed)]
        finished = self.bench.finish(held.attempt, held.outcome, lease=self._lease() if go_on else None)
        if isinstance(finished.outcome, Completed):
            self._accept(held.attempt)
        self._hold(finished.next)
        if forget:
            self.held.remove(held)

    @precondition(lambda self: self.held)
    @rule(which=any_one, progress=st.booleans())
    def beat(self, which: int, progress: bool) -> None:
        attempt = self.held[which % len(self.held)].attempt
        if progress:
            attempt.recorder.progress(0.5)
        self.bench.beat(attempt)

    @precondition(lambda self: self.held)
    @rule(which=any_one)
    def release_lease(self, which: int) -> None:
        self.bench.dispatch(JobRelease(attempt=self.held[which % len(self.held)].attempt))

    @precondition(lambda self: self.held)
    @rule(which=any_one)
    def time_out(self, which: int) -> None:
        attempt = self.held[which % len(self.held)].attempt
        job = attempt.claim.job
        self.bench.dispatch(
            JobTimeout(workflow_run_id=job.workflow_run_id, job_id=job.id, lease_token=attempt.token, seconds=1)
        )

    @precondition(lambda self: self.runs)
    @rule(which=any_one, stage_id=st.sampled_from("abcd"), behaviour=behaviours)
    def execute(self, which: int, stage_id: str, behaviour: str) -> None:
        self.behaviour = behaviour
        run_id = self._run(which)
        workflow_id = self.bench.run_of(run_id).workflow_id
        self.bench.dispatch(JobExecute(workflow_run_id=run_id, workflow_id=workflow_id, stage_id=stage_id))

    # What time and maintenance do

    @rule(seconds=st.sampled_from([1.0, 5.0, 61.0, 301.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def claim_pending(self) -> None:
        self.bench.dispatch(RunClaimPending(worker_id="w", max_claims=2))

    @rule(answer=answers)
    def poll(self, answer: str) -> None:
        self.answer = answer
        self.bench.dispatch(StagePollSuspended())

    @rule()
    def reap(self) -> None:
        self.bench.dispatch(LeaseReapStale())
        self.bench.dispatch(RunReapStuck(stuck_threshold=0))

    @precondition(lambda self: self.runs)
    @rule(which=any_one, answer=answers)
    def reconcile(self, which: int, answer: str) -> None:
        self.answer = answer
        self.bench.dispatch(RunReconcile(workflow_run_id=self._run(which)))

    @precondition(lambda self: self.runs)
    @rule(which=any_one)
    def transition(self, which: int) -> None:
        assert self.bench.dispatch(RunTransition(workflow_run_id=self._run(which))).action == "noop"

    @rule(failures=st.integers(0, 2))
    def flush(self, failures: int) -> None:
        self.sink.failures = [SinkUnavailable("throttled")] * failures
        self.bench.publish()

    # What must always hold

    @invariant()
    def every_run_is_sound(self) -> None:
        for run_id in getattr(self, "runs", []):
            view = self.bench.reads.run(run_id)
            check_events(self.bench, view)
            check_rows(view)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            self._end_all_runs()
        finally:
            self.store.close()

    def _end_all_runs(self) -> None:
        self.behaviour, self.answer, self.sink.failures = "complete", "ready", []
        for _ in range(TURNS_TO_END):
            if not self._open_runs() and self.bench.reads.backlog()[0] == 0:
                break
            self.bench.dispatch(RunClaimPending(worker_id="w"))
            self._work_off()
            self.bench.dispatch(StagePollSuspended())
            self.bench.dispatch(LeaseReapStale())
            self.bench.publish()
            self.clock.advance(30)
        assert self._open_runs() == []
        self.every_run_is_sound()
        for run_id in self.runs:
            published = [event.sequence for event in self.sink.events if event.workflow_run_id == run_id]
            assert published == list(range(1, len(self.bench.told(run_id)) + 1)), "published once, in order"

    def _work_off(self) -> None:
        """Runs whatever can be claimed, as a host does."""
        following: object = self.bench.try_start()
        while isinstance(following, Attempt):
            finished = self.bench.finish(following, lease=self._lease())
            if isinstance(finished.outcome, Completed):
                self._accept(following)
            following = finished.next or self.bench.try_start()

    def _lease(self) -> Lease:
        return Lease(worker_id="w1", token=self.bench.kernel.deps.ids.token(), seconds=LEASE)

    def _open_runs(self) -> list[str]:
        return [run_id for run_id in self.runs if self.bench.run_of(run_id).status not in ENDED_RUNS]

    def _run(self, which: int) -> str:
        return self.runs[which % len(self.runs)]

    def _hold(self, started: object) -> None:
        if isinstance(started, Attempt):
            self.held.append(Held(started))

    def _accept(self, attempt: Attempt) -> None:
        """Checks that at most one attempt of a stage record is told that its result was stored."""
        record_id = attempt.claim.stage.id
        assert self.accepted.setdefault(record_id, attempt.token) == attempt.token

    def _stage(self, stage_id: str) -> Any:
        return stage(stage_id, self._body(suspends=False), retry=RETRY)

    def _batch(self, stage_id: str) -> Any:
        return batch_stage(self._check, stage_id, self._body(suspends=True), retry=RETRY)

    def _body(self, *, suspends: bool) -> Body:
        def body(ctx: StageContext[Any, Any]) -> Any:
            ctx.annotate("attempt", ctx.attempt)
            match self.behaviour:
                case "fail":
                    raise ValueError("boom")
                case "give up":
                    raise GivenUp("for good")
                case "suspend" if suspends:
                    return Suspended("batch", poll_interval=60, max_wait=600)
                case _:
                    return [ctx.generation, ctx.attempt]

        return body

    def _check(self, _state: SuspendedState, _ctx: CheckContext[Any]) -> Any:
        match self.answer:
            case "ready":
                return Ready("polled")
            case "not ready":
                return NotReady()
            case "failed":
                return BatchFailed("by the provider")
            case _:
                raise ValueError("the check broke")
