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
from engine.kernel.pruning import prune
from tests.properties.behaviours import Answer, answers
from tests.properties.benches import Crash, StoreBench
from tests.properties.machine_state import MachineState, any_one, seldom

FAILURES = ("unavailable", "refused", "delivered in part", "crash")

failures = st.lists(st.sampled_from(FAILURES), max_size=3)


class MaintenanceRules(MachineState):
    @rule(seconds=st.sampled_from([1.0, 5.0, 61.0, 301.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        self.do("wait", lambda bench: bench.clock.advance(seconds))

    @precondition(lambda self: self.has("runs", RunStatus.PENDING))
    @rule(most=st.integers(1, 3))
    def claim_pending(self, most: int) -> None:
        self.do("claim pending runs", lambda bench: bench.dispatch(RunClaimPending(worker_id="w", max_claims=most)))

    @precondition(lambda self: self.has("stages", StageStatus.SUSPENDED))
    @rule(answer=answers, seconds=st.sampled_from([61.0, 61.0, 0.0, 601.0]))
    def poll(self, answer: Answer, seconds: float) -> None:
        self.script.answer = answer
        self.wait(seconds)
        self.do("poll", lambda bench: bench.dispatch(StagePollSuspended()))

    @precondition(lambda self: self.has("stages", StageStatus.SUSPENDED))
    @rule(which=any_one, is_suspended=st.booleans(), answer=answers)
    def poll_one(self, which: int, is_suspended: bool, answer: Answer) -> None:
        self.script.answer = answer
        stages = [
            stage for stage in self.rows["stages"].values() if stage.status is StageStatus.SUSPENDED or not is_suspended
        ]
        command = StagePollSuspended(stage_record_id=stages[which % len(stages)].id)
        self.do("poll one stage", lambda bench: bench.dispatch(command))

    @precondition(lambda self: self.has("jobs", JobStatus.RUNNING))
    @rule(threshold=st.sampled_from([300.0, 300.0, 600.0]))
    def reap_stale(self, threshold: float) -> None:
        self.do("reap stale leases", lambda bench: bench.dispatch(LeaseReapStale(stale_threshold=threshold)))

    @precondition(lambda self: self.has("runs", RunStatus.RUNNING))
    @rule(threshold=st.sampled_from([0.0, 0.0, 900.0]))
    def reap_stuck(self, threshold: float) -> None:
        self.do("reap stuck runs", lambda bench: bench.dispatch(RunReapStuck(stuck_threshold=threshold)))

    @precondition(lambda self: self.runs)
    @rule(which=any_one, answer=answers)
    def reconcile(self, which: int, answer: Answer) -> None:
        self.script.answer = answer
        self.do("reconcile", lambda bench: bench.dispatch(RunReconcile(workflow_run_id=self.run_id(which))))

    @precondition(lambda self: self.runs)
    @rule(which=any_one)
    def transition(self, which: int) -> None:
        run_id = self.run_id(which)
        answer = self.do_one("transition", lambda bench: bench.dispatch(RunTransition(workflow_run_id=run_id)))
        assert run_id in self.damaged or isinstance(answer, EngineError) or answer.action == "noop"

    @rule(kinds=failures, most=st.sampled_from([100, 100, 2]))
    def flush(self, kinds: Sequence[str], most: int) -> None:
        def flush(bench: StoreBench) -> object:
            bench.events.failures = [_failure(kind) for kind in kinds]  # type: ignore[misc]  # the fake raises anything
            return bench.dispatch(OutboxFlush(max_events=most))

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
