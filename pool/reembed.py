"""Changes the pool's embedder: new vectors beside the old ones, and the switch when all are there.

Knows vectors and the fact that names the embedder; knows neither indexes nor panels. A run that was stopped goes on
where it stopped, since a text that has its vector is not encoded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import delete, select

from ethos.embedding import Embedder, EmbedderIdentity
from ethos.errors import ConfigurationError
from ethos.llm.weights import MINILM
from ethos.pool import schema
from ethos.pool.database import FILE, Database
from ethos.pool.facts import Facts
from ethos.pool.rows import text_id
from ethos.pool.store import Store
from ethos.pool.vectors import VectorStore

EMBEDDER = "embedder"
_BATCH = 256  # texts that are encoded and stored at once; what a stopped run loses at most


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What a run did.

    Attributes:
        texts: That the pool needs vectors of.
        encoded: In this run; the others had their vectors.
        dropped: Old vectors that were deleted.
        calibration_stale: Whether the gate was calibrated, which is for the old embedder.
    """

    texts: int
    encoded: int
    dropped: int
    calibration_stale: bool


def reembed(
    database: Database, embedder: Embedder, progress: Callable[[int, int], None], *, drop_old: bool = False
) -> Reembedded:
    """Encode the pool's texts by another embedder, then make it the pool's own.

    Until the last vector is stored the pool works with its old embedder as before.

    Args:
        database: The pool's.
        embedder: The new one.
        progress: Told how many of how many texts have their vectors.
        drop_old: Whether the vectors of all other embedders are deleted at the end.

    Raises:
        ConfigurationError: The embedder cannot be loaded.
    """
    texts, encoded = _encode_missing(database, embedder, progress)
    facts = Facts(database)
    facts.put(EMBEDDER, asdict(embedder.identity))
    dropped = _drop_others(database, embedder.identity) if drop_old else 0
    return Reembedded(texts, encoded, dropped, facts.get("calibration") is not None)


def encode_missing(database: Database, embedder: Embedder, progress: Callable[[int, int], None]) -> int:
    """Encode those of the pool's texts that have no vector by this embedder; how many were encoded."""
    return _encode_missing(database, embedder, progress)[1]


def remembered(database: Database) -> EmbedderIdentity | None:
    """The embedder that the pool was last re-encoded with; None if it never was."""
    told = Facts(database).get(EMBEDDER)
    return None if told is None else EmbedderIdentity(**told)


def embedder_name(folder: Path) -> str:
    """Name of the embedder that a pool is to be opened with when nobody names one."""
    if not (folder / FILE).exists():
        return MINILM
    database = Database(folder)
    try:
        told = remembered(database)
    finally:
        database.close()
    return told.name if told else MINILM


def check_embedder(database: Database, identity: EmbedderIdentity) -> None:
    """Refuse to search a pool with another embedder than its own.

    Raises:
        ConfigurationError: The pool was re-encoded with another one.
    """
    told = remembered(database)
    if told and told.id != identity.id:
        other = f"{identity.name} has other weights" if told.name == identity.name else f"{identity.name} was named"
        raise ConfigurationError(
            f"the pool {database.folder} is encoded with {told.name}, but {other}",
            f"leave --embedder out, or change the pool's: ethos pool reembed {identity.name}",
        )


def _encode_missing(database: Database, embedder: Embedder, progress: Callable[[int, int], None]) -> tuple[int, int]:
    """How many texts the pool needs vectors of, and how many of them were encoded now."""
    vectors, encoded, done = VectorStore(database), 0, 0
    texts = _texts(database)
    for start in range(0, len(texts), _BATCH):
        some = texts[start : start + _BATCH]
        held = vectors.get(embedder.identity, some)
        if missing := [text for text in some if text not in held]:
            vectors.put(embedder.identity, dict(zip(missing, embedder.encode(missing), strict=True)))
            encoded += len(missing)
        done += len(some)
        progress(done, len(texts))
    return len(texts), encoded


def _texts(database: Database) -> list[str]:
    """Situations and values that the index needs, and the lines that some embedder encoded before, each once."""
    links = Store(database).links()
    lines = {text_id(persona.line): persona.line for persona in {link.persona for link in links}}
    with database.read() as connection:
        held = set(connection.execute(select(schema.EmbeddingRow.text_id).distinct()).scalars())
    needed = (text for link in links for text in (link.situation, link.persona.core_value, link.persona.right_duty))
    return list(dict.fromkeys([*needed, *(line for key, line in sorted(lines.items()) if key in held)]))


def _drop_others(database: Database, identity: EmbedderIdentity) -> int:
    with database.write() as connection:
        dropped = connection.execute(
            delete(schema.EmbeddingRow).where(schema.EmbeddingRow.embedder_id != identity.id)
        ).rowcount
        connection.execute(delete(schema.EmbedderRow).where(schema.EmbedderRow.id != identity.id))
    return dropped
