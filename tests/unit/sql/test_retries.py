"""Transactions when PostgreSQL deadlocks, restarts, fails over or is cut off."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import StoreError, StoreUnavailable
from engine.domain.lifecycle import JobStatus, RunStatus
from engine.ports.changes import Changes, Insert, JobUpdate, Reason, Refused, RunUpdate, Written
from engine.ports.persistence import Claim, LockedRun
from engine.ports.transaction import Tx
from engine.testing.contracts.changes import applied, begun, changes, completes
from engine.testing.contracts.reading import run_of, told
from engine.testing.contracts.rows import a_job, a_key, an_event, claim, claim_any
from engine.testing.contracts.threads import together
from tests.support.postgres import PostgresServer
from tests.unit.sql.cutting_proxy import CuttingProxy
from tests.unit.sql.stores import DRIVERS, emptied, on_port

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


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(url: str, proxy: CuttingProxy) -> Iterator[SqlPersistence]:
    persistence = SqlPersistence(on_port(url, proxy.port), pool_size=1)
    yield persistence
    persistence.close()


def execute(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def end_other_connections(url: str) -> None:
    execute(
        url,
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()",
    )


@contextmanager
def set_on_database(url: str, name: str, value: str) -> Iterator[None]:
    """A default of the sessions that begin meanwhile."""
    database = make_url(url).database
    execute(url, f"alter database {database} set {name} = {value}")
    yield
    execute(url, f"alter database {database} reset {name}")


def key_of(persistence: SqlPersistence, key: str) -> object:
    return persistence.read(lambda tx: tx.keys.find("", "run.create", key))


def test_a_terminated_connection_runs_the_whole_work_again(url: str, persistence: SqlPersistence) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(len(tries))
        assert tx.keys.insert(a_key("first"))
        if len(tries) == 1:
            end_other_connections(url)
        assert tx.keys.insert(a_key("second"))

    persistence.transact(work)
    assert tries == [0, 1]
    assert [key_of(persistence, key) for key in ("first", "second")] == [a_key("first"), a_key("second")]


def test_a_transaction_that_the_server_ended_because_it_was_idle_runs_again(
    url: str, persistence: SqlPersistence
) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(len(tries))
        assert tx.keys.insert(a_key("first"))
        if len(tries) == 1:
            time.sleep(0.5)
        assert tx.keys.insert(a_key("second"))

    with set_on_database(url, "idle_in_transaction_session_timeout", "'100ms'"):
        persistence.transact(work)
    assert tries == [0, 1]
    assert [key_of(persistence, key) for key in ("first", "second")] == [a_key("first"), a_key("second")]


def test_idle_connections_that_the_server_ended_are_replaced(url: str, persistence: SqlPersistence) -> None:
    together([lambda: persistence.read(lambda tx: tx.runs.find("r"))] * 4)
    end_other_connections(url)
    applied(persistence, begun("a"))
    assert run_of(persistence).status is RunStatus.RUNNING


def test_one_of_two_deadlocked_transactions_is_run_again(persistence: SqlPersistence) -> None:
    for key in ("1", "2"):
        persistence.transact(lambda tx, key=key: tx.keys.insert(a_key(key)))  # type: ignore[misc]  # which of both
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def locks(first: str, second: str) -> None:
        def work(tx: Tx) -> None:
            tries.append(first)
            tx.keys.replace(a_key(first, request_hash=f"first {first}"))
            if len(tries) <= 2:
                both_hold_one.wait(timeout=10)
            tx.keys.replace(a_key(second, request_hash=f"second of {first}"))

        persistence.transact(work)

    together([lambda: locks("1", "2"), lambda: locks("2", "1")])
    assert len(tries) == 3
    last = tries[2]
    other = "2" if last == "1" else "1"
    assert key_of(persistence, last) == a_key(last, request_hash=f"first {last}")
    assert key_of(persistence, other) == a_key(other, request_hash=f"second of {last}")


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_restarting_server_is_waited_for(how: str, driver: str) -> None:
    with PostgresServer() as server:
        persistence = SqlPersistence(emptied(server, driver))
        applied(persistence, begun("a"))
        getattr(server, how)()
        threading.Timer(0.5, server.start).start()
        assert isinstance(persistence.claim(claim()), Claim)
        applied(persistence, completes())
        assert told(persistence) == ["workflow:created", "stage:started", "stage:completed"]
        persistence.close()


@pytest.mark.parametrize("driver", DRIVERS)
def test_when_time_is_up_the_error_names_the_database_and_no_secret(driver: str) -> None:
    url = f"postgresql+{driver}://user:s3cret@127.0.0.1:1/engine"
    persistence = SqlPersistence(url, patience=0.2)
    with pytest.raises(StoreUnavailable, match=r"'engine' at 127\.0\.0\.1:1 ") as error:
        persistence.read(lambda tx: tx.runs.find("r"))
    assert "s3cret" not in str(error.value)


def test_a_failed_over_connection_is_not_used_again(url: str, persistence: SqlPersistence) -> None:
    """After a failover the old writer refuses writes with 25006."""
    database = make_url(url).database
    execute(url, f"alter database {database} set default_transaction_read_only = on")
    timer = threading.Timer(0.3, execute, [url, f"set transaction_read_only = off; {RESET.format(database)}"])
    timer.start()
    applied(persistence, begun("a"))
    timer.join()


RESET = "alter database {} reset default_transaction_read_only"


class Decision:
    """Counts once for the job "r.a.job", and knows what was counted. `before` is done in each decision."""

    def __init__(self, before: Callable[[int], object] = lambda _: None) -> None:
        self.times, self._before = 0, before

    def __call__(self, locked: LockedRun) -> Changes | Refused:
        self.times += 1
        self._before(self.times)
        assert locked.job is not None
        if locked.job.status is JobStatus.COMPLETED:
            return Refused(Reason.REPEAT)
        done = JobUpdate(ids=("r.a.job",), set={"status": JobStatus.COMPLETED}, expect={"status": JobStatus.PENDING})
        return changes(done, run=COUNTED.run, events=COUNTED.events)


@pytest.mark.failure(69)
@pytest.mark.parametrize("request_of", [{}, {"run_id": "r"}])
def test_a_claim_whose_answer_was_lost_gets_the_job_it_has_claimed(
    behind_proxy: SqlPersistence, proxy: CuttingProxy, request_of: dict[str, Any]
) -> None:
    applied(behind_proxy, begun("a", "b"))
    proxy.lose_answer_to(b"engine_claim_v1")
    claimed = behind_proxy.claim(claim_any(**request_of))
    assert isinstance(claimed, Claim)
    assert proxy.cuts == 1
    jobs = behind_proxy.read(lambda tx: tx.jobs.of_run("r"))
    held = [(job.id, job.lease_token) for job in jobs if job.status is JobStatus.RUNNING]
    assert held == [(claimed.job.id, "t")]
    assert claimed.job.attempt == 1


def test_a_write_whose_message_was_lost_is_sent_again(behind_proxy: SqlPersistence, proxy: CuttingProxy) -> None:
    behind_proxy.read(lambda tx: tx.now())
    proxy.lose_message(b"engine_write_v1")
    applied(behind_proxy, begun("a"))
    assert proxy.cuts == 1
    assert told(behind_proxy) == ["workflow:created"]


def test_a_write_whose_answer_was_lost_is_refused_by_what_it_has_written(
    behind_proxy: SqlPersistence, proxy: CuttingProxy
) -> None:
    """The caller then decides on the rows, and recognises its own."""
    applied(behind_proxy, begun("a"))
    behind_proxy.claim(claim())
    proxy.lose_answer_to(b"engine_write_v1")
    assert behind_proxy.write(completes()) == Refused()
    assert proxy.cuts == 1
    assert told(behind_proxy).count("stage:completed") == 1


def test_a_claim_whose_answer_was_lost_is_the_same_claim(behind_proxy: SqlPersistence, proxy: CuttingProxy) -> None:
    applied(behind_proxy, begun("a"))
    proxy.lose_answer_to(b"engine_claim_v1")
    claimed = behind_proxy.claim(claim())
    assert proxy.cuts == 1
    assert isinstance(claimed, Claim)
    assert claimed.job.attempt == 1
    assert told(behind_proxy).count("stage:started") == 1


def test_a_decision_whose_answer_was_lost_recognises_its_repetition(
    behind_proxy: SqlPersistence, proxy: CuttingProxy
) -> None:
    applied(behind_proxy, begun("a"))
    proxy.lose_answer_to(b"engine_write_v1")
    decision = Decision()
    assert behind_proxy.decide("r", decision, job_id="r.a.job") == Refused(Reason.REPEAT)
    assert (proxy.cuts, decision.times) == (1, 2)
    assert (run_of(behind_proxy).group_no, run_of(behind_proxy).event_seq) == (2, 2)


@pytest.mark.parametrize(("message", "times"), [(b"engine_lock_v1", 1), (b"engine_write_v1", 2)])
def test_a_connection_lost_before_the_commit_of_a_decision_makes_it_again(
    behind_proxy: SqlPersistence, proxy: CuttingProxy, message: bytes, times: int
) -> None:
    applied(behind_proxy, begun("a"))
    proxy.lose_message(message)
    decision = Decision()
    assert isinstance(behind_proxy.decide("r", decision, job_id="r.a.job"), Written)
    assert (proxy.cuts, decision.times) == (1, times)
    assert (run_of(behind_proxy).group_no, run_of(behind_proxy).event_seq) == (2, 2)


def test_a_lock_whose_answer_was_lost_is_taken_again(behind_proxy: SqlPersistence, proxy: CuttingProxy) -> None:
    applied(behind_proxy, begun("a"))
    proxy.lose_answer_to(b"engine_lock_v1")
    decision = Decision()
    assert isinstance(behind_proxy.decide("r", decision, job_id="r.a.job"), Written)
    assert (proxy.cuts, decision.times) == (1, 1)


def test_a_process_that_is_frozen_while_it_decides_stops_nobody_for_long(url: str, persistence: SqlPersistence) -> None:
    applied(persistence, begun("a"))
    other = SqlPersistence(url)

    def freeze(time_of_decision: int) -> None:
        if time_of_decision == 1:
            began = time.monotonic()
            together([partial(applied, other, COUNTED)])
            waited.append(time.monotonic() - began)

    waited: list[float] = []
    decision = Decision(freeze)
    assert isinstance(persistence.decide("r", decision, job_id="r.a.job"), Written)
    assert decision.times == 2
    assert 1 < waited[0] < 5
    assert (run_of(persistence).group_no, run_of(persistence).event_seq) == (3, 3)
    other.close()


def test_a_commit_whose_answer_was_lost_is_never_repeated_blindly(
    behind_proxy: SqlPersistence, proxy: CuttingProxy
) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(1)
        tx.keys.insert(a_key())

    behind_proxy.read(lambda tx: tx.now())
    proxy.lose_answer_to(b"COMMIT")
    with pytest.raises(StoreUnavailable, match="check whether it was committed"):
        behind_proxy.transact(work)
    assert tries == [1]
    assert key_of(behind_proxy, "k") == a_key()


def test_errors_of_the_work_are_not_retried_and_roll_back(persistence: SqlPersistence) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(1)
        tx.keys.insert(a_key())
        raise KeyError("mine")

    with pytest.raises(KeyError):
        persistence.transact(work)
    assert tries == [1]
    assert key_of(persistence, "k") is None


def test_a_refused_statement_never_poisons_the_next_transaction(url: str) -> None:
    persistence = SqlPersistence(url, pool_size=1)
    for number in range(3):
        with pytest.raises(StoreError, match="foreign key"):
            persistence.transact(lambda tx: tx.outbox.mark_delivered("unknown", ["plugin"]))
        assert persistence.transact(lambda tx, key=str(number): tx.keys.insert(a_key(key)))  # type: ignore[misc]  # which one
    persistence.close()


def test_a_work_that_swallows_a_refused_statement_is_not_told_it_was_committed(persistence: SqlPersistence) -> None:
    def work(tx: Tx) -> None:
        tx.keys.insert(a_key())
        try:
            tx.outbox.mark_delivered("unknown", ["plugin"])
        except Exception:  # noqa: BLE001 — the mistake under test
            return

    with pytest.raises(StoreError, match="foreign key"):
        persistence.transact(work)
    assert key_of(persistence, "k") is None


def test_what_users_stored_is_in_no_error(persistence: SqlPersistence) -> None:
    with pytest.raises(StoreError, match="foreign key") as error:
        persistence.write(changes(Insert(rows=(a_job(last_error="s3cret", workflow_run_id="unknown"),))))
    assert "s3cret" not in str(error.value) + str(error.value.__cause__)
