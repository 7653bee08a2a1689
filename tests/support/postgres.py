"""The PostgreSQL server of the local cloud, with databases for tests."""

import itertools

import pg8000.native

from engine.localcloud.postgres_server import PostgresServer as LocalServer

# Never UTC or a whole number of hours from it, so that a timestamp without a zone is wrong visibly.
SERVER_TIME_ZONE = "Pacific/Auckland"


class PostgresServer(LocalServer):
    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        super().__init__(durable=durable, settings={"timezone": SERVER_TIME_ZONE} | (settings or {}))
        self._database_numbers = itertools.count(1)

    def create_database(self, name: str | None = None, template: str | None = None) -> str:
        """Creates a database, with a fresh name by default, and returns its URL.

        A template (a database without connections) is copied, which is much cheaper than a migration.
        """
        name = name or f"test_{next(self._database_numbers)}"
        source = f' TEMPLATE "{template}"' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{source}')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops a database if it exists, and ends its connections."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        connection = pg8000.native.Connection(
            "postgres", host="127.0.0.1", port=self.port, database="postgres", ssl_context=False, timeout=10
        )
        try:
            connection.run(statement)
        finally:
            connection.close()
