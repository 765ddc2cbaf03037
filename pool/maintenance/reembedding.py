"""Change the pool's embedder: new vectors beside the old ones, then the switch.

Knows vectors and the fact that names the embedder; knows neither indexes nor panels. A run that was stopped goes on
where it stopped, since a text that has its vector is not encoded again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from sqlalchemy import delete, select

from ethos.encoders.embedder import Embedder
from ethos.encoders.identity import EmbedderIdentity
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.facts import EMBEDDER, Facts
from ethos.pool.storage.personas import Store
from ethos.pool.storage.rows import text_id

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
