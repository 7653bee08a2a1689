"""The same random changes on a store and on the reference in memory have the same answers and leave the same rows."""

from collections.abc import Iterable
from dataclasses import asdict
from random import Random
from typing import Any

import pytest

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.domain.errors import EngineError
from engine.ports.changes import Changes, Refused
from engine.ports.persistence import ClaimRequest, Persistence
from engine.testing.clock import FakeClock
from engine.testing.contracts.random_changes import KEYS, Step, random_steps
from engine.testing.contracts.reading import everything
from engine.testing.contracts.store import StoreContract


def compare(store: Persistence, reference: Persistence, steps: Iterable[Step], clock: FakeClock) -> None:
    """Takes each step on both, and compares answers and rows after it."""
    for number, step in enumerate(steps):
        if isinstance(step, float):
            clock.advance(step)
            continue
        told = (number, answer_of(store, step), rows_of(store))
        assert told == (number, answer_of(reference, step), rows_of(reference)), step


def answer_of(store: Persistence, step: Changes | ClaimRequest) -> dict[str, Any]:
    try:
        answer = store.write(step) if isinstance(step, Changes) else store.claim(step)
    except EngineError as error:
        return {"raised": type(error)}
    match answer:
        case Refused():
            return {"refused": True}
        case _:
            return asdict(answer)


def rows_of(store: Persistence) -> dict[str, Any]:
    keys = store.read(lambda tx: [tx.keys.find("", "run.create", key) for key in KEYS])
    return {**everything(store, "r"), "keys": keys}


class EqualityContract(StoreContract):
    @pytest.mark.parametrize("seed", range(20))
    def test_random_changes_leave_the_rows_the_reference_leaves(
        self, persistence: Persistence, clock: FakeClock, seed: int
    ) -> None:
        compare(persistence, InMemoryPersistence(clock), random_steps(Random(seed)), clock)
