"""A client of a deployed stack. Its maintenance function answers the commands and reads."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, override

from pydantic import TypeAdapter

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
from engine.domain.stored_value import Json, StoredValue, inline, inlined
from engine.kernel.commands import (
    Command,
    PluginReplayDLQ,
    PluginReplayDLQResult,
    RunCancel,
    RunCancelResult,
    RunCreate,
    RunCreateResult,
    RunRerunFrom,
    RunRerunFromResult,
    parse_command,
)
from engine.kernel.reads import Page, Reads, RunView
from engine.ports.registry import Registry
from engine.ports.transaction import AnnotationFilter, RunFilter

MOST = 1000
"""The largest page of one read."""

RESULTS: Mapping[type, Any] = {
    RunCreate: RunCreateResult,
    RunCancel: RunCancelResult,
    RunRerunFrom: RunRerunFromResult,
    PluginReplayDLQ: PluginReplayDLQResult,
}


class StackReads(Reads):
    """`Reads` over the wire. Values in the blob store are given as references, except a run's input and output."""

    def __init__(self, calls: StackCalls) -> None:
        self._calls = calls

    def _ask[T](self, kind: type[T], read: str, **query: Json) -> T:
        given = {name: value for name, value in query.items() if value is not None}
        return TypeAdapter(kind).validate_python(self._calls.ask({"read": read, **given}))

    @override
    def runs(self, where: RunFilter, limit: int = 50) -> Page:
        return self._ask(
            Page,
            "runs.list",
            statuses=sorted(where.statuses),
            workflow_id=where.workflow_id,
            tenant=where.tenant,
            created_since=_text(where.created_since),
            created_until=_text(where.created_until),
            cursor=where.before,
            limit=limit,
        )

    @override
    def run(self, run_id: str) -> RunView:
        found = self._calls.ask({"read": "runs.get", "run_id": run_id})
        run = found["run"]
        output = None if run["output"] is None else inline(run["output"])
        return RunView(
            run=TypeAdapter(RunRecord).validate_python({**run, "input": inline(run["input"]), "output": output}),
            stages=TypeAdapter(tuple[StageRecord, ...]).validate_python(found["stages"]),
            jobs=TypeAdapter(tuple[JobRecord, ...]).validate_python(found["jobs"]),
        )

    @override
    def resolve(self, prefix: str) -> str:
        return self.run(prefix).run.id

    @override
    def logs(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = MOST
    ) -> Sequence[LogRecord]:
        kind = tuple[LogRecord, ...]
        return self._ask(kind, "runs.logs", run_id=run_id, after=after, stage_id=stage_id, limit=limit)

    @override
    def events(self, run_id: str, *, after: int = 0, limit: int = MOST) -> Sequence[OutboxRecord]:
        return self._ask(tuple[OutboxRecord, ...], "runs.events", run_id=run_id, after=after, limit=limit)

    @override
    def annotations(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        prefix, limit = where.key_prefix, min(where.limit, MOST)
        found = self._ask(
            tuple[AnnotationRecord, ...], "runs.annotations", run_id=run_id, key_prefix=prefix, limit=limit
        )
        if len(found) == MOST < where.limit:
            raise RefusedError(f"run {run_id} has {MOST} annotations or more, which a stack does not give; use --key")
        return found

    @override
    def artifacts(self, run_id: str) -> Sequence[ArtifactRecord]:
        return self._ask(tuple[ArtifactRecord, ...], "runs.artifacts", run_id=run_id)

    @override
    def call_totals(self, run_id: str) -> Sequence[CallTotals]:
        return self._ask(tuple[CallTotals, ...], "runs.cost", run_id=run_id)

    @override
    def open_artifact(self, artifact: ArtifactRecord) -> BinaryIO:
        raise RefusedError(f"artifacts of a stack stay in its bucket; read {artifact.blob_key!r} there")

    @override
    def waiting_jobs(self, limit: int = 100) -> Sequence[JobRecord]:
        return self._ask(tuple[JobRecord, ...], "jobs.list", limit=limit)

    @override
    def backlog(self) -> tuple[int, datetime | None]:
        answer = self._ask(dict[str, Any], "outbox.backlog")
        return answer["open"], TypeAdapter(datetime | None).validate_python(answer["oldest_at"])

    @override
    def dead_letters(self, limit: int = 100, event_type: str | None = None) -> Sequence[OutboxRecord]:
        return self._ask(tuple[OutboxRecord, ...], "dlq.list", limit=limit, event_type=event_type)

    @override
    def value(self, stored: StoredValue | None) -> Json:
        return inlined(stored) if stored is not None and "json" in stored else stored


@dataclass(frozen=True, slots=True)
class StackAnnotations:
    reads: StackReads

    def list(self, run_id: str, *, key_prefix: str | None = None, limit: int = MOST) -> Sequence[AnnotationRecord]:
        return self.reads.annotations(run_id, AnnotationFilter(key_prefix=key_prefix, limit=limit))


class StackKernel:
    """The part of a kernel that the command line uses."""

    def __init__(self, calls: StackCalls) -> None:
        self._calls = calls
        self.reads = StackReads(calls)
        self.annotations = StackAnnotations(self.reads)

    def dispatch(self, command: Command[Any] | Mapping[str, Any]) -> Any:
        """Raises `RefusedError` for commands that only workers may send."""
        parsed = parse_command(command) if isinstance(command, Mapping) else command
        if isinstance(parsed, RunCreate) and parsed.idempotency_key is None:
            # An invocation whose answer was lost is repeated, and must not start a second run.
            parsed = parsed.model_copy(update={"idempotency_key": uuid.uuid4().hex})
        if type(parsed) not in RESULTS:
            raise RefusedError(f"{type(parsed).__name__} is done in the stack by itself, not from outside")
        return RESULTS[type(parsed)].model_validate(self._calls.ask(parsed.model_dump(mode="json")))


@dataclass(frozen=True, slots=True)
class Stack:
    """An open stack. `registry` is that of this machine; it is used for the names of stages."""

    kernel: StackKernel
    registry: Registry

    def recover(self) -> int:
        """A no-op: leases in a stack expire by themselves."""
        return 0

    def worker(self, **_options: object) -> Any:
        raise RefusedError("a stack does its own work; leave out --stack to work here")

    def prune(self, _older_than: object) -> Any:
        raise RefusedError("runs of a stack are not pruned from here; leave out --stack")


def open_stack(name: str, registry: Registry, *, clients: Clients | None = None) -> Stack:
    """Raises what `StackCalls` raises."""
    return Stack(StackKernel(StackCalls(clients or AwsClients(), name)), registry)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
