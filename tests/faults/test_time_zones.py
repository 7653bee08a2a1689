from datetime import UTC, datetime, timedelta

import pg8000.dbapi
import pytest
from sqlalchemy import make_url

from engine.domain.lifecycle import RunStatus
from engine.kernel import LeaseReapStale, RunReapStuck
from engine.ports.persistence import NoClaim
from engine.testing import FakeClock
from tests.kernel.stores import MakeBench, in_databases, in_postgres, open_store
from tests.kernel.workflows import Flaky, pipeline, stage


@pytest.mark.failure(10)
@in_databases
def test_leases_and_backoff_hold_on_the_databases_own_clock(store_url: str, make_bench: MakeBench) -> None:
    """The server's zone is not UTC, and no clock is injected."""
    persistence = open_store(store_url, None)
    clock = FakeClock(datetime.now(UTC))
    bench = make_bench(pipeline(stage(body=Flaky(1))), persistence=persistence, clock=clock)
    run_id = bench.create()
    attempt = bench.start()
    assert bench.dispatch(LeaseReapStale()).released == 0
    assert bench.dispatch(RunReapStuck(stuck_threshold=0)).failed == 0
    lease_until = bench.job(run_id).lease_until
    assert lease_until is not None
    assert timedelta(seconds=290) < lease_until - datetime.now(UTC) <= timedelta(seconds=300)
    bench.finish(attempt)
    waiting = bench.try_start(job_id=bench.job(run_id).id)
    assert isinstance(waiting, NoClaim)
    assert waiting.later_at is not None
    assert timedelta(0) < waiting.later_at - datetime.now(UTC) <= timedelta(seconds=2.2)
    assert isinstance(bench.try_start(), NoClaim)
    assert bench.run_of(run_id).status is RunStatus.RUNNING
    persistence.close()


@pytest.mark.failure(10)
@in_postgres
def test_the_server_these_tests_run_on_is_not_in_utc(store_url: str) -> None:
    """Without this the test above would prove nothing."""
    url = make_url(store_url)
    connection = pg8000.dbapi.connect(
        "postgres", host=url.host or "", port=url.port or 0, database=url.database, ssl_context=False
    )
    try:
        cursor = connection.cursor()
        cursor.execute("select extract(timezone from now())")
        assert cursor.fetchone()[0] != pytest.approx(0)
    finally:
        connection.close()
