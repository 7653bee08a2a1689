"""What the engine answers to those who call it: checked, and rare answers counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.domain.lifecycle import JobStatus, RunStatus
from engine.execution.attempt import Attempt
from engine.kernel.commands import OutboxFlush, RunCancel, RunRerunFrom
from engine.kernel.host_commands import Finished, JobFinish, JobRelease, JobStart, JobTimeout
from engine.kernel.kernel import Kernel
from engine.ports.changes import JobUpdate, Reason, Refused, RunUpdate, Written
from engine.ports.deps import Deps
from engine.ports.persistence import Claim, ClaimRequest, NoClaim
from engine.transitions.facts import Completed, Ghost
from tests.faults.simulation.sometimes import State

if TYPE_CHECKING:
    from tests.faults.simulation.world import World


class CheckedKernel(Kernel):
    """A kernel whose answers to hosts are checked against what was committed."""

    def __init__(self, deps: Deps, world: "World") -> None:
        super().__init__(deps)
        self._world = world

    def dispatch(self, command: Any) -> Any:
        match command:
            case JobFinish():
                return self._finish(command)
            case JobStart():
                return self._start(command)
            case _:
                answer = super().dispatch(command)
                self._note(command, answer)
                return answer

    def _start(self, command: JobStart) -> Attempt | NoClaim:
        started = super().dispatch(command)
        process = self._world.current
        if isinstance(started, Attempt) and process is not None:
            process.machine.attempts.append(started)
        return started

    def _finish(self, command: JobFinish) -> Finished:
        process = self._world.current
        assert process is not None
        process.finishing, process.refused_writes, process.was_repeated = command.attempt, 0, False
        try:
            finished = super().dispatch(command)
        finally:
            process.finishing = None
        if command.attempt in process.machine.attempts:
            process.machine.attempts.remove(command.attempt)
        if finished.next is not None:
            process.machine.attempts.append(finished.next)
            self._world.reached(State.CONTINUED_AFTER_LOSS if process.was_repeated else State.CONTINUED)
        self._check(command.attempt, finished)
        return finished

    def _check(self, attempt: Attempt, finished: Finished) -> None:
        """Whoever is told that an output was stored is the one whose output was stored, and the other way round."""
        stored_by = self._world.watch.completed_by.get(attempt.claim.stage.id)
        if isinstance(finished.outcome, Completed):
            if stored_by != attempt.token:
                self._world.fail(f"the finish under {attempt.token} was accepted, and {stored_by} is what was stored")
        elif isinstance(finished.outcome, Ghost):
            self._world.reached(State.GHOST)
            if stored_by == attempt.token and self._world.watch.has_stage(attempt.claim.stage.id):
                self._world.fail(f"the finish under {attempt.token} was stored and its worker told that it was not")

    def _note(self, command: Any, answer: Any) -> None:
        match command:
            case JobRelease() if answer:
                self._world.reached(State.UNCOUNTED)
            case JobTimeout() if answer:
                self._world.reached(State.TIMED_OUT)
            case RunCancel() if answer.cancelled:
                self._world.watch.check_cancelled(command.workflow_run_id)
            case RunRerunFrom():
                self._world.reached(State.RERUN)
            case OutboxFlush(workflow_run_id=str() as run_id) if not (answer.published or answer.failed):
                self._note_flush(run_id)
            case _:
                pass

    def _note_flush(self, run_id: str) -> None:
        """Why a run's events were left alone."""
        first, now = self._world.watch.first_open_event(run_id), self._world.clock.now()
        if first is not None and first.next_attempt_at is not None and first.next_attempt_at > now:
            self._world.reached(State.HELD_BACK)
        elif first is not None and first.claimed_until is not None and first.claimed_until > now:
            self._world.reached(State.OUTBOX_BUSY)


@dataclass(slots=True)
class Answers:
    """Checks and counts answers of the store."""

    world: "World"

    def of_write(self, written: Written | Refused) -> None:
        process = self.world.current
        if process is not None and isinstance(written, Refused):
            process.refused_writes += 1

    def of_decision(self, written: Written | Refused) -> None:
        process = self.world.current
        if process is None or process.finishing is None:
            return
        if isinstance(written, Refused):
            self._of_refusal(written, process.finishing)
        else:
            self._of_second_way(written, process.finishing, was_refused=process.refused_writes > 0)

    def _of_second_way(self, written: Written, attempt: Attempt, *, was_refused: bool) -> None:
        if was_refused:
            self.world.reached(State.DECIDED_LATE)
        run = written.changes.run
        if attempt.claim.run.group_open > 1 and isinstance(run, RunUpdate):
            moved_on = "group_no" in run.set or run.set.get("status") is RunStatus.COMPLETED
            if moved_on and was_refused:
                self.world.reached(State.LAST_SIBLING)
        jobs = (write for write in written.changes.writes if isinstance(write, JobUpdate))
        given_up = any(attempt.claim.job.id in job.ids and job.set.get("status") is JobStatus.CANCELLED for job in jobs)
        if given_up:
            failed = any(event.type == "stage:failed" for event in written.changes.events)
            self.world.reached(State.RETRY_WHILE_FAILING if failed else State.SUSPEND_WHILE_FAILING)

    def _of_refusal(self, refused: Refused, attempt: Attempt) -> None:
        if refused.reason is Reason.REPEAT:
            self.world.reached(State.FINISH_REPEATED)
            assert self.world.current is not None
            self.world.current.was_repeated = True
        elif self.world.watch.is_held_by(attempt):
            self.world.fail(f"the finish of the worker that holds {attempt.token} was refused: {refused.reason}")

    def of_claim(self, request: ClaimRequest, claim: Claim | NoClaim) -> None:
        watch = self.world.watch
        if isinstance(claim, Claim):
            if watch.has_token(request.lease.token):
                self.world.reached(State.CLAIM_REPEATED)
            if claim.job.id in self.world.lost_jobs:
                self.world.lost_jobs.remove(claim.job.id)
                self.world.reached(State.LOST_MESSAGE)
        elif request.job_id is not None and watch.is_leased(request.job_id):
            self.world.reached(State.SECOND_CLAIM)

    def of_wake(self, command: Mapping[str, Any], at: datetime) -> None:
        """A poller that finds another one at the stage asks to be woken when that one's claim ends."""
        stage = self.world.watch.stages.get(command.get("stage_record_id", ""))
        if stage is not None and stage.poll_until == at:
            self.world.reached(State.POLL_LOST)
