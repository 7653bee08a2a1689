"""The revision check of the database, without an import of Alembic."""

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from engine.adapters.sql.failures import sqlstate
from engine.adapters.sql.schema import METADATA
from engine.domain.errors import StoreBehind

HEAD = "0002"
"""The newest revision. Revisions are numbered and sort as text."""

_UNDEFINED_TABLE = "42P01"


def store_revision(connection: Connection) -> str | None:
    """The revision of the database; None if it has no tables of the engine."""
    try:
        revision: str | None = connection.execute(text("select version_num from alembic_version")).scalar()
    except DBAPIError as error:
        if sqlstate(error) == _UNDEFINED_TABLE or "no such table" in str(error.orig):
            return None
        raise
    return revision


def check_revision(connection: Connection) -> None:
    """Raises `StoreBehind` for an older revision. A newer one is accepted, because migrations only add."""
    found = store_revision(connection)
    if found is None or found < HEAD:
        raise StoreBehind(
            f"the database is at revision {found or 'none'} and this code needs {HEAD}; run `engine migrate`"
        )


def create_if_empty(engine: Engine) -> None:
    """Creates the tables of an empty embedded database, with the result of the migrations."""
    with engine.connect() as connection:
        if store_revision(connection) is not None:
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if store_revision(connection) is None and not _has_tables(connection):
            METADATA.create_all(connection, checkfirst=False)
            connection.exec_driver_sql(
                "CREATE TABLE alembic_version ("
                "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
            connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{HEAD}')")
        connection.exec_driver_sql("COMMIT")


def _has_tables(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar())
