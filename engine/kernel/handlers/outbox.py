"""Publishing of events, and redrive of dead letters."""

from engine.kernel.commands import OutboxFlush, OutboxFlushResult, PluginReplayDLQ, PluginReplayDLQResult
from engine.ports.deps import Deps
from engine.ports.transaction import Tx
from engine.publishing.outbox import FlushCounts, flush_run


def flush(command: OutboxFlush, deps: Deps) -> OutboxFlushResult:
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


def replay_dead_letters(command: PluginReplayDLQ, deps: Deps) -> PluginReplayDLQResult:
    def redrive(tx: Tx) -> int:
        dead = tx.outbox.dead(command.max_events, command.event_type)
        return tx.outbox.redrive(record.id for record in dead) if dead else 0

    return PluginReplayDLQResult(replayed=deps.persistence.transact(redrive))
