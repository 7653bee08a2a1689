"""The same acts on benches over different stores: all must answer the same, and leave the same rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from engine.definition.workflow import Workflow
from engine.domain.blob_keys import ROOT
from engine.domain.errors import EngineError, StoreError
from engine.execution.attempt import Attempt
from engine.kernel.host_commands import Finished
from engine.ports.persistence import Persistence
from engine.testing import FakeClock, FixedIds
from engine.transitions.facts import Outcome
from tests.kernel.bench import Bench
from tests.properties.rows import KeyName, Rows, all_rows, differences
from tests.properties.wrapped_persistence import FaultyPersistence

type OpenStore = Callable[[FakeClock], Persistence]

type Stores = Mapping[str, OpenStore]
"""By name; the first is the reference."""

type Answers = Mapping[str, Any]
"""Store → what its bench gave or raised."""


class Crash(BaseException):
    """The process dies."""


class StoreBench(Bench):
    """A bench with a store, a clock, ids, blobs and a sink of its own."""

    def __init__(self, store: str, open_store: OpenStore, workflows: Sequence[Workflow[Any, Any]]) -> None:
        clock = FakeClock()
        self.store, self.faulty = store, FaultyPersistence(open_store(clock))
        super().__init__(*workflows, clock=clock, persistence=self.faulty, ids=FixedIds())

    def heal(self) -> None:
        self.faulty.heal()
        self.events.failures.clear()

    def rows(self, keys: set[KeyName]) -> Rows:
        blobs = self.kernel.deps.blob_store
        stored = {key: {"sha256": blobs.info(key).sha256} for key in blobs.list(ROOT)}
        return {**all_rows(self.persistence, sorted(keys)), "blobs": stored}


@dataclass
class Held:
    """An attempt that a worker holds, or believes to hold, by store."""

    attempts: Mapping[str, Attempt]
    outcomes: Mapping[str, Outcome] | None = None


class Benches:
    """`keys` are the idempotency keys that were used so far."""

    def __init__(self, stores: Stores, workflows: Sequence[Workflow[Any, Any]]) -> None:
        self._all = [StoreBench(store, open_store, workflows) for store, open_store in stores.items()]
        self.reference, *self._others = self._all
        self.keys: set[KeyName] = set()
        self._count, self._step = 0, ""
        self._rows: Rows = {}
        self._checked: list[int] = []

    def do(self, step: str, act: Callable[[StoreBench], object]) -> Answers:
        """Acts on every bench, and compares the answers. What a bench raises is its answer."""
        self._count, self._step = self._count + 1, step
        answers = {bench.store: _answer(bench, act) for bench in self._all}
        expected = comparable(answers[self.reference.store])
        for bench in self._others:
            found = comparable(answers[bench.store])
            if found != expected:
                answer = f"the answer is {found!r} instead of {expected!r}"
                self._complain(bench, [answer, *differences(self.reference.rows(self.keys), bench.rows(self.keys))])
        return answers

    def the(self, answers: Answers) -> Any:
        """The answer of the reference, which is everybody's."""
        return answers[self.reference.store]

    def check_rows(self) -> Rows:
        """Compares all rows and published events. Gives the rows. Without a transaction nothing can have changed."""
        transactions = [bench.faulty.transactions for bench in self._all]
        if transactions != self._checked:
            self._rows, self._checked = self._equal_rows(), transactions
        return self._rows

    def _equal_rows(self) -> Rows:
        expected = self.reference.rows(self.keys)
        for bench in self._others:
            found = differences(expected, bench.rows(self.keys))
            if found:
                self._complain(bench, found)
            if bench.events.events != self.reference.events.events:
                self._complain(bench, ["other events went out"])
        return expected

    def close(self) -> None:
        for bench in self._all:
            bench.persistence.close()

    def _complain(self, bench: StoreBench, found: Sequence[str]) -> NoReturn:
        lines = "\n  ".join(found)
        what = f"step {self._count}, {self._step}: {bench.store} differs from {self.reference.store}"
        raise AssertionError(f"{what}\n  {lines}")


def _answer(bench: StoreBench, act: Callable[[StoreBench], object]) -> object:
    try:
        return act(bench)
    except (EngineError, Crash) as error:
        return error


def comparable(answer: object) -> object:
    """The part of an answer that does not depend on the bench that gave it."""
    match answer:
        case Attempt(claim=claim):
            return claim, list(claim.previous)
        case Finished(outcome=outcome, next=following):
            return outcome, comparable(following)
        case BaseException():
            # A store that refuses a row says so in words of its own.
            return type(answer), "" if type(answer) is StoreError else str(answer)
        case _:
            return answer
