"""Transactions when PostgreSQL deadlocks, restarts, fails over or is cut off."""

import threading
from collections.abc import Iterator

import pytest
from engine.ports.write_set import Verdict
from sqlalchemy import create_engine, make_url, text

from engine.adapters.sql.persistence import SqlPersistence
from engine.domain.errors import StoreError, StoreUnavailable
from engine.domain.lifecycle import RunStatus
from engine.ports.persistence import Claim
from engine.ports.transaction import Tx
from engine.testing.contracts.reading import run_of, told
from engine.testing.contracts.rows import a_job, a_run, begun, claim, completes
from engine.testing.contracts.threads import together
from tests.support.postgres import PostgresServer
from tests.unit.sql.cutting_proxy import CuttingProxy
from tests.unit.sql.stores import DRIVERS, emptied

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
    through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
    persistence = SqlPersistence(through, pool_size=1)
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


def test_a_terminated_connection_runs_the_whole_work_again(url: str, persistence: SqlPersistence) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(len(tries))
        tx.runs.insert(a_run())
        if len(tries) == 1:
            end_other_connections(url)
        tx.runs.update("r", {"total_tokens": 7})

    persistence.transact(work)
    assert tries == [0, 1]
    assert run_of(persistence).total_tokens == 7


def test_idle_connections_that_the_server_ended_are_replaced(url: str, persistence: SqlPersistence) -> None:
    together([lambda: persistence.read(lambda tx: tx.runs.find("r"))] * 4)
    end_other_connections(url)
    assert persistence.apply(begun("a")).verdict is Verdict.APPLIED
    assert run_of(persistence).status is RunStatus.RUNNING


def test_one_of_two_deadlocked_transactions_is_run_again(persistence: SqlPersistence) -> None:
    for run_id in ("r1", "r2"):
        persistence.apply(begun("a", run_id=run_id))
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def locks(first: str, second: str) -> None:
        def work(tx: Tx) -> None:
            tries.append(first)
            tx.runs.lock(first)
            if len(tries) <= 2:
                both_hold_one.wait(timeout=10)
            tx.runs.lock(second)
            tx.runs.update(second, {"total_tokens": run_of_tx(tx, second) + 1})

        persistence.transact(work)

    together([lambda: locks("r1", "r2"), lambda: locks("r2", "r1")])
    assert len(tries) == 3
    assert (run_of(persistence, "r1").total_tokens, run_of(persistence, "r2").total_tokens) == (1, 1)


def run_of_tx(tx: Tx, run_id: str) -> int:
    return tx.runs.get(run_id).total_tokens


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_restarting_server_is_waited_for(how: str, driver: str) -> None:
    with PostgresServer() as server:
        persistence = SqlPersistence(emptied(server, driver))
        persistence.apply(begun("a"))
        getattr(server, how)()
        threading.Timer(0.5, server.start).start()
        assert persistence.claim(claim()) is not None
        assert persistence.apply(completes()).verdict is Verdict.APPLIED
        assert told(persistence) == ["workflow:created", "stage:started", "stage:completed", "workflow:completed"]
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
    assert persistence.apply(begun("a")).verdict is Verdict.APPLIED
    timer.join()


RESET = "alter database {} reset default_transaction_read_only"


def test_a_finish_whose_answer_was_lost_is_told_as_a_repeat(behind_proxy: SqlPersistence, proxy: CuttingProxy) -> None:
    behind_proxy.apply(begun("a"))
    behind_proxy.claim(claim())
    proxy.lose_answer_to(b"engine_apply_v1")
    assert behind_proxy.apply(completes()).verdict is Verdict.REPEAT
    assert proxy.cuts == 1
    assert run_of(behind_proxy).status is RunStatus.COMPLETED
    assert told(behind_proxy).count("stage:completed") == 1


def test_a_claim_whose_answer_was_lost_is_the_same_claim(behind_proxy: SqlPersistence, proxy: CuttingProxy) -> None:
    behind_proxy.apply(begun("a"))
    proxy.lose_answer_to(b"engine_claim_v1")
    claimed = behind_proxy.claim(claim())
    assert proxy.cuts == 1
    assert isinstance(claimed, Claim)
    assert claimed.job.attempt == 1
    assert told(behind_proxy).count("stage:started") == 1


def test_a_creation_whose_message_was_lost_is_sent_again(behind_proxy: SqlPersistence, proxy: CuttingProxy) -> None:
    behind_proxy.read(lambda tx: tx.now())
    proxy.lose_message(b"engine_apply_v1")
    assert behind_proxy.apply(begun("a")).verdict is Verdict.APPLIED
    assert proxy.cuts == 1


def test_a_commit_whose_answer_was_lost_is_never_repeated_blindly(
    behind_proxy: SqlPersistence, proxy: CuttingProxy
) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(1)
        tx.runs.insert(a_run())

    behind_proxy.read(lambda tx: tx.now())
    proxy.lose_answer_to(b"COMMIT")
    with pytest.raises(StoreUnavailable, match="look whether it happened"):
        behind_proxy.transact(work)
    assert tries == [1]
    assert run_of(behind_proxy) == a_run()


def test_errors_of_the_work_are_not_retried_and_roll_back(persistence: SqlPersistence) -> None:
    tries: list[int] = []

    def work(tx: Tx) -> None:
        tries.append(1)
        tx.runs.insert(a_run())
        raise KeyError("mine")

    with pytest.raises(KeyError):
        persistence.transact(work)
    assert tries == [1]
    assert persistence.read(lambda tx: tx.runs.find("r")) is None


def test_a_refused_statement_never_poisons_the_next_transaction(url: str) -> None:
    persistence = SqlPersistence(url, pool_size=1)
    persistence.apply(begun("a"))
    for _ in range(3):
        with pytest.raises(StoreError, match="duplicate key"):
            persistence.transact(lambda tx: tx.runs.insert(a_run()))
        assert persistence.transact(lambda tx: tx.runs.update("r", {"total_tokens": 1})).total_tokens == 1
    persistence.close()


def test_a_work_that_swallows_a_refused_statement_is_not_told_it_was_committed(persistence: SqlPersistence) -> None:
    def work(tx: Tx) -> None:
        tx.runs.insert(a_run())
        try:
            tx.runs.insert(a_run())
        except Exception:  # noqa: BLE001 — the mistake under test
            return

    with pytest.raises(StoreError, match="duplicate key"):
        persistence.transact(work)
    assert persistence.read(lambda tx: tx.runs.find("r")) is None


def test_what_users_stored_is_in_no_error(persistence: SqlPersistence) -> None:
    with pytest.raises(StoreError) as error:
        persistence.transact(lambda tx: tx.jobs.insert([a_job(last_error="s3cret", workflow_run_id="unknown")]))
    assert "s3cret" not in str(error.value) + str(error.value.__cause__)
