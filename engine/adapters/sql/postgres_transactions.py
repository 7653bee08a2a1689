"""The transactions of stages on PostgreSQL. A claim or a write is one round trip, a decision is two.

A decision holds the lock of the run's row between its two round trips. If Lambda freezes the process there, all other
transactions of the run wait. So the server ends a transaction that is idle for two seconds, and the decision is
repeated."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.changes_json import changes_json, claim_json, claimed, written
from engine.adapters.sql.driver import call, driver_connection, driver_errors
from engine.adapters.sql.failures import CONDITION_FAILED, LOCK_TIMEOUT, sqlstate
from engine.adapters.sql.rows import JOB, RUN, STAGE, storable
from engine.adapters.sql.session import Session
from engine.adapters.sql.transaction import SqlTx
from engine.domain.errors import IdempotencyInProgressError
from engine.domain.records import JobRecord, KeyRecord, RunRecord, StageRecord
from engine.ports.changes import Changes, Refused, Written
from engine.ports.clock import Clock
from engine.ports.persistence import Claim, ClaimRequest, Decision, NoClaim
from engine.ports.transaction import Tx

_BEGIN = "begin; set local idle_in_transaction_session_timeout = '2s'; "


class PostgresTransactions:
    """`clock` replaces the server's clock."""

    def __init__(self, engine: Engine, clock: Clock | None) -> None:
        self._engine, self._clock = engine, clock

    def write(self, changes: Changes) -> Written | Refused:
        document = changes_json(changes, self._now())
        try:
            with driver_connection(self._engine) as connection:
                answer = call(connection, _query("engine_write_v1", document))
        except DBAPIError as error:
            return _refused(error, changes)
        return written(answer, changes)

    def claim(self, request: ClaimRequest, *, is_repeated: bool) -> Claim | NoClaim:
        """`is_repeated`: the answer of the first try may be lost, so a job that it has claimed is looked for."""
        with driver_connection(self._engine) as connection:
            if is_repeated and request.job_id is None:
                request = replace(request, job_id=call(connection, _held_under(request.lease.token)) or None)
            query = _query("engine_claim_v1", claim_json(request, self._now()))
            while (answer := claimed(call(connection, query))) is None:
                pass
        return answer

    def decide(self, run_id: str, decision: Decision, job_id: str | None, *, whole: bool) -> Written | Refused:
        wanted = {"run_id": run_id, **({"job_id": job_id} if job_id else {}), **({"whole": True} if whole else {})}
        with self._engine.connect() as connection, _LockedInDatabase(connection, self._clock, run_id) as locked:
            locked.lock(wanted)
            decided = decision(locked)
            if isinstance(decided, Refused):
                return decided
            document = changes_json(decided, self._now())
            try:
                return written(locked.commit(_query("engine_write_v1", document)), decided)
            except DBAPIError as error:
                return _refused(error, decided)

    def _now(self) -> datetime | None:
        return self._clock.now() if self._clock else None


class _LockedInDatabase:
    """`LockedRun` in a transaction of its own, which is rolled back unless `commit` is called."""

    def __init__(self, connection: Connection, clock: Clock | None, run_id: str) -> None:
        self._connection, self._clock, self._run_id = connection, clock, run_id
        self._is_open = False
        self.run: RunRecord | None = None
        self.job: JobRecord | None = None
        self.stage: StageRecord | None = None
        self._whole: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def lock(self, wanted: dict[str, Any]) -> None:
        query = _lock_query(wanted)
        self._is_open = True  # also when the server cancels the wait for the lock: the transaction is begun
        answer: dict[str, Any] = json.loads(self._send(_BEGIN + query))
        self.run = RUN.from_json(answer["run"]) if answer["run"] else None
        self.job = JOB.from_json(answer["job"]) if answer["job"] else None
        self.stage = STAGE.from_json(answer["stage"]) if answer["stage"] else None
        self._whole = answer if "whole" in wanted else None

    def __exit__(self, *_error: object) -> None:
        if self._is_open and not self._connection.invalidated:
            self._send("rollback")

    def commit(self, query: str) -> str:
        answer = self._send(f"{query}; commit")
        self._is_open = False
        return answer

    @property
    def tx(self) -> Tx:
        return SqlTx(Session(self._connection, clock=self._clock, writable=False))

    def stages(self) -> Sequence[StageRecord]:
        found: Iterable[StageRecord] = map(STAGE.from_json, self._read_whole()["stages"] or ())
        return sorted(found, key=lambda stage: (stage.execution_group, stage.stage_number, stage.id))

    def jobs(self) -> Sequence[JobRecord]:
        found: Iterable[JobRecord] = map(JOB.from_json, self._read_whole()["jobs"] or ())
        return sorted(found, key=lambda job: (job.created_at, job.id))

    def _send(self, statements: str) -> str:
        with driver_errors(self._connection.engine, self._connection.invalidate):
            return call(self._connection.connection, statements)

    def _read_whole(self) -> dict[str, Any]:
        if self._whole is None:
            answer: dict[str, Any] = json.loads(self._send(_lock_query({"run_id": self._run_id, "whole": True})))
            self._whole = answer
        return self._whole


def _lock_query(wanted: dict[str, Any]) -> str:
    return _query("engine_lock_v1", storable(wanted, "id"))


def _held_under(token: str) -> str:
    held = "select id from job where status = 'RUNNING' and lease_token"
    return f"select coalesce(({held} = {_quoted(json.dumps(token))}::jsonb #>> '{{}}'), '')"


def _refused(error: DBAPIError, changes: Changes) -> Refused:
    if sqlstate(error) == CONDITION_FAILED:
        return Refused()
    keys = changes.inserted(KeyRecord)
    if sqlstate(error) == LOCK_TIMEOUT and keys:
        raise IdempotencyInProgressError(keys[0].key, keys[0].command_type) from error.orig
    raise error


def _query(function: str, document: str) -> str:
    """A statement without parameters, so that pg8000 too needs one round trip."""
    return f"select {function}({_quoted(document)})::text"


def _quoted(document: str) -> str:
    """In JSON "$" occurs only in strings, where it is written as an escape. So the document cannot end the quote."""
    return f"$${document.replace('$', '\\u0024')}$$"
