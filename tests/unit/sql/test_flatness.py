"""However much history there is, the store looks at few rows: nothing slows down as runs pile up."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from engine.adapters.sql.migrate import migrate
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.sql.schema import METADATA
from engine.testing.clock import FakeClock
from engine.testing.contracts.changes import applied, begun, fails, suspends
from engine.testing.contracts.rows import claim
from tests.support.postgres import PostgresServer
from tests.unit.sql.operations import OPERATIONS

HISTORY = 50_000
LIVE = 50
ROWS_LOOKED_AT = 200

FINISHED = f"""
create temporary table history as
  select 'done' || lpad(n::text, 5, '0') as id, timestamptz '2026-01-01 12:00Z' - make_interval(secs => n) as t
  from generate_series(1, {HISTORY}) n;
insert into workflow_run (id, workflow_id, workflow_name, workflow_type, definition_hash, status, input, created_at,
    updated_at, config, tenant, priority, version, event_seq, group_no, group_open, started_at, completed_at,
    total_cost, total_tokens)
  select id, 'w', 'W', 'w', 'h', 'COMPLETED', '{{"value": 1}}', t, t, '{{}}', 'many', 5, 3, 2, 1, 0, t, t, 0, 0
  from history;
insert into workflow_stage (id, workflow_run_id, stage_id, stage_name, stage_number, execution_group, status,
    created_at, updated_at, generation, version, config, total_cost, total_tokens)
  select id || '.a', id, 'a', 'A', 1, 1, 'COMPLETED', t, t, 0, 2, '{{}}', 0, 0 from history;
insert into job (id, workflow_run_id, stage_record_id, stage_id, pool, status, due_at, rank, created_at, updated_at,
    priority, attempt, max_attempts, worker_id)
  select id || '.a.job', id, id || '.a', 'a', 'default', 'COMPLETED', t, t, t, t, 5, 1, 3, 'worker of t' from history;
insert into outbox_event (id, workflow_run_id, sequence, event_type, payload, occurred_at, published_at, retry_count)
  select id || '.1', id, 1, 'workflow:created', '{{}}', t, t, 0 from history;
insert into workflow_log (id, workflow_run_id, level, message, created_at)
  select id || '.log', id, 'INFO', 'said', t from history;
insert into workflow_annotation (id, workflow_run_id, scope, scope_id, generation, key, value, created_at)
  select id || '.note', 'noted', 'run', 'noted', 0, 'progress.' || id, '1', t from history;
insert into idempotency_key (tenant, command_type, key, request_hash, state, acquired_at)
  select '', 'run.create', id, 'h', 'DONE', t from history;
analyze;
"""

LOOKED_AT = """
select (select sum(seq_tup_read) from pg_stat_user_tables) + (select sum(idx_tup_read) from pg_stat_user_indexes)
"""


OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""


def add_live_runs(persistence: SqlPersistence) -> None:
    for number in range(LIVE):
        applied(persistence, begun("a", run_id=f"live{number}"))
    persistence.claim(claim(run_id="live1"))
    persistence.claim(claim(run_id="live2"))
    applied(persistence, suspends(run_id="live2"))
    persistence.claim(claim(run_id="live3"))
    applied(persistence, fails(run_id="live3"))


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    url = postgres_server.create_database()
    migrate(url)
    persistence = SqlPersistence(url, clock=FakeClock())
    applied(persistence, begun("a", run_id="noted"))
    engine = create_engine(url.replace("pg8000", "psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(FINISHED)
        add_live_runs(persistence)
        connection.exec_driver_sql("analyze")
    engine.dispose()
    persistence.close()
    return url


def looked_at(url: str) -> int:
    """Rows read since the database was made. A server process reports its part at the latest when it ends."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        deadline = time.monotonic() + 10
        while connection.exec_driver_sql(OTHERS).scalar_one() and time.monotonic() < deadline:
            time.sleep(0.01)
        found = connection.exec_driver_sql(LOOKED_AT).scalar_one()
    engine.dispose()
    return int(found)


@pytest.mark.postgres
@pytest.mark.parametrize("name", OPERATIONS)
def test_postgresql_looks_at_few_rows_of_a_long_history(database: str, name: str) -> None:
    persistence = SqlPersistence(database, clock=FakeClock())
    before = looked_at(database)
    OPERATIONS[name](persistence)
    persistence.close()
    assert looked_at(database) - before < ROWS_LOOKED_AT


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlPersistence]:
    path = tmp_path_factory.mktemp("flatness") / "engine.db"
    persistence = SqlPersistence(f"sqlite:///{path}", clock=FakeClock())
    add_live_runs(persistence)
    yield persistence
    persistence.close()


def plans_of(statements: list[str], persistence: SqlPersistence) -> list[str]:
    explained = [each for each in statements if each.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))]
    with persistence._connect() as connection:
        rows = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}").all() for each in explained]
    return [row[3] for each in rows for row in each]


@pytest.mark.parametrize("name", OPERATIONS)
def test_sqlite_scans_no_table(embedded: SqlPersistence, name: str) -> None:
    statements: list[str] = []

    def listen(connection: Any, *_rest: object) -> None:
        connection.set_trace_callback(statements.append)

    def stop_listening(connection: Any, *_rest: object) -> None:
        connection.set_trace_callback(None)

    for name_of_event, listener in (("checkout", listen), ("checkin", stop_listening)):
        event.listen(embedded._engine, name_of_event, listener)
    try:
        OPERATIONS[name](embedded)
    finally:
        for name_of_event, listener in (("checkout", listen), ("checkin", stop_listening)):
            event.remove(embedded._engine, name_of_event, listener)
    plans = plans_of(statements, embedded)
    assert plans
    scanned = [plan for plan in plans if plan.startswith("SCAN") and "USING" not in plan]
    assert [plan for plan in scanned if plan.split()[1] in METADATA.tables] == []
