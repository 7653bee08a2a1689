"""Every command, beside its result. Their `type` strings and field names are wire and database format.

Durations are plain seconds here, because commands cross wires.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.domain.annotations import AnnotationInput
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import RunStatus
from engine.domain.values import Json

MOST_AT_ONCE = 10_000


class Result(BaseModel):
    """The answer of a command."""

    model_config = ConfigDict(frozen=True)


class Command[R](BaseModel):
    """An order to the kernel; `R` is the type of its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str


class RunCreateResult(Result):
    workflow_run_id: str
    status: RunStatus


class RunCreate(Command[RunCreateResult]):
    """Create a run; with `start`, also make its first jobs in the same transaction.

    `trace_context`: the W3C traceparent the run belongs to; the active span's, when not given. Only a run that is
    started at once keeps it.
    """

    type: Literal["run.create"] = "run.create"
    workflow_id: str
    input: Any = None
    config: dict[str, dict[str, Any]] = {}
    priority: int = Field(default=5, ge=0, le=1000)
    annotations: tuple[AnnotationInput, ...] = ()
    tenant: str | None = Field(default=None, min_length=1, max_length=100)
    parent_run_id: str | None = None
    start: bool = False
    metadata: dict[str, Any] | None = None
    trace_context: str | None = Field(default=None, pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)


class ClaimedRun(Result):
    workflow_run_id: str
    workflow_id: str
    job_ids: tuple[str, ...]


class RunClaimPendingResult(Result):
    claimed: tuple[ClaimedRun, ...]


class RunClaimPending(Command[RunClaimPendingResult]):
    """Start PENDING runs: first records and jobs, one transaction a run."""

    type: Literal["run.claimPending"] = "run.claimPending"
    worker_id: str
    max_claims: int = Field(default=10, ge=1, le=MOST_AT_ONCE)


class JobExecuteResult(Result):
    """`ghost`: nothing was written, because the attempt is not (or no longer) the one that may."""

    outcome: Literal["completed", "suspended", "failed"]
    output: Any = None
    error: str | None = None
    next_poll_at: datetime | None = None
    ghost: bool = False
    retryable: bool = False


class JobExecute(Command[JobExecuteResult]):
    """Run one stage of one run, start to finish.

    Run and stage decide; `workflow_id` and `config` are part of the message, but what was stored with the run is used.
    """

    type: Literal["job.execute"] = "job.execute"
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    config: dict[str, Any] = {}
    job_id: str | None = None
    lease_token: str | None = None
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)


class RunTransitionResult(Result):
    action: Literal["advanced", "completed", "failed", "noop"]
    next_group: int | None = None


class RunTransition(Command[RunTransitionResult]):
    """Advance or end a run whose current group has nothing left to do."""

    type: Literal["run.transition"] = "run.transition"
    workflow_run_id: str


class RunCancelResult(Result):
    cancelled: bool


class RunCancel(Command[RunCancelResult]):
    """Cancel a run with all that is open in it."""

    type: Literal["run.cancel"] = "run.cancel"
    workflow_run_id: str
    reason: str | None = None


class RunRerunFromResult(Result):
    workflow_run_id: str
    from_stage_id: str
    deleted_stages: tuple[str, ...]


class RunRerunFrom(Command[RunRerunFromResult]):
    """Run a finished run again from a stage on. `input_override` replaces that stage's input."""

    type: Literal["run.rerunFrom"] = "run.rerunFrom"
    workflow_run_id: str
    from_stage_id: str
    input_override: Any = None
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)


class StagePollSuspendedResult(Result):
    checked: int
    resumed: int
    failed: int
    resumed_workflow_run_ids: tuple[str, ...]


class StagePollSuspended(Command[StagePollSuspendedResult]):
    """Ask suspended stages that are due whether their batch is ready; `stage_record_id` names one."""

    type: Literal["stage.pollSuspended"] = "stage.pollSuspended"
    max_checks: int = Field(default=50, ge=1, le=MOST_AT_ONCE)
    stage_record_id: str | None = None
    workflow_run_id: str | None = None


class LeaseReapStaleResult(Result):
    released: int


class LeaseReapStale(Command[LeaseReapStaleResult]):
    """Release leases that have run out.

    A lease is renewed to `stale_threshold` seconds ahead, so one that has run out is stale: the threshold is a
    property of the lease. A value above the default waits that much longer.
    """

    type: Literal["lease.reapStale"] = "lease.reapStale"
    stale_threshold: float = Field(default=300.0, ge=0)
    max_releases: int = Field(default=100, ge=1, le=MOST_AT_ONCE)


class RunReapStuckResult(Result):
    transitioned: int
    failed: int
    recovered: int


class RunReapStuck(Command[RunReapStuckResult]):
    """Repair or fail RUNNING runs without an active job for `stuck_threshold` seconds."""

    type: Literal["run.reapStuck"] = "run.reapStuck"
    stuck_threshold: float = Field(default=900.0, ge=0)
    max_runs: int = Field(default=50, ge=1, le=MOST_AT_ONCE)


class OutboxFlushResult(Result):
    published: int
    failed: int
    dead_lettered: int


class OutboxFlush(Command[OutboxFlushResult]):
    """Publish events that wait in the outbox, in order per run."""

    type: Literal["outbox.flush"] = "outbox.flush"
    max_events: int = Field(default=100, ge=1, le=MOST_AT_ONCE)
    workflow_run_id: str | None = None


class PluginReplayDLQResult(Result):
    replayed: int


class PluginReplayDLQ(Command[PluginReplayDLQResult]):
    """Take dead letters back into the outbox; the next flush publishes them."""

    type: Literal["plugin.replayDLQ"] = "plugin.replayDLQ"
    max_events: int = Field(default=100, ge=1, le=MOST_AT_ONCE)
    event_type: str | None = None


class RunReconcileResult(Result):
    """`next_due`: when the run next needs somebody; None when nothing in it waits for a time.

    `leased_until`: when the last lease in the run ends; None when nobody holds one.
    """

    status: RunStatus | None
    next_due: datetime | None
    leased_until: datetime | None = None


class RunReconcile(Command[RunReconcileResult]):
    """Do whatever one run needs now: stale leases, due polls, missing jobs, transition, events."""

    type: Literal["run.reconcile"] = "run.reconcile"
    workflow_run_id: str


type AnyCommand = Annotated[
    RunCreate
    | RunClaimPending
    | JobExecute
    | RunTransition
    | RunCancel
    | RunRerunFrom
    | StagePollSuspended
    | LeaseReapStale
    | RunReapStuck
    | OutboxFlush
    | PluginReplayDLQ
    | RunReconcile,
    Field(discriminator="type"),
]

_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(AnyCommand)


def parse_command(document: Mapping[str, Json]) -> AnyCommand:
    """The command a JSON document stands for. Raises `InvalidInput` listing every problem."""
    try:
        return _ADAPTER.validate_python(dict(document))
    except ValidationError as error:
        raise InvalidInput(
            f"not a valid command: {document.get('type')!r}",
            [f"{'.'.join(str(part) for part in e['loc']) or 'command'}: {e['msg']}" for e in error.errors()],
        ) from error
