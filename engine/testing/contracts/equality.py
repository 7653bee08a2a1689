"""The same operations on a store and on the reference in memory must leave the same rows."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.domain.lifecycle import Status
from engine.ports.persistence import ClaimRequest, Persistence
from engine.ports.write_set import AnnotationDraft, Closes, JobChange, WriteSet
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import everything
from engine.testing.contracts.rows import (
    AT,
    a_group,
    a_lease,
    a_log,
    a_run,
    an_annotation,
    an_artifact,
    an_event,
    at,
    begun,
    cancels,
    claim,
    claim_any,
    completes,
    draft,
    failed_event,
    fails,
    releases_lease,
    suspends,
)
from engine.testing.contracts.store import StoreContract

type Step = WriteSet | ClaimRequest | float
"""A write set, a claim, or seconds to wait."""

LEASED = replace(a_group(2, "b", events=(an_event(),)), lease=a_lease("b"))
PENDING_RUN = WriteSet(run_id="r", at=AT, create=a_run(status=Status.PENDING, started_at=None))
STARTS = WriteSet(
    run_id="r",
    at=at(1),
    run_in=frozenset({Status.PENDING}),
    run={"status": Status.RUNNING, "started_at": at(1)},
    opens=a_group(1, "a", "b"),
    events=(an_event(),),
)
EVERYTHING: dict[str, Any] = {
    "logs": (a_log("1", stage_id="a", metadata={"n": None}),),
    "artifacts": (an_artifact("f"),),
    "annotations": (
        AnnotationDraft(record=an_annotation("1", stage_record_id="r.a"), event=an_event()),
        AnnotationDraft(record=an_annotation("2", idempotency_key="once"), event=an_event()),
        AnnotationDraft(record=an_annotation("3", idempotency_key="once"), event=an_event()),
    ),
    "cost": 0.1,
    "tokens": 3,
    "causation_id": "cause",
}
HEARTBEAT = WriteSet(
    run_id="r",
    at=at(3),
    job=JobChange(job_id="r.a.job", to=Status.RUNNING, token="t", renew=90),
    logs=(a_log("beat"),),
)
RERUN = WriteSet(
    run_id="r",
    at=at(9),
    run_in=frozenset({Status.COMPLETED, Status.FAILED}),
    run={"status": Status.RUNNING, "output": None, "completed_at": None, "duration_ms": None, "total_cost": 0.0},
    removes=("r.a",),
    opens=replace(a_group(1, "a"), jobs=(draft("a", id="rerun.job"),)),
    cost=0.2,
)
DONE = WriteSet(run_id="r", at=at(9), closes=Closes.DONE, then=a_group(2, "c"), failed_event=failed_event())
RECREATE_MISSING = WriteSet(run_id="r", at=at(9), jobs=(draft("a", id="x"), draft("b", id="y")))

STORIES: dict[str, Sequence[Step]] = {
    "straight": [begun("a"), claim(), completes(then=LEASED, **EVERYTHING), completes("b", "b", cost=0.7)],
    "parallel": [begun("a", "b", "c"), *(claim(s, s) for s in "abc"), *(completes(s, s) for s in "cab")],
    "started later": [PENDING_RUN, STARTS, STARTS, claim_any(), claim_any("u"), completes("b", "u")],
    "repeated": [begun("a"), begun("a"), claim(), claim(), completes(), completes()],
    "created with annotations": [begun("a", **{k: EVERYTHING[k] for k in ("logs", "annotations", "causation_id")})],
    "created and claimed": [WriteSet(run_id="r", at=AT, create=a_run(), opens=a_group(1, "a", lease=a_lease()))],
    "retried": [begun("a"), claim(), fails(retry_in=5), claim(token="u"), 5.0, claim(token="u"), completes(token="u")],
    "failed": [begun("a"), claim(), fails(cost=1.0)],
    "failed from the stage": [begun("a"), claim(), fails(run={})],
    "failing": [
        begun("a", "b", "c", "d"),
        *(claim(s, s) for s in "abc"),
        fails("a", "a", retry_in=9),
        suspends("b", "b"),
        fails("c", "c"),
        claim("d", "d"),
    ],
    "failing, then ended": [
        begun("a", "b", "c"),
        *(claim(s, s) for s in "abc"),
        fails("a", "a"),
        fails("b", "b"),
        completes("c", "c"),
    ],
    "failing, then tried again": [
        begun("a", "b"),
        claim("a", "a"),
        claim("b", "b"),
        fails("a", "a"),
        fails("b", "b", retry_in=1),
    ],
    "failing, then suspended": [begun("a", "b"), claim("a", "a"), claim("b", "b"), fails("a", "a"), suspends("b", "b")],
    "cancelled": [
        begun("a", "b", "c"),
        claim(),
        suspends(),
        claim("b", "b"),
        cancels(),
        completes("b", "b"),
        cancels(),
    ],
    "cancelled before it began": [PENDING_RUN, cancels(expected_version=9), cancels(expected_version=1)],
    "lease lost": [
        begun("a"),
        claim(),
        60.0,
        releases_lease(expired=True),
        completes(),
        claim(token="u"),
        completes(token="u"),
    ],
    "lease taken over": [begun("a"), claim(), 60.0, claim(token="u"), completes(), completes(token="u")],
    "lease released": [begun("a"), claim(), releases_lease(token="t", uncounted=True), completes(), claim_any("u")],
    "heartbeat": [begun("a"), claim(), 30.0, HEARTBEAT, HEARTBEAT, completes(), HEARTBEAT],
    "rerun": [begun("a"), claim(), completes(annotations=EVERYTHING["annotations"]), RERUN, claim_any("u")],
    "rerun refused": [begun("a"), RERUN],
    "declared done": [begun("a", "b"), claim(), completes(), DONE],
    "job recreated": [begun("a", "b"), claim(), RECREATE_MISSING, releases_lease(), RECREATE_MISSING],
    "group met again": [begun("a", "b"), claim(), WriteSet(run_id="r", at=at(3), opens=a_group(1, "a", "b", "c"))],
    "unknown": [completes(), claim(), claim_any(), cancels()],
}


class EqualityContract(StoreContract):
    @pytest.mark.parametrize("story", STORIES)
    def test_a_story_leaves_the_rows_the_reference_leaves(
        self, persistence: Persistence, clock: FakeClock, story: str
    ) -> None:
        reference = InMemoryPersistence(clock)
        for number, step in enumerate(STORIES[story]):
            if isinstance(step, float):
                clock.advance(step)
                continue
            told = (number, _take(persistence, step), everything(persistence, "r"))
            assert told == (number, _take(reference, step), everything(reference, "r"))


def _take(persistence: Persistence, step: WriteSet | ClaimRequest) -> dict[str, Any]:
    answer = persistence.apply(step) if isinstance(step, WriteSet) else persistence.claim(step)
    return asdict(answer)
