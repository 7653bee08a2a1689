"""A write and a claim are one round trip each on PostgreSQL, a decision is two, and any command works on one
connection."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import IdempotencyInProgressError, InvalidInput, StoreError
from engine.domain.lifecycle import StageStatus
from engine.ports.changes import Changes, Refused, RunUpdate, StageUpdate, Written
from engine.ports.persistence import Claim, LockedRun
from engine.testing.contracts.changes import applied, begun, changes, completes, insert, opened, set_run
from engine.testing.contracts.reading import run_of, stage_of
from engine.testing.contracts.rows import a_key, a_run, claim, claim_any
from engine.testing.contracts.threads import together
from tests.support.counting_proxy import CountingProxy
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import DRIVERS, emptied, on_port

pytestmark = pytest.mark.postgres

KEY = a_key()


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> str:
    return emptied(postgres_server, request.param)


@pytest.fixture
def persistence(url: str) -> Iterator[SqlPersistence]:
    persistence = SqlPersistence(url, pool_size=1)
    yield persistence
    persistence.close()


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[CountingProxy]:
    with CountingProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def counted(url: str, proxy: CountingProxy) -> Iterator[SqlPersistence]:
    """A store whose round trips are counted from now on."""
    persistence = SqlPersistence(on_port(url, proxy.port), pool_size=1)
    persistence.read(lambda tx: tx.now())
    proxy.round_trips = 0
    yield persistence
    persistence.close()


def test_a_run_of_three_stages_is_seven_round_trips(counted: SqlPersistence, proxy: CountingProxy) -> None:
    applied(counted, begun("a", key=KEY))
    for stage_id, following in (("a", opened(2, "b")), ("b", opened(3, "c")), ("c", ())):
        assert isinstance(counted.claim(claim_any(stage_id)), Claim)
        applied(counted, completes(stage_id, stage_id, more=following))
    assert proxy.round_trips == 7


@pytest.mark.parametrize(("whole", "trips"), [(False, 3), (True, 2)])
def test_a_decision_is_two_round_trips_when_it_says_what_it_looks_at(
    counted: SqlPersistence, proxy: CountingProxy, whole: bool, trips: int
) -> None:
    applied(counted, begun("a", "b"))
    proxy.round_trips = 0

    def decide(locked: LockedRun) -> Changes:
        assert (len(locked.stages()), len(locked.jobs())) == (2, 2)
        return changes(run=RunUpdate(ids=("r",)))

    assert isinstance(counted.decide("r", decide, whole=whole), Written)
    assert proxy.round_trips == trips


def test_a_decision_that_refuses_is_two_round_trips(counted: SqlPersistence, proxy: CountingProxy) -> None:
    assert counted.decide("r", lambda _: Refused()) == Refused()
    assert proxy.round_trips == 2


def test_values_that_look_like_sql_are_only_values(persistence: SqlPersistence) -> None:
    value = "$$ '; -- $engine$ %s :x \\ \\u0000 \\$ ? {} \u2028 €"
    applied(persistence, begun("a"))
    set_run(persistence, output={"value": {value: [value]}})
    assert run_of(persistence).output == {"value": {value: [value]}}


@pytest.mark.parametrize("value", ["a\x00b", float("nan")])
def test_a_document_that_cannot_be_stored_is_refused_by_name(persistence: SqlPersistence, value: object) -> None:
    document: Any = {"value": value}
    with pytest.raises(InvalidInput, match=r"run\.input\.value"):
        insert(persistence, a_run(input=document))
    applied(persistence, begun("a"))
    persistence.claim(claim())
    stored = StageUpdate(ids=("r.a",), set={"output_data": document})
    with pytest.raises(InvalidInput, match=r"stage\.output_data\.value"):
        applied(persistence, completes(more=(stored,)))
    assert stage_of(persistence).status is StageStatus.RUNNING


def test_a_text_that_cannot_be_stored_is_refused_by_name(persistence: SqlPersistence) -> None:
    applied(persistence, begun("a"))
    with pytest.raises(InvalidInput, match=r"set\.failure_message"):
        set_run(persistence, failure_message="a\x00")


def test_a_column_that_does_not_exist_is_refused(persistence: SqlPersistence) -> None:
    applied(persistence, begun("a"))
    with pytest.raises(InvalidInput, match="a run has no columns"):
        set_run(persistence, colour="red")


def test_a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_ever(
    persistence: SqlPersistence,
) -> None:
    for inner in (persistence.read, persistence.transact):
        with pytest.raises(StoreError, match="second connection"):
            persistence.transact(lambda _, inner=inner: inner(lambda tx: tx.now()))  # type: ignore[misc]  # which of both
    with pytest.raises(StoreError, match="second connection"):
        persistence.decide("r", lambda _: persistence.write(changes()))  # type: ignore[arg-type,return-value]  # the mistake under test
    applied(persistence, begun("a"))


def test_a_key_that_another_call_holds_is_waited_for_and_then_reported(postgres_server: PostgresServer) -> None:
    """Five seconds are the contract."""
    holder, waiter = (SqlPersistence(emptied(postgres_server)) for _ in range(2))

    def hold(tx: Any) -> None:
        tx.keys.insert(KEY)
        began = time.monotonic()
        with pytest.raises(IdempotencyInProgressError):
            waiter.write(begun("a", key=KEY))
        assert 4 < time.monotonic() - began < 15

    holder.transact(hold)
    assert waiter.write(begun("a", key=KEY)) == Refused()
    holder.close()
    waiter.close()


def test_threads_share_one_connection(persistence: SqlPersistence) -> None:
    for number in range(8):
        applied(persistence, begun("a", run_id=f"r{number}"))
    claims = together([lambda: persistence.claim(claim_any("t"))] * 8)
    assert all(isinstance(each, Claim) for each in claims)
