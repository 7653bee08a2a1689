"""The handler of each command."""

from collections.abc import Callable, Mapping
from typing import Any

from engine.kernel import commands, host_commands, running, starting
from engine.kernel.handlers import (
    job_attempt,
    lease,
    outbox,
    run_cancel,
    run_create,
    run_reap_stuck,
    run_reconcile,
    run_rerun_from,
    stage_poll_suspended,
)
from engine.ports.deps import Deps

type Handler = Callable[[Any, Deps], Any]

ROUTES: Mapping[type, Handler] = {
    commands.RunCreate: run_create.handle,
    commands.RunClaimPending: starting.claim_pending,
    commands.JobExecute: job_attempt.execute,
    commands.RunTransition: running.transition,
    commands.RunCancel: run_cancel.handle,
    commands.RunRerunFrom: run_rerun_from.handle,
    commands.StagePollSuspended: stage_poll_suspended.handle,
    commands.LeaseReapStale: lease.reap_stale,
    commands.RunReapStuck: run_reap_stuck.handle,
    commands.OutboxFlush: outbox.flush,
    commands.PluginReplayDLQ: outbox.replay_dead_letters,
    commands.RunReconcile: run_reconcile.handle,
    host_commands.JobStart: job_attempt.start,
    host_commands.JobHeartbeat: job_attempt.heartbeat,
    host_commands.JobFinish: job_attempt.finish,
    host_commands.JobRelease: job_attempt.release,
    host_commands.JobTimeout: job_attempt.timeout,
    host_commands.LeaseRenewal: lease.renew,
    host_commands.LeaseRelease: lease.release_of_workers,
}
