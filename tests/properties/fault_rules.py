from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.domain.lifecycle import JobStatus, StageStatus
from engine.domain.values import inline
from engine.execution.attempt import Attempt
from engine.ports.changes import Changes, JobUpdate, Refused, StagePatch, StageUpdate, Write
from tests.properties.machine_state import MachineState, any_one, seldom
from tests.properties.wrapped_persistence import Fault

_ENDS: dict[StageStatus, StagePatch] = {
    StageStatus.COMPLETED: {"status": StageStatus.COMPLETED, "output_data": inline("half done")},
    StageStatus.FAILED: {"status": StageStatus.FAILED, "error_code": "E", "error_message": "half done"},
}


class FaultRules(MachineState):
    @precondition(lambda self: not self.bench.faulty.has_plans)
    @rule(fault=st.sampled_from(Fault), after=st.integers(0, 3))
    def break_the_store(self, fault: Fault, after: int) -> None:
        self.do("plan a fault", lambda bench: bench.faulty.plan(fault, after=after))


class DamageRules(MachineState):
    """Rows as an engine would have left them that did not end stage, job and run in one transaction."""

    @precondition(lambda self: self.held)
    @rule(which=any_one, status=st.sampled_from(sorted(_ENDS)), is_meant=seldom)
    def end_only_the_stage(self, which: int, status: StageStatus, is_meant: bool) -> None:
        attempt: Attempt = self.benches.the(self.attempt(which).attempts)
        stage, job = attempt.claim.stage, attempt.claim.job
        if is_meant:
            self._damage(
                stage.workflow_run_id,
                StageUpdate(
                    ids=(stage.id,), set=_ENDS[status], add={"version": 1}, expect={"status": StageStatus.RUNNING}
                ),
                JobUpdate(
                    ids=(job.id,),
                    set={"status": JobStatus(status), "lease_until": None},
                    expect={"status": JobStatus.RUNNING, "lease_token": job.lease_token},
                ),
            )

    @precondition(lambda self: self.runs)
    @rule(which=any_one, is_meant=seldom)
    def lose_jobs(self, which: int, is_meant: bool) -> None:
        run_id = self.run_id(which)
        pending = tuple(job.id for job in self.bench.reads.run(run_id).jobs if job.status is JobStatus.PENDING)
        if is_meant and pending:
            self._damage(run_id, JobUpdate(ids=pending, set={"status": JobStatus.CANCELLED}))

    def _damage(self, run_id: str, *writes: Write) -> None:
        changes = Changes(run_id=run_id, at=self.bench.clock.now(), writes=writes)
        if not isinstance(self.do_one("damage", lambda bench: bench.persistence.write(changes)), Refused):
            self.damaged.add(run_id)
