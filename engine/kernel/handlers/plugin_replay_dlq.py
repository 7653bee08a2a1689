from engine.kernel.commands import PluginReplayDLQ, PluginReplayDLQResult
from engine.kernel.deps import Deps
from engine.ports.transaction import Tx


def handle(command: PluginReplayDLQ, deps: Deps) -> PluginReplayDLQResult:
    def redrive(tx: Tx) -> int:
        dead = tx.outbox.dead(command.max_events, command.event_type)
        return tx.outbox.redrive(record.id for record in dead) if dead else 0

    return PluginReplayDLQResult(replayed=deps.persistence.transact(redrive))
