from dataclasses import asdict
from datetime import datetime

from engine.adapters.memory.tables import Tables
from engine.domain.records import KeyRecord


class MemoryKeys:
    """Transactions run one at a time, so no insert waits for another."""

    def __init__(self, tables: Tables) -> None:
        self._rows = tables.keys

    def find(self, tenant: str, command_type: str, key: str) -> KeyRecord | None:
        return self._rows.find(_row_id(tenant, command_type, key))

    def insert(self, record: KeyRecord) -> bool:
        row_id = _id_of(record)
        if row_id in self._rows:
            return False
        self._rows.insert(row_id, record)
        return True

    def replace(self, record: KeyRecord) -> None:
        self._rows.update(_id_of(record), asdict(record))

    def delete(self, record: KeyRecord) -> None:
        self._rows.delete(_id_of(record))

    def prune(self, before: datetime, limit: int) -> int:
        old = self._rows.where(lambda record: record.acquired_at < before)
        oldest = sorted(old, key=lambda record: record.acquired_at)[:limit]
        return sum(self._rows.delete(_id_of(record)) for record in oldest)


def _id_of(record: KeyRecord) -> str:
    return _row_id(record.tenant, record.command_type, record.key)


def _row_id(*parts: str) -> str:
    return "\x00".join(parts)
