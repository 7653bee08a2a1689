"""The state of the machine that drives runs through all that can happen to them, in any order.

The same acts happen on every one of its stores; after each rule all rows are compared, and those of the first store
are checked. Workers take a job, run its body and commit its outcome as separate steps, so that several of them can
hold attempts of the same job, some long expired.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from engine.execution.attempt import Attempt
from engine.kernel.host_commands import Finished
from engine.ports.persistence import Lease
from engine.transitions.facts import Completed
from tests.kernel.bench import LEASE
from tests.properties.behaviours import Script
from tests.properties.benches import Answers, Benches, Held, StoreBench, Stores
from tests.properties.rows import KeyName
from tests.properties.soundness import check_events, check_rows

any_one = st.integers(0, 23)
seldom = st.integers(0, 3).map(lambda number: number == 0)
"""Whether a rule is to do what ends most other possibilities."""


def pick(table: Mapping[str, Any], which: int) -> Any:
    """One of its rows."""
    rows = [table[row_id] for row_id in sorted(table)]
    return rows[which % len(rows)]


class MachineState(RuleBasedStateMachine):
    """`rows` are those after the last rule. `damaged` are runs whose rows are as an older version or a bug could have
    left them; `accepted` says which attempt of a stage record was told that its result is stored; `dead` are events
    that were dead letters at some time."""

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self.script = Script()
        self.benches = Benches(stores, self.script.workflows())
        self.runs: list[str] = []
        self.damaged: set[str] = set()
        self.held: list[Held] = []
        self.accepted: dict[str, str] = {}
        self.dead: set[str] = set()
        self.rows = self.benches.check_rows()

    @property
    def bench(self) -> StoreBench:
        """The bench that stands for all."""
        return self.benches.reference

    def do(self, step: str, act: Callable[[StoreBench], object]) -> Answers:
        return self.benches.do(step, act)

    def do_one(self, step: str, act: Callable[[StoreBench], object]) -> Any:
        """Gives the answer, which is the same everywhere."""
        return self.benches.the(self.do(step, act))

    def wait(self, seconds: float) -> None:
        if seconds:
            self.do("wait", lambda bench: bench.clock.advance(seconds))

    def has(self, table: str, *statuses: StrEnum) -> bool:
        return any(row.status in statuses for row in self.rows[table].values())

    def run_id(self, which: int) -> str:
        return self.runs[which % len(self.runs)]

    def attempt(self, which: int) -> Held:
        return self.held[which % len(self.held)]

    def know_key(self, command_type: str, key: str | None, tenant: str | None = None) -> None:
        if key is not None:
            self.benches.keys.add(KeyName(tenant or "", command_type, key))

    def hold(self, attempts: Answers) -> Held | None:
        if not isinstance(self.benches.the(attempts), Attempt):
            return None
        self.held.append(Held(attempts))
        return self.held[-1]

    def perform_held(self, held: Held) -> None:
        held.outcomes = self.do("perform", lambda bench: bench.perform(held.attempts[bench.store]))

    def finish_held(self, held: Held, *, go_on: bool = False) -> Held | None:
        """Commits the outcome, which must be there. Gives the next attempt, if the worker goes on with one."""
        outcomes = held.outcomes
        assert outcomes is not None

        def finish(bench: StoreBench) -> Finished:
            lease = Lease(worker_id="w1", token=bench.kernel.deps.ids.token(), seconds=LEASE) if go_on else None
            return bench.finish(held.attempts[bench.store], outcomes[bench.store], lease=lease)

        finished = self.do("finish", finish)
        if not isinstance(self.benches.the(finished), Finished):
            return None
        if isinstance(self.benches.the(finished).outcome, Completed):
            self._accept(self.benches.the(held.attempts))
        return self.hold({store: answer.next for store, answer in finished.items()})

    def _accept(self, attempt: Attempt) -> None:
        """Checks that at most one attempt of a stage record is told that its result was stored."""
        assert self.accepted.setdefault(attempt.claim.stage.id, attempt.token) == attempt.token

    @invariant()
    def stores_are_equal_and_sound(self) -> None:
        rows = self.benches.check_rows()
        if rows is self.rows:
            return
        self.rows = rows
        self.runs = sorted(self.rows["runs"])
        self.dead |= {event_id for event_id, event in self.rows["outbox"].items() if event.dlq_at is not None}
        for run_id in self.runs:
            view = self.bench.reads.run(run_id)
            check_events(self.bench, view)
            if run_id not in self.damaged:
                check_rows(view)

    def teardown(self) -> None:
        self.benches.close()
