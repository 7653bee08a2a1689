"""The read side in JSON, for remote callers: {"read": "runs.list", …}."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from engine.domain.errors import InvalidInput
from engine.domain.lifecycle import RunStatus
from engine.domain.shortened import shortened
from engine.domain.values import Json
from engine.ports.reads import Reads
from engine.ports.transaction import AnnotationFilter, RunFilter


def _in_calendar(instant: datetime) -> datetime:
    """An instant that every database can compare: in UTC, which most store, it has a year of the calendar too."""
    try:
        instant.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC this is before the year 1 or after 9999; choose another date") from error
    return instant


type Instant = Annotated[datetime, AfterValidator(_in_calendar)]
type Limit = Annotated[int, Field(ge=1, le=1000)]
type Number = Annotated[int, Field(ge=0, lt=2**63)]
"""A number that every database can compare."""


class Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunsList(Query):
    read: Literal["runs.list"]
    statuses: frozenset[RunStatus] = frozenset()
    workflow_id: str | None = None
    tenant: str | None = None
    created_since: Instant | None = None
    created_until: Instant | None = None
    id_prefix: str | None = None
    cursor: str | None = None
    limit: Limit = 50


class OfRun(Query):
    """`run_id` may be a prefix, if only one run has it."""

    run_id: str


class RunsGet(OfRun):
    """The run with stages, jobs, input and output."""

    read: Literal["runs.get"]


class RunsLogs(OfRun):
    read: Literal["runs.logs"]
    after: str | None = None
    stage_id: str | None = None
    limit: Limit = 1000


class RunsEvents(OfRun):
    read: Literal["runs.events"]
    after: Number = 0
    limit: Limit = 1000


class RunsAnnotations(OfRun):
    """The conditions are those of `AnnotationFilter`."""

    read: Literal["runs.annotations"]
    key: str | None = None
    key_prefix: str | None = None
    scope: str | None = None
    scope_id: str | None = None
    actor_id: str | None = None
    actor_kind: str | None = None
    generation: Number | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: Limit = 1000


class RunsArtifacts(OfRun):
    read: Literal["runs.artifacts"]


class RunsCost(OfRun):
    """Sums of the run's model calls, by stage, generation, attempt, model, type and state."""

    read: Literal["runs.cost"]


class JobsList(Query):
    read: Literal["jobs.list"]
    limit: Limit = 100


class DlqList(Query):
    read: Literal["dlq.list"]
    event_type: str | None = None
    limit: Limit = 100


class OutboxBacklog(Query):
    read: Literal["outbox.backlog"]


type AnyQuery = Annotated[
    RunsList
    | RunsGet
    | RunsLogs
    | RunsEvents
    | RunsAnnotations
    | RunsArtifacts
    | RunsCost
    | JobsList
    | DlqList
    | OutboxBacklog,
    Field(discriminator="read"),
]

_ADAPTER: TypeAdapter[AnyQuery] = TypeAdapter(AnyQuery)


def answer_query(document: Mapping[str, Json], reads: Reads) -> Json:
    """The answer in JSON types. Raises `InvalidInput` listing every problem, or `NotFound`."""
    try:
        query = _ADAPTER.validate_python(dict(document))
    except ValidationError as error:
        raise InvalidInput(
            f"not a valid read: {shortened(document.get('read'))}",
            [f"{'.'.join(map(str, e['loc'])) or 'read'}: {e['msg']}" for e in error.errors()],
        ) from error
    return to_jsonable_python(_ANSWERS[type(query)](query, reads))


def _runs_list(query: RunsList, reads: Reads) -> object:
    where = RunFilter(
        statuses=query.statuses,
        workflow_id=query.workflow_id,
        tenant=query.tenant,
        created_since=query.created_since,
        created_until=query.created_until,
        id_prefix=query.id_prefix,
        before=query.cursor,
    )
    return reads.runs(where, query.limit)


def _runs_get(query: RunsGet, reads: Reads) -> object:
    view = reads.run(reads.resolve(query.run_id))
    values = {"input": reads.value(view.run.input), "output": reads.value(view.run.output)}
    return {"run": {**to_jsonable_python(view.run), **values}, "stages": view.stages, "jobs": view.jobs}


def _runs_annotations(query: RunsAnnotations, reads: Reads) -> object:
    where = AnnotationFilter(**query.model_dump(exclude={"read", "run_id"}))
    return reads.annotations(reads.resolve(query.run_id), where)


_ANSWERS: Mapping[type, Callable[[Any, Reads], object]] = {
    RunsList: _runs_list,
    RunsGet: _runs_get,
    RunsLogs: lambda q, reads: reads.logs(reads.resolve(q.run_id), after=q.after, stage_id=q.stage_id, limit=q.limit),
    RunsEvents: lambda q, reads: reads.events(reads.resolve(q.run_id), after=q.after, limit=q.limit),
    RunsAnnotations: _runs_annotations,
    RunsArtifacts: lambda q, reads: reads.artifacts(reads.resolve(q.run_id)),
    RunsCost: lambda q, reads: reads.call_totals(reads.resolve(q.run_id)),
    JobsList: lambda q, reads: reads.waiting_jobs(q.limit),
    DlqList: lambda q, reads: reads.dead_letters(q.limit, q.event_type),
    OutboxBacklog: lambda _q, reads: dict(zip(("open", "oldest_at"), reads.backlog(), strict=True)),
}
