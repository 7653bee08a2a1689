import logging
from collections.abc import Sequence

from engine.domain.errors import EngineError
from engine.domain.records import StageRecord
from engine.kernel.commands import StagePollSuspended, StagePollSuspendedResult
from engine.kernel.polls import Polled, poll_stage
from engine.ports.deps import Deps
from engine.ports.transaction import Tx

logger = logging.getLogger(__name__)


def handle(command: StagePollSuspended, deps: Deps) -> StagePollSuspendedResult:
    is_named = command.stage_record_id is not None
    polled = [(stage, _poll(stage, deps, alone=is_named)) for stage in _due(command, deps)]
    return StagePollSuspendedResult(
        checked=sum(answer is not Polled.NOT_MINE for _, answer in polled),
        resumed=sum(answer is Polled.RESUMED for _, answer in polled),
        failed=sum(answer is Polled.FAILED for _, answer in polled),
        resumed_workflow_run_ids=tuple(
            dict.fromkeys(stage.workflow_run_id for stage, answer in polled if answer is Polled.RESUMED)
        ),
    )


def _due(command: StagePollSuspended, deps: Deps) -> Sequence[StageRecord]:
    now = deps.clock.now()
    record_id, run_id = command.stage_record_id, command.workflow_run_id

    def read(tx: Tx) -> Sequence[StageRecord]:
        if run_id is not None:
            stages = [stage for stage in tx.stages.of_run(run_id) if record_id in {None, stage.id}]
        elif record_id is not None:
            stages = [tx.stages.get(record_id)]
        else:
            return tx.stages.due(now, command.max_checks)
        due = [stage for stage in stages if stage.next_poll_at is not None and stage.next_poll_at <= now]
        return due[: command.max_checks]

    return deps.persistence.read(read)


def _poll(stage: StageRecord, deps: Deps, *, alone: bool) -> Polled:
    """In a sweep, an error is logged and the stage is left to the next sweep. A single poll raises it."""
    try:
        return poll_stage(stage.id, deps)
    except EngineError:
        if alone:
            raise
        logger.exception("stage %s of run %s could not be polled", stage.stage_id, stage.workflow_run_id)
        return Polled.NOT_MINE
