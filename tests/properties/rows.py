"""All rows of a store, and the columns in which those of two stores differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from engine.domain.records import OutboxRecord
from engine.ports.persistence import Persistence
from engine.ports.transaction import AnnotationFilter, RunFilter, Tx

type Rows = Mapping[str, Mapping[str, Any]]
"""Table → id → row: a record, or its columns."""

MOST_RUNS = 100


class KeyName(NamedTuple):
    """An idempotency key: no store lists them, so that whoever looks must know which there may be."""

    tenant: str
    command_type: str
    key: str


def all_rows(persistence: Persistence, keys: Iterable[KeyName]) -> Rows:
    def read(tx: Tx) -> Rows:
        runs = tx.runs.search(RunFilter(), MOST_RUNS)
        ids = [run.id for run in runs]
        events = [event for run_id in ids for event in tx.outbox.of_run(run_id)]
        calls = {run_id: booked for run_id in ids if (booked := tx.ai_calls.of_run(run_id))}
        return {
            "runs": _by_id(runs),
            "stages": _by_id(row for run_id in ids for row in tx.stages.of_run(run_id)),
            "jobs": _by_id(row for run_id in ids for row in tx.jobs.of_run(run_id)),
            "logs": _by_id(row for run_id in ids for row in tx.logs.of_run(run_id)),
            "artifacts": _by_id(row for run_id in ids for row in tx.artifacts.of_run(run_id)),
            "annotations": _by_id(row for run_id in ids for row in tx.annotations.of_run(run_id, AnnotationFilter())),
            "outbox": _by_id(events),
            "plugin deliveries": _deliveries(tx, events),
            "AI calls": _by_id(row for booked in calls.values() for row in booked),
            "spending": {run_id: tx.ai_calls.spent(run_id) for run_id in calls},
            "keys": {"/".join(key): found for key in keys if (found := tx.keys.find(*key))},
        }

    return persistence.read(read)


def _by_id(rows: Iterable[Any]) -> dict[str, Any]:
    return {row.id: row for row in rows}


def _deliveries(tx: Tx, events: Sequence[OutboxRecord]) -> dict[str, Any]:
    """Only an event that a sink refused can have been delivered in part."""
    return {event.id: {"names": tx.outbox.delivered(event.id)} for event in events if event.last_error is not None}


def differences(expected: Rows, found: Rows) -> list[str]:
    """One line for each row that differs, with its table, its id and the columns."""
    return [
        f"{table} {row_id}: {', '.join(columns)}"
        for table, rows in expected.items()
        for row_id in sorted(rows.keys() | found[table].keys())
        if (columns := list(_different_columns(rows.get(row_id), found[table].get(row_id))))
    ]


def _different_columns(expected: Any, found: Any) -> Iterator[str]:
    if expected is None or found is None:
        yield "missing" if found is None else "not expected"
        return
    wanted, there = _columns(expected), _columns(found)
    for name in sorted(wanted.keys() | there.keys()):
        one, other = wanted.get(name), there.get(name)
        if type(one) is not type(other) or one != other:
            yield f"{name} is {other!r} instead of {one!r}"


def _columns(row: Any) -> Mapping[str, Any]:
    if is_dataclass(row):
        return {column.name: getattr(row, column.name) for column in fields(row)}
    columns: Mapping[str, Any] = row
    return columns
