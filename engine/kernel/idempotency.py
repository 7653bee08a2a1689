"""Idempotency keys: a repeated request gets the first result, another request under the same key is refused."""

import hashlib
import json
from datetime import timedelta
from typing import Any

from engine.domain.errors import IdempotencyConflictError, IdempotencyInProgressError
from engine.domain.records import KeyRecord, KeyState
from engine.kernel.commands import Command, Result
from engine.ports.deps import Deps
from engine.ports.transaction import Tx

NO_TENANT = ""
IN_PROGRESS_FOR = timedelta(minutes=10)


def request_hash(command: Command[Any]) -> str:
    """SHA-256 of the command's canonical JSON, without idempotency key and trace context."""
    document = command.model_dump(mode="json", exclude={"idempotency_key", "trace_context"})
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def done_key(command: Command[Any], key: str, result: Result, deps: Deps, tenant: str | None) -> KeyRecord:
    """The record of a finished command. It is written in the command's own transaction."""
    return KeyRecord(
        tenant=tenant or NO_TENANT,
        command_type=command.type,
        key=key,
        request_hash=request_hash(command),
        state=KeyState.DONE,
        acquired_at=deps.clock.now(),
        result=result.model_dump(mode="json"),
    )


def check_same_request(found: KeyRecord, command: Command[Any]) -> None:
    """Raises `IdempotencyConflictError` when the key belongs to another request."""
    if found.request_hash != request_hash(command):
        raise IdempotencyConflictError(found.key, found.command_type)


def acquire(command: Command[Any], key: str, deps: Deps, tenant: str | None) -> KeyRecord:
    """Marks the key as in progress, or returns the record of a finished call.

    Raises `IdempotencyInProgressError` while another call is in progress, for at most ten minutes.
    """
    now = deps.clock.now()
    mine = KeyRecord(
        tenant=tenant or NO_TENANT,
        command_type=command.type,
        key=key,
        request_hash=request_hash(command),
        state=KeyState.IN_PROGRESS,
        acquired_at=now,
        expires_at=now + IN_PROGRESS_FOR,
    )

    def insert_or_find(tx: Tx) -> KeyRecord:
        if tx.keys.insert(mine):
            return mine
        found = tx.keys.find(mine.tenant, mine.command_type, mine.key)
        assert found is not None, "a key that could not be inserted exists"
        check_same_request(found, command)
        if found.state is KeyState.DONE:
            return found
        if found.expires_at is not None and found.expires_at <= now:
            tx.keys.replace(mine)
            return mine
        raise IdempotencyInProgressError(key, command.type)

    return deps.persistence.transact(insert_or_find)
