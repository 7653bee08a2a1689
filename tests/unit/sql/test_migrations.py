"""The schema as migrations make it, and what happens when it is missing."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from engine.adapters.sql import migrate as migrate_module
from engine.adapters.sql.migrate import migrate, migration_sql
from engine.adapters.sql.persistence import SqlPersistence
from engine.adapters.sql.revision import HEAD, store_revision
from engine.adapters.sql.schema import METADATA
from engine.domain.errors import StoreBehind
from engine.testing.contracts.changes import applied, begun
from engine.testing.contracts.threads import together
from tests.support.postgres import PostgresServer


def in_database[T](url: str, look: Callable[[Connection], T]) -> T:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        found = look(connection)
    engine.dispose()
    return found


def execute(url: str, statement: str) -> None:
    in_database(url, lambda connection: connection.exec_driver_sql(statement))


def shape(connection: Connection) -> Mapping[str, Any]:
    """All tables with their columns, keys and indexes, in a form that can be compared."""
    found = inspect(connection)
    indexes = (
        "select indexdef from pg_indexes where schemaname = 'public'"
        if connection.dialect.name == "postgresql"
        else "select sql from sqlite_master where type = 'index' and sql is not null"
    )
    return {
        "tables": {
            table: {
                "columns": [{**each, "type": str(each["type"])} for each in found.get_columns(table)],
                "primary": found.get_pk_constraint(table),
                "unique": sorted(map(str, found.get_unique_constraints(table))),
                "foreign": sorted(map(str, found.get_foreign_keys(table))),
            }
            for table in found.get_table_names()
        },
        "indexes": sorted(" ".join(row[0].split()) for row in connection.execute(text(indexes))),
    }


def create_all(url: str) -> None:
    def create(connection: Connection) -> None:
        METADATA.create_all(connection)

    in_database(url, create)


def without_version(found: Mapping[str, Any]) -> Mapping[str, Any]:
    tables = {name: table for name, table in found["tables"].items() if name != "alembic_version"}
    return {"tables": tables, "indexes": [each for each in found["indexes"] if "alembic" not in each]}


def test_an_absent_embedded_database_is_created_as_migrations_would(tmp_path: Path) -> None:
    created, migrated = (f"sqlite:///{tmp_path}/{name}.db" for name in ("new/created", "migrated"))
    persistence = SqlPersistence(created)
    applied(persistence, begun("a"))
    persistence.close()
    assert migrate(migrated) == HEAD
    assert in_database(created, shape) == in_database(migrated, shape)
    assert in_database(created, store_revision) == HEAD


@pytest.mark.postgres
def test_migrations_make_the_tables_that_the_code_declares(postgres_server: PostgresServer, postgres_url: str) -> None:
    declared = postgres_server.create_database()
    create_all(declared)
    migrate(postgres_url)
    assert without_version(in_database(postgres_url, shape)) == without_version(in_database(declared, shape))
    differences = in_database(postgres_url, lambda it: compare_metadata(MigrationContext.configure(it), METADATA))
    assert differences == []


def test_the_revision_the_code_needs_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate_module.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.postgres
def test_a_database_that_is_behind_is_refused_with_the_command_to_run(postgres_url: str) -> None:
    persistence = SqlPersistence(postgres_url)
    with pytest.raises(StoreBehind, match=rf"revision none and this code needs {HEAD}; run `engine migrate`"):
        persistence.read(lambda tx: tx.now())
    migrate(postgres_url)
    execute(postgres_url, "update alembic_version set version_num = '0000'")
    with pytest.raises(StoreBehind, match="revision 0000"):
        applied(persistence, begun("a"))
    execute(postgres_url, "update alembic_version set version_num = '9999'")
    applied(persistence, begun("a"))
    persistence.close()


def newer(url: str) -> None:
    """As a later version of this code leaves it."""
    migrate(url)
    execute(url, "update alembic_version set version_num = '9999'")


@pytest.mark.postgres
def test_migrations_of_a_rolled_back_version_leave_a_newer_database_alone(postgres_url: str, tmp_path: Path) -> None:
    for url in (postgres_url, f"sqlite:///{tmp_path}/engine.db"):
        newer(url)
        before = in_database(url, shape)
        assert migrate(url) == "9999"
        assert in_database(url, shape) == before


def test_an_embedded_database_that_is_behind_is_not_touched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/engine.db"
    execute(url, "create table alembic_version (version_num text)")
    execute(url, "insert into alembic_version values ('0000')")
    persistence = SqlPersistence(url)
    with pytest.raises(StoreBehind, match="revision 0000"):
        persistence.read(lambda tx: tx.now())
    persistence.close()
    assert in_database(url, lambda connection: inspect(connection).get_table_names()) == ["alembic_version"]


def test_many_may_create_the_embedded_database_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/engine.db"
    stores = [SqlPersistence(url) for _ in range(6)]
    together([partial(store.read, lambda tx: tx.now()) for store in stores])
    for store in stores:
        store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("driver", ["pg8000", "psycopg"])
def test_many_may_migrate_at_once_and_again(postgres_url: str, driver: str) -> None:
    url = postgres_url.replace("pg8000", driver)
    code = f"from engine.adapters.sql.migrate import migrate; print(migrate({url!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in processes] == [f"{HEAD}\n"] * 3
    assert together([partial(migrate, url)] * 3) == [HEAD] * 3


@pytest.mark.postgres
def test_the_printed_statements_make_the_same_database(postgres_server: PostgresServer, postgres_url: str) -> None:
    by_hand = postgres_server.create_database()
    execute(by_hand.replace("pg8000", "psycopg"), migration_sql(by_hand).replace("%", "%%"))
    migrate(postgres_url)
    assert in_database(by_hand, shape) == in_database(postgres_url, shape)
    functions = "select proname, prosrc from pg_proc where proname like 'engine%' order by 1"
    made, migrated = (in_database(url, lambda it: it.execute(text(functions)).all()) for url in (by_hand, postgres_url))
    assert made == migrated
    persistence = SqlPersistence(by_hand)
    applied(persistence, begun("a"))
    persistence.close()


def test_the_store_works_without_importing_alembic(tmp_path: Path) -> None:
    code = (
        "import sys; from engine.persistence import SqlPersistence;"
        f"store = SqlPersistence('sqlite:///{tmp_path}/engine.db'); store.read(lambda tx: tx.now()); store.close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
