from engine.kernel.commands import OutboxFlush, OutboxFlushResult
from engine.kernel.deps import Deps
from engine.kernel.flushing import flush_run


def handle(command: OutboxFlush, deps: Deps) -> OutboxFlushResult:
    limit, published, failed, dead = command.max_events, 0, 0, 0
    run_ids = (
        [command.workflow_run_id]
        if command.workflow_run_id
        else deps.persistence.read(lambda tx: tx.outbox.ready(limit))
    )
    for run_id in run_ids:
        if limit <= 0:
            break
        counts = flush_run(run_id, deps, limit=limit)
        limit -= counts.taken
        published, failed, dead = published + counts.published, failed + counts.failed, dead + counts.dead_lettered
    return OutboxFlushResult(published=published, failed=failed, dead_lettered=dead)
