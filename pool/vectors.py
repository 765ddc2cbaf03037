"""Reads and writes unit vectors of texts, each with the encoder that made it.

Knows the tables of vectors; knows neither personas nor indexes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import insert

from ethos.embedding import EmbedderIdentity, Vectors
from ethos.errors import InputError
from ethos.pool import schema
from ethos.pool.database import Database
from ethos.pool.store import text_id

_VECTORS = select(schema.EmbeddingRow.text_id, schema.EmbeddingRow.vector).where(
    schema.EmbeddingRow.embedder_id == bindparam("embedder"),
    schema.EmbeddingRow.text_id.in_(bindparam("ids", expanding=True)),
)


class VectorStore:
    """The pool's vectors in SQL; those of two encoders never meet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, embedder: EmbedderIdentity, texts: Iterable[str]) -> dict[str, Vectors]:
        """The stored unit vectors of these texts by this encoder; texts without one are absent."""
        by_id = {text_id(text): text for text in texts}
        found: dict[str, Vectors] = {}
        ids = list(by_id)
        with self._database.read() as connection:
            for start in range(0, len(ids), 500):
                some = {"embedder": embedder.id, "ids": ids[start : start + 500]}
                for identifier, blob in connection.execute(_VECTORS, some):
                    found[by_id[identifier]] = np.frombuffer(blob, dtype="<f4")
        return found

    def put(self, embedder: EmbedderIdentity, vectors: Mapping[str, Vectors]) -> None:
        """Store unit vectors by text.

        Raises:
            InputError: A vector is not finite, or not of unit length.
        """
        for text, vector in vectors.items():
            if not np.isfinite(vector).all() or abs(float(np.linalg.norm(vector)) - 1.0) > 1e-3:
                raise InputError(f"the embedder {embedder.name} gave no unit vector for {text[:60]!r}")
        if not vectors:
            return
        dimensions = len(next(iter(vectors.values())))
        row = {
            "id": embedder.id,
            "name": embedder.name,
            "revision": embedder.revision,
            "dimensions": dimensions,
        }
        rows = [
            {"embedder_id": embedder.id, "text_id": text_id(text), "vector": vector.astype("<f4").tobytes()}
            for text, vector in vectors.items()
        ]
        with self._database.write() as connection:
            connection.execute(insert(schema.EmbedderRow).values(row).on_conflict_do_nothing())
            connection.execute(insert(schema.EmbeddingRow).on_conflict_do_nothing(), rows)
