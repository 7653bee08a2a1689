"""The store's clock as SQL: the database server's, or the time bound as `:now`.

SQLite has no server, so there the process's time is always bound. Wrapped in a subquery because PostgreSQL uses
an index for `due_at <= …` only when it may evaluate a volatile clock once.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Double, bindparam, cast, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from engine.adapters.sql.column_types import Instant, instant_text


class _ServerClock(FunctionElement[datetime]):
    """`clock_timestamp()` and not `now()`: the wait for a lock must not shorten a lease."""

    name = "server_clock"
    type = Instant()
    inherit_cache = True


class After(FunctionElement[datetime]):
    """A time plus some seconds."""

    name = "after"
    type = Instant()
    inherit_cache = True


@compiles(_ServerClock, "postgresql")
def _clock_of_the_server(_element: _ServerClock, _compiler: SQLCompiler, **_options: Any) -> str:
    return "clock_timestamp()"


@compiles(_ServerClock, "sqlite")
def _no_clock(_element: _ServerClock, _compiler: SQLCompiler, **_options: Any) -> str:
    return "NULL"


@compiles(After, "postgresql")
def _interval(element: After, compiler: SQLCompiler, **options: Any) -> str:
    since, seconds = (compiler.process(each, **options) for each in element.clauses)
    return f"({since} + make_interval(secs => {seconds}))"


@compiles(After, "sqlite")
def _shift_function(element: After, compiler: SQLCompiler, **options: Any) -> str:
    return f"engine_after({compiler.process(element.clauses, **options)})"


def engine_after(since: str, seconds: float) -> str:
    """The SQL function `engine_after` of SQLite connections."""
    return instant_text(datetime.fromisoformat(since) + timedelta(seconds=seconds))


NOW = select(
    func.coalesce(bindparam("now", type_=Instant()), _ServerClock(), type_=Instant()).label("now")
).scalar_subquery()


def seconds_from_now(parameter: str = "seconds") -> After:
    return After(NOW, cast(bindparam(parameter), Double))


READ_NOW = select(NOW)
