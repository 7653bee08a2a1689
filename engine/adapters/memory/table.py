"""Rows by id, with an undo journal."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.adapters.memory.strict_rows import checked_columns, columns_of, copied
from engine.domain.errors import NotFound, StoreError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Journal:
    """The undo log of a transaction, applied in reverse. Outside of transactions it is closed, and writes raise."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        self._open = False

    def begin(self) -> None:
        self._undo, self._open = [], True

    def add(self, undo: Callable[[], None]) -> None:
        if not self._open:
            raise StoreError("`read` changes nothing; use `transact`")
        self._undo.append(undo)

    def end(self, *, keep: bool) -> None:
        self._open = False
        while not keep and self._undo:
            self._undo.pop()()
        self._undo = []


class Table[R: DataclassInstance]:
    """Records of one kind, by id and by run."""

    def __init__(self, kind: str, record_type: type[R], journal: Journal, run_column: str = "workflow_run_id") -> None:
        self._kind, self._journal = kind, journal
        self._columns = columns_of(record_type)
        self._run_column = run_column
        self._rows: dict[str, R] = {}
        self._of_run: dict[str, dict[str, None]] = {}
        self._positions: dict[str, int] = {}
        self._next_position = 0

    def where(self, test: Callable[[R], bool]) -> list[R]:
        """Copies of the rows that meet the condition."""
        return [copied(row) for row in self._rows.values() if test(row)]

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._rows

    def find(self, row_id: str) -> R | None:
        row = self._rows.get(row_id)
        return None if row is None else copied(row)

    def get(self, row_id: str) -> R:
        row = self.find(row_id)
        if row is None:
            raise NotFound(self._kind, row_id)
        return row

    def of_run(self, run_id: str) -> list[R]:
        """In order of insertion."""
        ids = sorted(self._of_run.get(run_id, ()), key=self._positions.__getitem__)
        return [copied(self._rows[row_id]) for row_id in ids]

    def runs(self) -> Iterator[str]:
        return iter(self._of_run)

    def insert(self, row_id: str, row: R) -> None:
        if row_id in self._rows:
            raise StoreError(f"{self._kind} {row_id!r} exists already")
        checked = self._checked(row, {name: getattr(row, name) for name in self._columns})
        self._journal.add(lambda: self._drop(row_id))
        self._next_position += 1
        self._keep(row_id, checked, self._next_position)

    def update(self, row_id: str, patch: Mapping[str, Any]) -> R:
        before = self._rows.get(row_id)
        if before is None:
            raise NotFound(self._kind, row_id)
        after = self._checked(before, patch)
        self._journal.add(lambda: self._rows.__setitem__(row_id, before))
        self._rows[row_id] = after
        return copied(after)

    def delete(self, row_id: str) -> bool:
        row = self._rows.get(row_id)
        if row is None:
            return False
        position = self._positions[row_id]
        self._journal.add(lambda: self._keep(row_id, row, position))
        self._drop(row_id)
        return True

    def _keep(self, row_id: str, row: R, position: int) -> None:
        self._rows[row_id], self._positions[row_id] = row, position
        self._of_run.setdefault(getattr(row, self._run_column), {})[row_id] = None

    def _drop(self, row_id: str) -> None:
        run_id = getattr(self._rows.pop(row_id), self._run_column)
        del self._positions[row_id], self._of_run[run_id][row_id]
        if not self._of_run[run_id]:
            del self._of_run[run_id]

    def _checked(self, row: R, values: Mapping[str, Any]) -> R:
        return replace(row, **checked_columns(values, self._columns, self._kind))
