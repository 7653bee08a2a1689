"""The role that functions log in as, on a real PostgreSQL."""

import pg8000.native

from engine.adapters.sql.application_role import prepare_role
from engine.adapters.sql.migrate import migrate
from tests.support.postgres import PostgresServer


def test_the_role_may_use_the_tables_but_not_change_them_and_never_sits_idle(postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE ROLE rds_iam")
    url = postgres_server.create_database("application_role")
    migrate(url)
    prepare_role(url, "engine_app")
    prepare_role(url, "engine_app")
    connection = pg8000.native.Connection(
        "engine_app", host="127.0.0.1", port=postgres_server.port, database="application_role", ssl_context=False
    )
    try:
        assert connection.run("SHOW idle_session_timeout") == [["1min"]]
        assert connection.run("SELECT pg_has_role('engine_app', 'rds_iam', 'member')") == [[True]]
        assert connection.run("SELECT has_schema_privilege('engine_app', 'public', 'CREATE')") == [[False]]
        unusable = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        assert connection.run(f"{unusable} AND NOT has_table_privilege(oid, 'DELETE')") == []
    finally:
        connection.close()
        postgres_server.execute("DROP DATABASE application_role WITH (FORCE)")
        postgres_server.execute("DROP ROLE engine_app")
        postgres_server.execute("DROP ROLE rds_iam")
