"""The unit of work: one Protocol for each family of rows.

Runs, stages, jobs and their rows are changed by `Changes` alone. Rules of all families: `get` raises `NotFound` for an
unknown id; a docstring names the order of a list. A lease or claim has expired at its end time. A row whose run does
not exist raises `StoreError`; a value that is not JSON, or U+0000 in a text, raises `InvalidInput`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.domain.lifecycle import RunStatus
from engine.domain.records import (
    AnnotationRecord,
    ArtifactRecord,
    JobRecord,
    KeyRecord,
    LogRecord,
    OutboxRecord,
    RunRecord,
    StageRecord,
)
from engine.domain.values import StoredValue
from engine.ports.ai_calls import AICalls
from engine.ports.changes import Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """All conditions must hold. `before` is a run id: only older runs (cursor paging, newest first)."""

    statuses: frozenset[RunStatus] = frozenset()
    workflow_id: str | None = None
    tenant: str | None = None
    created_since: datetime | None = None
    created_until: datetime | None = None
    id_prefix: str | None = None
    before: str | None = None


class Runs(Protocol):
    def get(self, run_id: str) -> RunRecord: ...

    def find(self, run_id: str) -> RunRecord | None: ...

    def pending(self, limit: int) -> Sequence[RunRecord]:
        """PENDING runs, highest priority first, then oldest. Not locked."""

    def quiet(self, before: datetime, limit: int) -> Sequence[RunRecord]:
        """RUNNING runs last updated before that time, longest first. Not locked."""

    def search(self, where: RunFilter, limit: int) -> Sequence[RunRecord]:
        """Newest first."""

    def ended(self, before: datetime, limit: int) -> Sequence[RunRecord]:
        """Terminal runs completed before that time, oldest first."""

    def delete(self, run_ids: Iterable[str]) -> None:
        """Deletes the runs and all their rows, in all families."""


class Stages(Protocol):
    def get(self, record_id: str) -> StageRecord: ...

    def find(self, record_id: str) -> StageRecord | None: ...

    def of_run(self, run_id: str) -> Sequence[StageRecord]:
        """Ordered by (execution_group, stage_number)."""

    def outputs(self, run_id: str, groups: range) -> Mapping[str, StoredValue]:
        """Stored outputs of the COMPLETED stages of those execution groups, by stage id, in the order of the
        pipeline."""

    def due(self, now: datetime, limit: int) -> Sequence[StageRecord]:
        """SUSPENDED stages with `next_poll_at` ≤ now that no live poll claim holds, earliest first. Not locked."""

    def claim_poll(self, record_id: str, *, token: str, now: datetime, until: datetime) -> StageRecord | None:
        """Takes the poll claim of a SUSPENDED stage, due or not. None if another claim is live, or the stage is not
        SUSPENDED.
        """


class Jobs(Protocol):
    def get(self, job_id: str) -> JobRecord: ...

    def find(self, job_id: str) -> JobRecord | None: ...

    def of_run(self, run_id: str) -> Sequence[JobRecord]:
        """Oldest first."""

    def expired(self, limit: int, *, older_than: float = 0.0) -> Sequence[JobRecord]:
        """RUNNING jobs whose lease ran out at least `older_than` seconds ago, oldest first. Not locked."""

    def held_by(self, worker_ids: Iterable[str]) -> Sequence[JobRecord]:
        """RUNNING jobs of these workers."""

    def due(self, pools: Iterable[str], limit: int) -> Sequence[JobRecord]:
        """PENDING jobs due now on the store's clock, by rank. Not locked."""

    def waiting(self, limit: int) -> Sequence[JobRecord]:
        """Jobs that have not ended, oldest first."""


class Logs(Protocol):
    def of_run(
        self, run_id: str, *, after: str | None = None, stage_id: str | None = None, limit: int = 1000
    ) -> Sequence[LogRecord]:
        """In order of writing; `after` is the last id already seen."""


class Artifacts(Protocol):
    def of_run(self, run_id: str) -> Sequence[ArtifactRecord]:
        """By stage, then name. Artifacts of deleted stage records are not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationFilter:
    """All conditions must hold; `since` is inclusive, `until` exclusive."""

    key: str | None = None
    key_prefix: str | None = None
    scope: str | None = None
    scope_id: str | None = None
    actor_id: str | None = None
    actor_kind: str | None = None
    generation: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 1000


class Annotations(Protocol):
    def of_run(self, run_id: str, where: AnnotationFilter) -> Sequence[AnnotationRecord]:
        """Ordered by created_at, then insertion."""


class Outbox(Protocol):
    """Events in the order of each run.

    An event is open until it is published or dead. A claim covers the open events of a run from the first on, so no
    other flusher gets a later event while an earlier one is open. Claims are measured on the store's clock.
    """

    def ready(self, limit: int) -> Sequence[str]:
        """Runs whose first open event is due and unclaimed, oldest event first. Not locked."""

    def claim(self, run_id: str, *, token: str, seconds: float, limit: int) -> Sequence[OutboxRecord]:
        """The run's open events in order, claimed; empty when one of them is claimed, or the first is not due."""

    def claimed_until(self, run_id: str) -> datetime | None:
        """The end of the claim on the run's open events; None if there is no claim."""

    def published(self, event_ids: Sequence[str], *, token: str, at: datetime) -> int:
        """Marks the events that are still claimed under the token. Gives their number."""

    def release_claim(
        self, run_id: str, *, token: str, patch: Patch | None = None, event_id: str | None = None
    ) -> None:
        """Ends the claim on the run's events; the one named `event_id` gets `patch` (retry_count, dlq_at, …)."""

    def of_run(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[OutboxRecord]:
        """All events of the run, published or not, by sequence."""

    def dead(self, limit: int, event_type: str | None = None) -> Sequence[OutboxRecord]:
        """Events in the dead-letter queue, oldest first."""

    def redrive(self, event_ids: Iterable[str]) -> int:
        """Takes events out of the dead-letter queue, with a retry count of 0. Gives their number."""

    def backlog(self) -> tuple[int, datetime | None]:
        """The number of open events, and the time of the oldest."""

    def delivered(self, event_id: str) -> frozenset[str]:
        """The plugins and sinks that have handled the event."""

    def mark_delivered(self, event_id: str, names: Iterable[str]) -> None:
        """Adds plugins and sinks that have handled the event. Known names are skipped."""


class Keys(Protocol):
    def find(self, tenant: str, command_type: str, key: str) -> KeyRecord | None: ...

    def insert(self, record: KeyRecord) -> bool:
        """False when the key exists. Waits for a concurrent insert of the same key, at most 5 s, then raises
        `IdempotencyInProgressError`."""

    def replace(self, record: KeyRecord) -> None:
        """Overwrites the record of the same (tenant, command_type, key)."""

    def delete(self, record: KeyRecord) -> None: ...

    def prune(self, before: datetime, limit: int) -> int:
        """Deletes keys acquired before that time. Gives their number."""


class Tx(Protocol):
    """One transaction over all families, and the store's clock."""

    @property
    def runs(self) -> Runs: ...
    @property
    def stages(self) -> Stages: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def logs(self) -> Logs: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def annotations(self) -> Annotations: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def ai_calls(self) -> AICalls: ...
    def now(self) -> datetime: ...
