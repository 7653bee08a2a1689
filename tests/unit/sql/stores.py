"""Databases for tests."""

from functools import cache

from sqlalchemy import create_engine, make_url

from engine.adapters.sql.migrate import migrate
from tests.support.postgres import PostgresServer

DRIVERS = ("pg8000", "psycopg")


@cache
def _migrated(server: PostgresServer) -> str:
    url = server.create_database()
    migrate(url)
    return url


def emptied(server: PostgresServer, driver: str = "pg8000") -> str:
    """The URL of a migrated database without rows, the same one for all tests of a server."""
    url = _migrated(server)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "delete from workflow_run; delete from idempotency_key; delete from ai_call; delete from ai_spending"
        )
    engine.dispose()
    return url.replace("pg8000", driver)


def on_port(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)
