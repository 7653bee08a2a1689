"""Whatever is asked of it, the transition written in PL/pgSQL does what the one written in Python does."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.adapters.memory.persistence import InMemoryPersistence
from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import EngineError
from engine.domain.lifecycle import StageStatus
from engine.domain.records import KeyRecord, KeyState
from engine.domain.stored_value import inline
from engine.ports.persistence import ClaimRequest, Persistence
from engine.ports.transaction import Tx
from engine.ports.write_set import Closes, JobChange, StageChange, WriteSet
from engine.testing.clock import FakeClock
from engine.testing.contracts.reading import everything
from engine.testing.contracts.rows import (
    AT,
    a_group,
    a_lease,
    a_log,
    a_run,
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
    noted,
    releases_lease,
    suspends,
)
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import emptied

type Step = WriteSet | ClaimRequest | float

pytestmark = pytest.mark.postgres

stages = st.sampled_from("abc")
tokens = st.sampled_from("tu")
statuses = st.frozensets(st.sampled_from(list(Status)), min_size=1)
KEY = KeyRecord(tenant="", command_type="run.create", key="k", request_hash="h", state=KeyState.DONE, acquired_at=AT)
extras = st.fixed_dictionaries(
    {},
    optional={
        "cost": st.sampled_from([0.1, 0.7]),
        "tokens": st.integers(0, 9),
        "annotations": st.lists(
            st.builds(noted, st.uuids().map(str), idempotency_key=st.sampled_from([None, "once"])), max_size=3
        ).map(tuple),
        "logs": st.just((a_log("1"),)),
        "causation_id": st.just("cause"),
        "expected_version": st.integers(1, 5),
        "opens": st.just(replace(a_group(1, "a", "c"), events=(an_event(),))),
        "jobs": st.tuples(st.builds(draft, stages, id=st.uuids().map(str))),
        "removes": st.tuples(stages.map("r.{}".format)),
        "key": st.just(KEY),
        "run_in": statuses,
        "run": st.fixed_dictionaries(
            {},
            optional={
                "status": st.sampled_from(list(Status)),
                "failure_code": st.sampled_from([None, "F"]),
                "priority": st.integers(1, 9),
                "started_at": st.sampled_from([None, at(-0.0005)]),
                "output": st.sampled_from([None, inline([None, 1.5])]),
            },
        ),
    },
)


def job_change(stage_id: str, **fields: Any) -> JobChange:
    return JobChange(job_id=f"r.{stage_id}.job", **fields)


job_changes = st.builds(
    job_change,
    stages,
    to=st.sampled_from(list(Status)),
    status_in=statuses,
    token=st.none() | tokens,
    expired=st.booleans(),
    renew=st.none() | st.just(30.0),
    due_in=st.sampled_from([0.0, 5.0]),
    uncounted=st.booleans(),
    error=st.sampled_from([None, "broke"]),
)
stage_changes = st.builds(
    StageChange,
    record_id=stages.map("r.{}".format),
    status_in=statuses,
    patch=st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(list(Status)),
            "metrics": st.sampled_from([None, {"n": None}]),
            "total_cost": st.just(0.3),
            "error_code": st.sampled_from([None, "E"]),
            "next_poll_at": st.sampled_from([None, at(7)]),
        },
    ),
    poll_token=st.sampled_from([None, None, "p"]),
)
followers = st.sampled_from(
    [completes().then, a_group(2, "b"), replace(a_group(2, "b", events=(an_event(),)), lease=a_lease("u")), None]
)
anything = st.builds(
    lambda more, **fields: WriteSet(**{"run_id": "r", "at": at(4), **fields, **more}),
    extras,
    job=st.none() | job_changes,
    stage=st.none() | stage_changes,
    closes=st.sampled_from(list(Closes)),
    then=followers,
    failed_event=st.sampled_from([None, failed_event()]),
)
creations = st.builds(
    lambda opens, more: WriteSet(run_id="r", at=AT, create=a_run(status=StageStatus.PENDING), opens=opens, **more),
    st.sampled_from([None, a_group(1, "a"), a_group(1, "a", lease=a_lease())]),
    st.fixed_dictionaries({}, optional={"key": st.just(KEY), "artifacts": st.just((an_artifact("f"),))}),
)
ordinary = st.one_of(
    st.builds(claim, stages, tokens),
    st.builds(claim_any, tokens, run_id=st.sampled_from([None, "r"])),
    st.builds(
        lambda stage, token, then, more: completes(stage, token, then=then, **more), stages, tokens, followers, extras
    ),
    st.builds(fails, stages, tokens, retry_in=st.sampled_from([None, 5.0])),
    st.builds(suspends, stages, tokens),
    st.builds(releases_lease, stages, expired=st.booleans(), uncounted=st.booleans()),
    st.builds(cancels),
    creations,
    st.sampled_from([1.0, 60.0]),
)
beginnings = st.sampled_from([begun("a"), begun("a", "b", "c"), begun("a", "b", key=KEY)])


def taken(persistence: Persistence, step: WriteSet | ClaimRequest) -> dict[str, Any]:
    try:
        answer = persistence.apply(step) if isinstance(step, WriteSet) else persistence.claim(step)
    except EngineError as error:
        return {"raised": type(error)}
    return asdict(answer)


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="module")
def store(clock: FakeClock, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
    store = SqlPersistence(emptied(postgres_server, "psycopg"), clock=clock)
    yield store
    store.close()


def forget(tx: Tx) -> None:
    tx.runs.delete(["r"])
    tx.keys.delete(KEY)


@settings(max_examples=60, deadline=None)
@given(beginning=beginnings, steps=st.lists(ordinary | anything, max_size=8))
def test_stories_end_in_the_same_rows(
    store: SqlPersistence, clock: FakeClock, beginning: WriteSet, steps: Sequence[Step]
) -> None:
    store.transact(forget)
    clock.advance(AT - clock.now())
    reference = InMemoryPersistence(clock)
    for step in [beginning, *steps]:
        if isinstance(step, float):
            clock.advance(step)
            continue
        assert taken(store, step) == taken(reference, step)
        assert everything(store, "r") == everything(reference, "r")
