"""Which function handles which command: the one table."""

from collections.abc import Callable, Mapping
from typing import Any

from engine.kernel import attempts, commands
from engine.kernel.deps import Deps
from engine.kernel.finishing import finish
from engine.kernel.handlers import (
    job_execute,
    job_release,
    job_start,
    job_timeout,
    lease_reap_stale,
    lease_release,
    outbox_flush,
    plugin_replay_dlq,
    run_cancel,
    run_claim_pending,
    run_create,
    run_reap_stuck,
    run_reconcile,
    run_rerun_from,
    run_transition,
    stage_poll_suspended,
)
from engine.kernel.heartbeats import heartbeat

type Handler = Callable[[Any, Deps], Any]

ROUTES: Mapping[type, Handler] = {
    commands.RunCreate: run_create.handle,
    commands.RunClaimPending: run_claim_pending.handle,
    commands.JobExecute: job_execute.handle,
    commands.RunTransition: run_transition.handle,
    commands.RunCancel: run_cancel.handle,
    commands.RunRerunFrom: run_rerun_from.handle,
    commands.StagePollSuspended: stage_poll_suspended.handle,
    commands.LeaseReapStale: lease_reap_stale.handle,
    commands.RunReapStuck: run_reap_stuck.handle,
    commands.OutboxFlush: outbox_flush.handle,
    commands.PluginReplayDLQ: plugin_replay_dlq.handle,
    commands.RunReconcile: run_reconcile.handle,
    attempts.JobStart: job_start.handle,
    attempts.JobHeartbeat: heartbeat,
    attempts.JobFinish: finish,
    attempts.JobRelease: job_release.handle,
    attempts.JobTimeout: job_timeout.handle,
    attempts.LeaseRelease: lease_release.handle,
}
