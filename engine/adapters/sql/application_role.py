"""The database role of the functions: it may read and write rows, but not change tables."""

import re

from sqlalchemy import Engine

from engine.adapters.sql.connections import PasswordProvider, open_engine
from engine.adapters.sql.database_url import parse_url
from engine.adapters.sql.persistence import Retries
from engine.domain.errors import SettingsError

IDLE_SESSION_TIMEOUT = "60s"
"""The idle connection of a frozen sandbox must not keep the database from pausing."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_CREATE = """DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} LOGIN; END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN GRANT rds_iam TO {role}; END IF;
END $$"""
_GRANTS = (
    f"ALTER ROLE {{role}} SET idle_session_timeout = '{IDLE_SESSION_TIMEOUT}'",
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}",
)


def prepare_role(url: str, role: str, *, patience: float = 60.0, password: PasswordProvider | None = None) -> None:
    """Creates the role if it is missing, and grants it access to the existing tables, in one transaction.

    On RDS it logs in by IAM. Raises `SettingsError` for a name that needs quotes.
    """
    if not _NAME.fullmatch(role):
        raise SettingsError(f"ENGINE_DATABASE_ROLE is {role!r}: use lower-case letters, digits and _")
    parsed = parse_url(url)
    engine = open_engine(parsed, pool_size=1, connect_timeout=None, password=password)
    try:
        Retries(parsed, patience).run(lambda: _prepare(engine, role))
    finally:
        engine.dispose()


def _prepare(engine: Engine, role: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        for statement in (_CREATE, *_GRANTS):
            connection.exec_driver_sql(statement.format(role=role))
        connection.exec_driver_sql("COMMIT")
