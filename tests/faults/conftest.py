from tests.kernel.stores import (
    clock,
    make_bench,
    persistence,
    postgres_database,
    sqlite_template,
    store_kind,
    store_url,
)

__all__ = [
    "clock",
    "make_bench",
    "persistence",
    "postgres_database",
    "sqlite_template",
    "store_kind",
    "store_url",
]
