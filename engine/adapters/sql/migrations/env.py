"""Run by Alembic, with the configuration of `engine.adapters.sql.migrate`."""

from alembic import context

from engine.adapters.sql.schema import METADATA

# A number of its own: of two concurrent migrations the second waits, and then finds nothing to apply.
LOCK = "select pg_advisory_xact_lock(7310421968)"


def run() -> None:
    is_postgresql = context.config.attributes["dialect"] == "postgresql"
    context.configure(
        connection=context.config.attributes.get("connection"),
        dialect_name=context.config.attributes["dialect"],
        dialect_opts={"paramstyle": "named"},  # others double each "%" of what is printed
        target_metadata=METADATA,
        literal_binds=context.is_offline_mode(),
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if is_postgresql:
            context.execute(LOCK)
        context.run_migrations()


run()
