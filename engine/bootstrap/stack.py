"""A client of a deployed stack. The stack's maintenance function answers the commands and reads."""

import uuid
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, overload

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from engine.adapters.aws.clients import AwsClients, Clients
from engine.adapters.aws.stack import StackCalls
from engine.domain.ai_calls import CallTotals
from engine.domain.errors import RefusedError
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.values import Json, StoredValue, inline, inlined
from engine.kernel.commands import (
    OutboxFlush,
    OutboxFlushResult,
    PluginReplayDLQ,
    PluginReplayDLQResult,
    Result,
    RunCancel,
    RunCancelResult,
    RunCreate,
    RunCreateResult,
    RunRerunFrom,
    RunRerunFromResult,
)
from engine.ports.reads import Page, RunView
from engine.ports.registry import Registry
from engine.ports.transaction import AnnotationFilter, RunFilter

MOST = 1000
"""The largest page of one read."""

type StackCommand = RunCreate | RunCancel | RunRerunFrom | PluginReplayDLQ | OutboxFlush

RESULTS: dict[type[StackCommand], type[Result]] = {
    RunCreate: RunCreateResult,
    RunCancel: RunCancelResult,
    RunRerunFrom: RunRerunFromResult,
    PluginReplayDLQ: PluginReplayDLQResult,
    OutboxFlush: OutboxFlushResult,
}


class StackReads:
    """`Reads` over the wire. Values in the blob store are given as references, except a run's input and output."""

    def __init__(self, calls: StackCalls) -> None:
        self._calls = calls

    def _ask[T](self, kind: type[T], read: str, **query: Json) -> T:
        given = {name: to_jsonable_python(value) for name, value in query.items() if value is not None}
        return TypeAdapter(kind).validate_python(self._calls.ask({"read": read, **given}))

    def runs(self, where: RunFilter, limit: int = 50) -> Page:
        conditions = _conditions(where)
        cursor = conditions.pop("before")
        return self._ask(Page, "runs.list", **conditions, cursor=cursor, limit=limit)

    def run(self, run_id: str) -> RunView:
        found = self._calls.ask({"read": "runs.get", "run_id": run_id})
        run = found["run"]
        output = None if run["output"] is None else inline(run["output"])
        return RunView(
            run=TypeAdapter(RunRecord).validate_python({**run, "input": inline(run["input"]), "output": output}),
            stages=TypeAdapter(tuple[StageRecord, ...]).validate_python(found["stages"]),
            jobs=TypeAdapter(tuple[JobRecord, ...]).validate_python(found["jobs"]),
        )

    def resolve(self, prefix: str) -> str:
        return self.run(prefix).run.id

    def logs(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = MOST
    ) -> Sequence[LogRecord]:
        kind = tuple[LogRecord, ...]
        return self._ask(kind, "runs.logs", run_id=run_id, after=after, stage_id=stage_id, limit=limit)

    def events(self, run_id: str, *, after: int = 0, limit: int = MOST) -> Sequence[OutboxRecord]:
        return self._ask(tuple[OutboxRecord, ...], "runs.events", run_id=run_id, after=after, limit=limit)

    def annotations(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        """Raises `RefusedError` when more are asked for than one page holds, and there are as many."""
        conditions = _conditions(where) | {"limit": min(where.limit, MOST)}
        found = self._ask(tuple[AnnotationRecord, ...], "runs.annotations", run_id=run_id, **conditions)
        if len(found) == MOST < where.limit:
            raise RefusedError(f"run {run_id} has {MOST} annotations or more, which a stack does not give; use --key")
        return found

    def artifacts(self, run_id: str) -> Sequence[ArtifactRecord]:
        return self._ask(tuple[ArtifactRecord, ...], "runs.artifacts", run_id=run_id)

    def call_totals(self, run_id: str) -> Sequence[CallTotals]:
        return self._ask(tuple[CallTotals, ...], "runs.cost", run_id=run_id)

    def waiting_jobs(self, limit: int = 100) -> Sequence[JobRecord]:
        return self._ask(tuple[JobRecord, ...], "jobs.list", limit=limit)

    def backlog(self) -> tuple[int, datetime | None]:
        answer = self._ask(dict[str, Any], "outbox.backlog")
        return answer["open"], TypeAdapter(datetime | None).validate_python(answer["oldest_at"])

    def dead_letters(self, limit: int = 100, event_type: str | None = None) -> Sequence[OutboxRecord]:
        return self._ask(tuple[OutboxRecord, ...], "dlq.list", limit=limit, event_type=event_type)

    def value(self, stored: StoredValue | None) -> Json:
        return inlined(stored) if stored is not None and "json" in stored else stored


class StackClient:
    """A client of a stack. `registry` has this machine's workflows, for the names of stages."""

    def __init__(self, calls: StackCalls, registry: Registry) -> None:
        self._calls = calls
        self.reads, self.registry = StackReads(calls), registry

    @overload
    def dispatch(self, command: RunCreate) -> RunCreateResult: ...
    @overload
    def dispatch(self, command: RunCancel) -> RunCancelResult: ...
    @overload
    def dispatch(self, command: RunRerunFrom) -> RunRerunFromResult: ...
    @overload
    def dispatch(self, command: PluginReplayDLQ) -> PluginReplayDLQResult: ...
    @overload
    def dispatch(self, command: OutboxFlush) -> OutboxFlushResult: ...
    def dispatch(self, command: StackCommand) -> Result:
        document = command.model_dump(mode="json")
        if "idempotency_key" in document:
            # An invocation whose answer was lost is repeated, and must not start a second run.
            document["idempotency_key"] = document["idempotency_key"] or uuid.uuid4().hex
        return RESULTS[type(command)].model_validate(self._calls.ask(document))


def open_stack(name: str, registry: Registry, *, clients: Clients | None = None) -> StackClient:
    """Raises what `StackCalls` raises."""
    return StackClient(StackCalls(clients or AwsClients(), name), registry)


def _conditions(where: RunFilter | AnnotationFilter) -> dict[str, Any]:
    return {each.name: getattr(where, each.name) for each in fields(where)}
