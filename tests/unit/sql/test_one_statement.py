"""A transition and a claim are one statement each on PostgreSQL, and any command works on one connection."""

from collections.abc import Iterator
from typing import Any

import pytest
from engine.ports.write_set import StageChange, Verdict, WriteSet
from sqlalchemy import event

from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import IdempotencyInProgressError, InvalidInput, InvalidTransition, StoreError
from engine.domain.lifecycle import StageStatus
from engine.domain.records import KeyRecord, KeyState
from engine.ports.persistence import Claim
from engine.testing.contracts.reading import run_of, stage_of
from engine.testing.contracts.rows import AT, a_group, a_lease, a_run, begun, claim, claim_any, completes
from engine.testing.contracts.threads import together
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import DRIVERS, emptied

pytestmark = pytest.mark.postgres

KEY = KeyRecord(tenant="", command_type="run.create", key="k", request_hash="h", state=KeyState.DONE, acquired_at=AT)


@pytest.fixture(params=DRIVERS)
def persistence(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[SqlPersistence]:
    persistence = SqlPersistence(emptied(postgres_server, request.param), pool_size=1)
    persistence.read(lambda tx: tx.now())
    yield persistence
    persistence.close()


@pytest.fixture
def statements(persistence: SqlPersistence) -> list[str]:
    noted: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        noted.append(statement.split("(", maxsplit=1)[0])

    event.listen(persistence._engine, "before_cursor_execute", note)
    return noted


def test_a_run_of_three_stages_is_five_statements(persistence: SqlPersistence, statements: list[str]) -> None:
    persistence.apply(begun("a", key=KEY))
    assert isinstance(persistence.claim(claim_any()), Claim)
    persistence.apply(completes(then=a_group(2, "b", lease=a_lease("u"))))
    persistence.apply(completes("b", "u", then=a_group(3, "c", lease=a_lease("v"))))
    assert persistence.apply(completes("c", "v")).run_status is StageStatus.COMPLETED
    assert statements == [
        "select engine_apply_v1",
        "select engine_claim_v1",
        "select engine_apply_v1",
        "select engine_apply_v1",
        "select engine_apply_v1",
    ]


def test_values_that_look_like_sql_are_only_values(persistence: SqlPersistence) -> None:
    value = "$$ '; -- $engine$ %s :x \\ \\u0000 \\$ ? {} \u2028 €"
    persistence.apply(begun("a"))
    persistence.apply(WriteSet(run_id="r", at=AT, run={"output": {"value": value, "$$": value}}))
    assert run_of(persistence).output == {"value": value, "$$": value}


@pytest.mark.parametrize("value", ["a\x00b", float("nan")])
def test_a_document_that_cannot_be_stored_is_refused_by_name(persistence: SqlPersistence, value: object) -> None:
    with pytest.raises(InvalidInput, match=r"run\.input\.value"):
        persistence.apply(WriteSet(run_id="r", at=AT, create=a_run(input={"value": value})))
    persistence.apply(begun("a"))
    persistence.claim(claim())
    change = StageChange(
        record_id="r.a", status_in=frozenset({StageStatus.RUNNING}), patch={"output_data": {"value": value}}
    )
    with pytest.raises(InvalidInput, match=r"stage\.output_data\.value"):
        persistence.apply(completes(stage=change))
    assert stage_of(persistence).status is StageStatus.RUNNING


def test_a_text_that_cannot_be_stored_is_refused(persistence: SqlPersistence) -> None:
    persistence.apply(begun("a"))
    with pytest.raises(InvalidInput, match=r"write set\.run\.failure_message"):
        persistence.apply(WriteSet(run_id="r", at=AT, run={"failure_message": "a\x00"}))


def test_a_move_that_the_tables_do_not_list_is_refused(persistence: SqlPersistence) -> None:
    persistence.apply(WriteSet(run_id="r", at=AT, create=a_run(status=StageStatus.PENDING)))
    with pytest.raises(InvalidTransition, match="a run cannot go from PENDING to COMPLETED"):
        persistence.apply(
            WriteSet(run_id="r", at=AT, run_in=frozenset({StageStatus.PENDING}), run={"status": StageStatus.COMPLETED})
        )
    assert run_of(persistence).version == 1


def test_a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_ever(
    persistence: SqlPersistence,
) -> None:
    for inner in (persistence.read, persistence.transact):
        with pytest.raises(StoreError, match="second connection"):
            persistence.transact(lambda _, inner=inner: inner(lambda tx: tx.now()))  # type: ignore[misc]  # which of both
    assert persistence.apply(begun("a")).verdict is Verdict.APPLIED


def test_a_key_that_another_call_holds_is_waited_for_and_then_reported(postgres_server: PostgresServer) -> None:
    """Five seconds are the contract."""
    holder, waiter = (SqlPersistence(emptied(postgres_server)) for _ in range(2))

    def hold(tx: Any) -> Verdict:
        tx.keys.insert(KEY)
        with pytest.raises(IdempotencyInProgressError):
            waiter.apply(begun("a", key=KEY))
        return Verdict.APPLIED

    assert holder.transact(hold) is Verdict.APPLIED
    assert waiter.apply(begun("a", key=KEY)).verdict is Verdict.KEY_EXISTS
    holder.close()
    waiter.close()


def test_threads_share_one_connection(persistence: SqlPersistence) -> None:
    for number in range(8):
        persistence.apply(begun("a", run_id=f"r{number}"))
    claims = together([lambda: persistence.claim(claim_any("t"))] * 8)
    assert all(isinstance(each, Claim) for each in claims)
