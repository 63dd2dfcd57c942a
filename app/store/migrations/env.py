"""Alembic's entry point; the connection comes from `Database.migrate`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
)
context.run_migrations()
