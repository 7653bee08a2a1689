from engine.kernel.commands import OutboxFlush, OutboxFlushResult
from engine.kernel.deps import Deps
from engine.kernel.flushing import FlushCounts, flush_run


def handle(command: OutboxFlush, deps: Deps) -> OutboxFlushResult:
    limit, total = command.max_events, FlushCounts()
    run_ids = (
        [command.workflow_run_id]
        if command.workflow_run_id
        else deps.persistence.read(lambda tx: tx.outbox.ready(limit))
    )
    for run_id in run_ids:
        if total.events >= limit:
            break
        total += flush_run(run_id, deps, limit=limit - total.events)
    return OutboxFlushResult(published=total.published, failed=total.failed, dead_lettered=total.dead_lettered)
