"""Migrates a database to the newest revision. Only this module imports Alembic."""

import io
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from engine.adapters.sql.connections import PasswordProvider, open_engine
from engine.adapters.sql.database_url import parse_url
from engine.adapters.sql.persistence import Retries
from engine.adapters.sql.revision import store_revision

_FOLDER = Path(__file__).parent / "migrations"

# Alembic keeps its context in global variables of the process.
_ONE_AT_A_TIME = Lock()


def migrate(url: str, *, patience: float = 60.0, password: PasswordProvider | None = None) -> str:
    """Applies missing migrations in one transaction. Gives the revision; a newer one is left as it is."""
    parsed = parse_url(url)
    engine = open_engine(parsed, pool_size=1, connect_timeout=None, password=password)
    try:
        return Retries(parsed, patience).run(lambda: _upgrade(engine))
    finally:
        engine.dispose()


def migration_sql(url: str) -> str:
    """The statements that create the tables of an empty database, to be run by hand."""
    output = io.StringIO()
    config = _config(parse_url(url).get_backend_name())
    config.output_buffer = output
    with _ONE_AT_A_TIME:
        command.upgrade(config, "head", sql=True)
    return output.getvalue()


def _upgrade(engine: Engine) -> str:
    with _ONE_AT_A_TIME, engine.connect() as connection:
        found, newest = store_revision(connection), _newest(engine.dialect.name)
        if found is not None and found >= newest:
            return found
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")
        config = _config(engine.dialect.name)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql("COMMIT")
        return str(store_revision(connection))


def _newest(dialect: str) -> str:
    """The last revision of this code. Revisions are numbered and sort as text."""
    return str(ScriptDirectory.from_config(_config(dialect)).get_current_head())


def _config(dialect: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["dialect"] = dialect
    return config
