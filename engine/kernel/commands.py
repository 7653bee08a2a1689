"""All commands with their results. Their `type` strings and field names are wire and database format.

Durations are plain seconds, because commands are sent as JSON.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.domain.annotations import AnnotationInput
from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import RunStatus
from engine.domain.limits import ID, KEY, at_most
from engine.domain.shortened import shortened
from engine.domain.values import Json

MOST_AT_ONCE = 10_000
LONGEST_THRESHOLD = 366 * 86_400.0
"""Seconds. Longer times reach beyond the calendar."""

type IdempotencyKey = Annotated[str, Field(min_length=1), at_most(KEY)]
type Tenant = Annotated[str, Field(min_length=1), at_most(ID)]


class Result(BaseModel):
    """The result of a command."""

    model_config = ConfigDict(frozen=True)


class Command[R](BaseModel):
    """A request to the kernel; `R` is the type of its result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str


class RunCreateResult(Result):
    workflow_run_id: str
    status: RunStatus


class RunCreate(Command[RunCreateResult]):
    """Create a run; with `start`, also make its first jobs in the same transaction.

    `trace_context`: the W3C traceparent of the run; by default that of the active span. Only a run that is started at
    once keeps it.
    """

    type: Literal["run.create"] = "run.create"
    workflow_id: str
    input: Any = None
    config: dict[str, dict[str, Any]] = {}
    priority: int = Field(default=5, ge=0, le=1000)
    annotations: tuple[AnnotationInput, ...] = ()
    tenant: Tenant | None = None
    parent_run_id: str | None = None
    start: bool = False
    metadata: dict[str, Any] | None = None
    trace_context: str | None = Field(default=None, pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    idempotency_key: IdempotencyKey | None = None


class ClaimedRun(Result):
    workflow_run_id: str
    workflow_id: str
    job_ids: tuple[str, ...]


class RunClaimPendingResult(Result):
    claimed: tuple[ClaimedRun, ...]


class RunClaimPending(Command[RunClaimPendingResult]):
    """Start PENDING runs: create their first stage records and jobs, in one transaction for each run."""

    type: Literal["run.claimPending"] = "run.claimPending"
    worker_id: str
    max_claims: int = Field(default=10, ge=1, le=MOST_AT_ONCE)


class JobExecuteResult(Result):
    """`ghost`: nothing was written, because the attempt does not hold the job."""

    outcome: Literal["completed", "suspended", "failed"]
    output: Any = None
    error: str | None = None
    next_poll_at: datetime | None = None
    ghost: bool = False
    retryable: bool = False


class JobExecute(Command[JobExecuteResult]):
    """Run one stage of one run, from claim to finish.

    `workflow_id` and `config` are part of the message, but those stored with the run are used.
    """

    type: Literal["job.execute"] = "job.execute"
    workflow_run_id: str
    workflow_id: str
    stage_id: str
    config: dict[str, Any] = {}
    job_id: str | None = None
    lease_token: str | None = None
    idempotency_key: IdempotencyKey | None = None


class RunTransitionResult(Result):
    action: Literal["advanced", "completed", "failed", "noop"]
    next_group: int | None = None


class RunTransition(Command[RunTransitionResult]):
    """Advance or end a run whose current group is finished."""

    type: Literal["run.transition"] = "run.transition"
    workflow_run_id: str


class RunCancelResult(Result):
    cancelled: bool


class RunCancel(Command[RunCancelResult]):
    """Cancel a run with all its open stages and jobs."""

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
    idempotency_key: IdempotencyKey | None = None


class StagePollSuspendedResult(Result):
    checked: int
    resumed: int
    failed: int
    resumed_workflow_run_ids: tuple[str, ...]


class StagePollSuspended(Command[StagePollSuspendedResult]):
    """Check the completion of suspended stages that are due; `stage_record_id` selects one."""

    type: Literal["stage.pollSuspended"] = "stage.pollSuspended"
    max_checks: int = Field(default=50, ge=1, le=MOST_AT_ONCE)
    stage_record_id: str | None = None
    workflow_run_id: str | None = None


class LeaseReapStaleResult(Result):
    released: int


class LeaseReapStale(Command[LeaseReapStaleResult]):
    """Release expired leases.

    The default threshold is the length of a lease: a lease is stale as soon as it has expired. A larger threshold waits
    for the difference after the expiry.
    """

    type: Literal["lease.reapStale"] = "lease.reapStale"
    stale_threshold: float = Field(default=300.0, ge=300, le=LONGEST_THRESHOLD)
    max_releases: int = Field(default=100, ge=1, le=MOST_AT_ONCE)


class RunReapStuckResult(Result):
    transitioned: int
    failed: int
    recovered: int


class RunReapStuck(Command[RunReapStuckResult]):
    """Repair or fail RUNNING runs without an active job for `stuck_threshold` seconds."""

    type: Literal["run.reapStuck"] = "run.reapStuck"
    stuck_threshold: float = Field(default=900.0, ge=0, le=LONGEST_THRESHOLD)
    max_runs: int = Field(default=50, ge=1, le=MOST_AT_ONCE)


class OutboxFlushResult(Result):
    published: int
    failed: int
    dead_lettered: int


class OutboxFlush(Command[OutboxFlushResult]):
    """Publish open events of the outbox, in the order of each run."""

    type: Literal["outbox.flush"] = "outbox.flush"
    max_events: int = Field(default=100, ge=1, le=MOST_AT_ONCE)
    workflow_run_id: str | None = None


class PluginReplayDLQResult(Result):
    replayed: int


class PluginReplayDLQ(Command[PluginReplayDLQResult]):
    """Redrive dead letters into the outbox; the next flush publishes them."""

    type: Literal["plugin.replayDLQ"] = "plugin.replayDLQ"
    max_events: int = Field(default=100, ge=1, le=MOST_AT_ONCE)
    event_type: str | None = None


class RunReconcileResult(Result):
    """`next_due`: the earliest due job, lease end or poll of the run; None if it has none.

    `leased_until`: the end of the last lease in the run; None if no job is leased.
    """

    status: RunStatus | None
    next_due: datetime | None
    leased_until: datetime | None = None


class RunReconcile(Command[RunReconcileResult]):
    """Repair and advance one run: stale leases, due polls, missing jobs, transition, events."""

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
    """Raises `InvalidInput` with every problem of the document."""
    try:
        return _ADAPTER.validate_python(dict(document))
    except ValidationError as error:
        raise InvalidInput(
            f"not a valid command: {shortened(document.get('type'))}",
            [f"{'.'.join(str(part) for part in e['loc']) or 'command'}: {e['msg']}" for e in error.errors()],
        ) from error
