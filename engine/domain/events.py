"""The events, named in the past tense. Their types and field names are wire and database format."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from engine.domain.records import RunRecord, StageRecord
from engine.domain.values import Json


class Event(BaseModel):
    """Common part of all events. `sequence` orders the events of one run, gapless from 1; 0 before it is stored."""

    model_config = ConfigDict(frozen=True)

    type: str
    timestamp: AwareDatetime
    workflow_run_id: str
    workflow_id: str
    sequence: int = 0
    id: str = ""

    def payload(self) -> dict[str, Any]:
        """The wire form, in JSON types. Consumers receive sequence and id beside it."""
        return self.model_dump(mode="json", exclude={"sequence", "id"})

    def stored_payload(self) -> dict[str, Any]:
        """The wire form without the timestamp, which has its own column in the outbox."""
        return self.model_dump(mode="json", exclude={"sequence", "id", "timestamp"})


class RunEvent(Event):
    @classmethod
    def of(cls, run: RunRecord, at: datetime, **facts: Any) -> Self:
        return cls(timestamp=at, workflow_run_id=run.id, workflow_id=run.workflow_id, **facts)


class WorkflowCreated(RunEvent):
    type: Literal["workflow:created"] = "workflow:created"


class WorkflowStarted(RunEvent):
    type: Literal["workflow:started"] = "workflow:started"
    from_stage_id: str | None = None


class WorkflowCompleted(RunEvent):
    type: Literal["workflow:completed"] = "workflow:completed"
    duration_ms: int | None = None
    total_cost: float = 0.0
    total_tokens: int = 0
    output: Json = None


class WorkflowFailed(RunEvent):
    type: Literal["workflow:failed"] = "workflow:failed"
    error: str = ""
    error_code: str = ""


class WorkflowCancelled(RunEvent):
    type: Literal["workflow:cancelled"] = "workflow:cancelled"
    reason: str | None = None


class WorkflowSuspended(RunEvent):
    type: Literal["workflow:suspended"] = "workflow:suspended"
    stage_id: str


class StageEvent(Event):
    stage_id: str
    stage_name: str
    stage_number: int
    generation: int = 0

    @classmethod
    def of(cls, run: RunRecord, stage: StageRecord, at: datetime, **facts: Any) -> Self:
        return cls(
            timestamp=at,
            workflow_run_id=run.id,
            workflow_id=run.workflow_id,
            stage_id=stage.stage_id,
            stage_name=stage.stage_name,
            stage_number=stage.stage_number,
            generation=stage.generation,
            **facts,
        )


class StageStarted(StageEvent):
    type: Literal["stage:started"] = "stage:started"
    attempt: int = 1


class StageCompleted(StageEvent):
    """Totals include all attempts and generations of the stage."""

    type: Literal["stage:completed"] = "stage:completed"
    duration_ms: int
    total_cost: float = 0.0
    total_tokens: int = 0


class StageSuspended(StageEvent):
    type: Literal["stage:suspended"] = "stage:suspended"
    next_poll_at: AwareDatetime


class StageFailed(StageEvent):
    type: Literal["stage:failed"] = "stage:failed"
    error: str
    error_code: str
    will_retry: bool


class StageProgress(StageEvent):
    type: Literal["stage:progress"] = "stage:progress"
    progress: float
    message: str | None = None
    details: Json = None


class AnnotationCreated(Event):
    type: Literal["annotation:created"] = "annotation:created"
    annotation_id: str
    key: str
    value: Json
    scope: str
    scope_id: str
    generation: int
    actor_kind: str | None = None
    actor_id: str | None = None


type AnyEvent = Annotated[
    WorkflowCreated
    | WorkflowStarted
    | WorkflowCompleted
    | WorkflowFailed
    | WorkflowCancelled
    | WorkflowSuspended
    | StageStarted
    | StageCompleted
    | StageSuspended
    | StageFailed
    | StageProgress
    | AnnotationCreated,
    Field(discriminator="type"),
]

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


def parse_event(payload: dict[str, Any], *, sequence: int, event_id: str, timestamp: datetime) -> Event:
    """Restores an event from its stored payload."""
    return _ADAPTER.validate_python({**payload, "sequence": sequence, "id": event_id, "timestamp": timestamp})


EVENT_TYPES = frozenset(
    cls.model_fields["type"].default for base in (RunEvent, StageEvent) for cls in base.__subclasses__()
) | {"annotation:created"}
