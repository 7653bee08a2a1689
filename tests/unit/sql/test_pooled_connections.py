"""Nothing is left behind on a pooled connection: no open transaction, and no answer to somebody else's statement."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import Engine, create_engine, event

from engine.adapters.sql.driver import call, driver_connection
from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import InvalidInput, StoreError
from engine.ports.changes import Changes, Insert, JobUpdate, Refused, RunUpdate, Written
from engine.ports.persistence import LockedRun
from engine.testing.contracts.changes import applied, begun, changes, set_run
from engine.testing.contracts.reading import run_of
from engine.testing.contracts.rows import a_job, an_event, claim
from engine.testing.contracts.threads import together
from tests.support.postgres import PostgresServer
from tests.unit.sql.stores import DRIVERS, emptied

HALF_A_CHARACTER = "\ud800"
COUNTED = changes(run=RunUpdate(ids=("r",), add={"group_no": 1}), events=(an_event(),))


pytestmark = pytest.mark.postgres


@pytest.fixture(params=DRIVERS)
def url(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> str:
    return emptied(postgres_server, request.param)


@pytest.fixture
def persistence(url: str) -> Iterator[SqlPersistence]:
    persistence = SqlPersistence(url, pool_size=4)
    yield persistence
    persistence.close()


def open_transactions(url: str) -> int:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in trans%%'"
        ).scalar_one()
    engine.dispose()
    return int(found)


def raises(_locked: LockedRun) -> Changes | Refused:
    raise KeyError("mine")


def interrupts(_locked: LockedRun) -> Changes | Refused:
    raise KeyboardInterrupt


def looks_up_what_nobody_can(locked: LockedRun) -> Changes | Refused:
    locked.tx.runs.find(HALF_A_CHARACTER)
    raise AssertionError("it was looked up")


REFUSED_LATE = changes(JobUpdate(ids=("unknown",)), run=COUNTED.run)
ENDS: dict[str, Callable[[LockedRun], Changes | Refused]] = {
    "raised": raises,
    "interrupted": interrupts,
    "refused": lambda _: Refused(),
    "refused by its first condition": lambda _: changes(run=RunUpdate(ids=("unknown",))),
    "refused by a later condition": lambda _: REFUSED_LATE,
    "broke a foreign key": lambda _: changes(Insert(rows=(a_job("b", workflow_run_id="unknown"),)), run=COUNTED.run),
    "cannot be stored": lambda _: changes(run=RunUpdate(ids=("r",), set={"failure_message": "\x00"})),
    "looked up what nobody can": looks_up_what_nobody_can,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_decision_leaves_no_transaction_open(url: str, end: Callable[[LockedRun], Changes | Refused]) -> None:
    persistence = SqlPersistence(url, pool_size=1)
    applied(persistence, begun("a"))
    with suppress(KeyError, KeyboardInterrupt, StoreError, InvalidInput):
        assert isinstance(persistence.decide("r", end), Refused)
    assert open_transactions(url) == 0
    assert run_of(persistence).event_seq == 1
    assert isinstance(persistence.decide("r", lambda _: COUNTED), Written)
    persistence.close()


def test_a_decision_whose_wait_was_cancelled_leaves_no_transaction_open(url: str) -> None:
    """As by the server's statement_timeout."""
    persistence = SqlPersistence(url, pool_size=1)
    applied(persistence, begun("a"))
    engine = create_engine(url)
    with engine.connect() as holder, ThreadPoolExecutor(1) as pool:
        holder.exec_driver_sql("select from workflow_run for update")
        decision = pool.submit(persistence.decide, "r", lambda _: COUNTED)
        while not decision.done():
            cancel_waiting(url)
        holder.rollback()
    engine.dispose()
    with pytest.raises(StoreError, match="cancel"):
        decision.result()
    assert open_transactions(url) == 0
    applied(persistence, COUNTED)
    persistence.close()


def cancel_waiting(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "select pg_cancel_backend(pid) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
    engine.dispose()


def break_in_a_reading(persistence: SqlPersistence) -> None:
    with pytest.raises(InvalidInput):
        persistence.read(lambda tx: tx.runs.find(HALF_A_CHARACTER))


def break_in_a_transaction(persistence: SqlPersistence) -> None:
    with pytest.raises(InvalidInput):
        persistence.transact(lambda tx: tx.keys.find("", "run.create", HALF_A_CHARACTER))


def break_in_a_decision(persistence: SqlPersistence) -> None:
    with pytest.raises(InvalidInput):
        persistence.decide("r", looks_up_what_nobody_can)


def break_in_a_claim(persistence: SqlPersistence) -> None:
    with pytest.raises(InvalidInput):
        persistence.claim(claim(HALF_A_CHARACTER))


def break_off_an_answer(persistence: SqlPersistence) -> None:
    """By Ctrl-C."""
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), driver_connection(persistence._engine) as connection:
        call(connection, "select pg_sleep(1)::text")
    timer.join()


BREAKS = (break_in_a_reading, break_in_a_transaction, break_in_a_decision, break_in_a_claim, break_off_an_answer)


@pytest.mark.failure(67)
@pytest.mark.parametrize("break_a_statement", BREAKS)
def test_after_a_statement_that_broke_half_way_nobody_gets_somebody_elses_results(
    url: str, break_a_statement: Callable[[SqlPersistence], None]
) -> None:
    persistence = SqlPersistence(url, pool_size=1)
    applied(persistence, begun("a"))
    for number in range(1, 4):
        break_a_statement(persistence)
        assert run_of(persistence).id == "r"
        set_run(persistence, group_no=number)
        assert run_of(persistence).group_no == number
        assert persistence.transact(lambda tx: tx.keys.find("", "run.create", "unknown")) is None
    persistence.close()


def test_a_connection_on_which_a_statement_broke_is_discarded_and_no_other(persistence: SqlPersistence) -> None:
    together([lambda: persistence.read(lambda tx: tx.now())] * 3)
    opened = connections_opened(persistence._engine)
    for broken, break_a_statement in enumerate((break_in_a_reading, break_off_an_answer), 1):
        break_a_statement(persistence)
        together([lambda: persistence.read(lambda tx: tx.now())] * 3)
        assert len(opened) <= broken


def connections_opened(engine: Engine) -> list[object]:
    """Grows with each connection that is opened from now on."""
    opened: list[object] = []
    event.listen(engine, "connect", lambda connection, _: opened.append(connection))
    return opened
