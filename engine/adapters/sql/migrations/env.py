"""Run by Alembic; `engine.adapters.sql.migrate` prepares what it needs."""

from alembic import context

from engine.adapters.sql.schema import METADATA

# Any number that nobody else uses: of two migrators the second waits, and then finds nothing to do.
LOCK = "select pg_advisory_xact_lock(7310421968)"


def run() -> None:
    is_postgresql = context.config.attributes["dialect"] == "postgresql"
    context.configure(
        connection=context.config.attributes.get("connection"),
        dialect_name=context.config.attributes["dialect"],
        target_metadata=METADATA,
        literal_binds=context.is_offline_mode(),
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if is_postgresql:
            context.execute(LOCK)
        context.run_migrations()


run()
