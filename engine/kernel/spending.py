"""What model calls of earlier generations cost, for the records that take their place."""

from collections.abc import Mapping

from engine.domain.ai_calls import Spent
from engine.domain.records import StageRecord
from engine.kernel.deps import Deps


def earlier_spending(stage: StageRecord, deps: Deps) -> Mapping[str, Spent]:
    """By stage id. Only a rerun has any, so that all others are spared the look."""
    if stage.generation == 0:
        return {}
    return deps.persistence.read(lambda tx: tx.ai_calls.spent(stage.workflow_run_id))
