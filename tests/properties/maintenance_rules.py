from collections.abc import Sequence
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.domain.errors import EngineError
from engine.domain.lifecycle import ENDED_RUNS, JobStatus, RunStatus, StageStatus
from engine.kernel import (
    LeaseReapStale,
    OutboxFlush,
    PartiallyDelivered,
    PluginReplayDLQ,
    RunClaimPending,
    RunReapStuck,
    RunReconcile,
    RunTransition,
    SinkUnavailable,
    StagePollSuspended,
)
from engine.kernel.host_commands import LeaseRelease
from engine.kernel.pruning import prune
from tests.properties.behaviours import Answer, answers
from tests.properties.benches import Crash, StoreBench
from tests.properties.machine_state import MachineState, any_one, pick, seldom

FAILURES = ("unavailable", "refused", "delivered in part", "crash")

failures = st.lists(st.sampled_from(FAILURES), max_size=3)


class MaintenanceRules(MachineState):
    @rule(seconds=st.sampled_from([1.0, 5.0, 60.0, 300.0, 1000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.wait(seconds)

    @precondition(lambda self: self.has("runs", RunStatus.PENDING))
    @rule(most=st.integers(1, 3))
    def claim_pending(self, most: int) -> None:
        self.do("claim pending runs", lambda bench: bench.dispatch(RunClaimPending(worker_id="w", max_claims=most)))

    @precondition(lambda self: self.has("stages", StageStatus.SUSPENDED))
    @rule(seconds=st.sampled_from([60.0, 60.0, 0.0, 600.0]), answer=answers, which=st.none() | any_one)
    def poll(self, seconds: float, answer: Answer, which: int | None) -> None:
        """All stages that are due, or one."""
        self.wait(seconds)
        self.script.answer = answer
        record_id = None if which is None else pick(self.rows["stages"], which).id
        self.do("poll", lambda bench: bench.dispatch(StagePollSuspended(stage_record_id=record_id)))

    @precondition(lambda self: self.has("jobs", JobStatus.RUNNING))
    @rule(seconds=st.sampled_from([300.0, 300.0, 0.0, 600.0]), threshold=st.sampled_from([300.0, 300.0, 600.0]))
    def reap_stale(self, seconds: float, threshold: float) -> None:
        self.wait(seconds)
        self.do("reap stale leases", lambda bench: bench.dispatch(LeaseReapStale(stale_threshold=threshold)))

    @precondition(lambda self: self.has("jobs", JobStatus.RUNNING))
    @rule(workers=st.sampled_from([("w1",), ("w2", "job.execute"), ()]), uncounted=st.booleans())
    def release_leases_of_workers(self, workers: tuple[str, ...], uncounted: bool) -> None:
        command = LeaseRelease(worker_ids=workers, uncounted=uncounted)
        self.do("release the leases of workers", lambda bench: bench.dispatch(command))

    @precondition(lambda self: self.runs)
    @rule(which=any_one, answer=answers, how=st.sampled_from(["reconcile", "transition", "reap stuck runs"]))
    def look_after(self, which: int, answer: Answer, how: str) -> None:
        self.script.answer = answer
        run_id = self.run_id(which)
        match how:
            case "reconcile":
                self.do(how, lambda bench: bench.dispatch(RunReconcile(workflow_run_id=run_id)))
            case "transition":
                moved = self.do_one(how, lambda bench: bench.dispatch(RunTransition(workflow_run_id=run_id)))
                assert run_id in self.damaged or isinstance(moved, EngineError) or moved.action == "noop"
            case _:
                self.do(how, lambda bench: bench.dispatch(RunReapStuck(stuck_threshold=0)))

    @rule(
        kinds=failures,
        most=st.sampled_from([100, 100, 2]),
        max_retries=st.sampled_from([1, 3]),
        seconds=st.sampled_from([0.0, 5.0, 60.0]),
    )
    def flush(self, kinds: Sequence[str], most: int, max_retries: int, seconds: float) -> None:
        def flush(bench: StoreBench) -> object:
            bench.events.max_retries = max_retries
            bench.events.failures = [_failure(kind) for kind in kinds]  # type: ignore[misc]  # the fake raises anything
            return bench.dispatch(OutboxFlush(max_events=most))

        self.wait(seconds)
        self.do("flush", flush)

    @precondition(lambda self: any(event.dlq_at for event in self.rows["outbox"].values()))
    @rule(event_type=st.sampled_from([None, "stage:started"]))
    def replay_dead_letters(self, event_type: str | None) -> None:
        command = PluginReplayDLQ(event_type=event_type)
        self.do("replay dead letters", lambda bench: bench.dispatch(command))

    @precondition(lambda self: self.has("runs", *ENDED_RUNS))
    @rule(is_meant=seldom, older_than=st.sampled_from([0.0, 900.0]))
    def prune(self, is_meant: bool, older_than: float) -> None:
        if is_meant:
            age, lease = timedelta(seconds=older_than), timedelta(minutes=5)
            self.do("prune", lambda bench: prune(bench.kernel.deps, age, lease=lease))


def _failure(kind: str) -> BaseException:
    match kind:
        case "unavailable":
            return SinkUnavailable("throttled")
        case "refused":
            return ValueError("not an event of ours")
        case "delivered in part":
            return PartiallyDelivered(frozenset({"mail", "chat"}), ValueError("the log is full"))
        case _:
            return Crash(kind)
