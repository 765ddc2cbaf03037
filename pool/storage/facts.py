"""Facts about the pool as a whole: named JSON values, among them the embedder that the pool is encoded with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import insert

from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import ConfigurationError
from ethos.llm.weights import MINILM
from ethos.pool.storage import schema
from ethos.pool.storage.database import FILE, Database

EMBEDDER = "embedder"
CALIBRATION = "calibration"

_VALUE = select(schema.PoolFact.value).where(schema.PoolFact.name == bindparam("name"))


class Facts:
    """Named JSON values of one pool."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Any:
        """A fact's value; None if it was never put."""
        with self._database.read() as connection:
            stored = connection.execute(_VALUE, {"name": name}).scalar()
        return None if stored is None else json.loads(stored)

    def put(self, name: str, value: object) -> None:
        """Store a fact in place of what it was."""
        row = {"name": name, "value": json.dumps(value)}
        made = insert(schema.PoolFact).values(row)
        with self._database.write() as connection:
            connection.execute(made.on_conflict_do_update(index_elements=["name"], set_={"value": row["value"]}))


def remembered(database: Database) -> EmbedderIdentity | None:
    """The embedder that the pool was last re-encoded with; None if it never was."""
    stored = Facts(database).get(EMBEDDER)
    return None if stored is None else EmbedderIdentity(**stored)


def embedder_name(folder: Path) -> str:
    """Name of the embedder that a pool is to be opened with when nobody names one."""
    if not (folder / FILE).exists():
        return MINILM
    database = Database(folder)
    try:
        stored = remembered(database)
    finally:
        database.close()
    return stored.name if stored else MINILM


def check_embedder(database: Database, identity: EmbedderIdentity) -> None:
    """Refuse to search a pool with another embedder than its own.

    Raises:
        ConfigurationError: The pool was re-encoded with another one.
    """
    stored = remembered(database)
    if stored and stored.id != identity.id:
        other = f"{identity.name} has other weights" if stored.name == identity.name else f"{identity.name} was named"
        raise ConfigurationError(
            f"the pool {database.folder} is encoded with {stored.name}, but {other}",
            f"leave --embedder out, or change the pool's: ethos pool reembed {identity.name}",
        )
