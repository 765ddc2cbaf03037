"""Runs migrations: inside the connection that opens a pool, or on alembic.ini's scratch database for developers."""

from __future__ import annotations

from pathlib import Path

from alembic import context
from sqlalchemy import Connection, create_engine

from ethos.pool.storage.schema import Base


def migrate(connection: Connection) -> None:
    """Run the wanted migrations in the connection's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        transactional_ddl=True,  # a process that dies in the middle leaves nothing behind
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    url = context.config.get_main_option("sqlalchemy.url")
    assert url is not None
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    with create_engine(url).begin() as opened:
        migrate(opened)
