"""Migrates the database to this code's schema."""

from collections.abc import Callable

from engine.adapters.sql.application_role import prepare_role
from engine.adapters.sql.migrate import migrate as apply_migrations
from engine.adapters.sql.migrate import migration_sql as as_sql
from engine.bootstrap.embedded import prepare_home
from engine.settings import Settings


def migrate(settings: Settings, *, password: Callable[[], str] | None = None) -> str:
    """Migrates the database to this code's schema in one transaction, then grants the application's role.

    Gives the database's revision.
    """
    if settings.database_url is None:
        prepare_home(settings)
    revision = apply_migrations(settings.store_url, password=password)
    if settings.database_role is not None:
        prepare_role(settings.store_url, settings.database_role, password=password)
    return revision


def migration_sql(settings: Settings) -> str:
    """The SQL that `migrate` would execute on an empty database."""
    return as_sql(settings.store_url)
