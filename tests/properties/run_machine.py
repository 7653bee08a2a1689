from engine.domain.lifecycle import ENDED_RUNS
from engine.kernel import LeaseReapStale, OutboxFlush, RunClaimPending, StagePollSuspended
from tests.properties.behaviours import Answer, Behaviour, End
from tests.properties.benches import StoreBench
from tests.properties.fault_rules import DamageRules, FaultRules
from tests.properties.maintenance_rules import MaintenanceRules
from tests.properties.user_rules import UserRules
from tests.properties.worker_rules import WorkerRules

TURNS_TO_END = 400


class StoreMachine(UserRules, WorkerRules, MaintenanceRules, FaultRules, DamageRules):
    """Anything can happen."""


class RunMachine(UserRules, WorkerRules, MaintenanceRules, FaultRules):
    """Anything can happen that an engine without bugs can meet; then every run ends, and all of it is published."""

    def teardown(self) -> None:
        try:
            self._end_all_runs()
        finally:
            super().teardown()

    def _end_all_runs(self) -> None:
        self.script.answer = Answer()
        for _ in range(TURNS_TO_END):
            self.do("heal", StoreBench.heal)
            if not self._open_runs() and self.bench.reads.backlog()[0] == 0:
                break
            self.do("claim pending runs", lambda bench: bench.dispatch(RunClaimPending(worker_id="w")))
            self.work_off(Behaviour(End.RICH))
            self.do("poll", lambda bench: bench.dispatch(StagePollSuspended()))
            self.do("reap stale leases", lambda bench: bench.dispatch(LeaseReapStale()))
            self.do("flush", lambda bench: bench.dispatch(OutboxFlush()))
            self.wait(30)
        assert self._open_runs() == []
        self.stores_are_equal_and_sound()
        self._check_published()

    def _open_runs(self) -> list[str]:
        return [run_id for run_id in self.runs if self.bench.run_of(run_id).status not in ENDED_RUNS]

    def _check_published(self) -> None:
        """All but dead letters went out, and in order, unless a dead letter let others pass."""
        for run_id in self.runs:
            events = [event for event in self.bench.events.events if event.workflow_run_id == run_id]
            firsts = list(dict.fromkeys(event.sequence for event in events))
            stored = self.bench.reads.events(run_id)
            assert set(firsts) >= {event.sequence for event in stored if event.dlq_at is None}
            if not any(event.id in self.dead for event in stored):
                assert firsts == sorted(firsts), "published in order"
