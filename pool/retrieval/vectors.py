"""Read and write unit vectors of texts, each with the encoder that made it.

Knows the tables of vectors; knows neither personas nor indexes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import InputError
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import text_id

_VECTORS = (
    select(schema.EmbeddingRow.text_id, schema.EmbeddingRow.vector, schema.EmbedderRow.dimensions)
    .join(schema.EmbedderRow, schema.EmbedderRow.id == schema.EmbeddingRow.embedder_id)
    .where(
        schema.EmbeddingRow.embedder_id == bindparam("embedder"),
        schema.EmbeddingRow.text_id.in_(bindparam("ids", expanding=True)),
    )
)


class VectorStore:
    """The pool's vectors in SQL; those of two encoders never meet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, embedder: EmbedderIdentity, texts: Iterable[str]) -> dict[str, Vectors]:
        """The stored unit vectors of these texts by this encoder; texts without a sound one are absent."""
        by_id = {text_id(text): text for text in texts}
        found: dict[str, Vectors] = {}
        ids = list(by_id)
        with self._database.read() as connection:
            for start in range(0, len(ids), 500):
                some = {"embedder": embedder.id, "ids": ids[start : start + 500]}
                for identifier, blob, dimensions in connection.execute(_VECTORS, some):
                    if _is_unit(blob, dimensions):
                        found[by_id[identifier]] = np.frombuffer(blob, dtype="<f4")
        return found

    def delete(self, rows: Iterable[tuple[str, str]]) -> None:
        """Remove vectors by the ids of their encoder and text."""
        with self._database.write() as connection:
            for embedder_id, identifier in rows:
                connection.execute(delete(schema.EmbeddingRow).filter_by(embedder_id=embedder_id, text_id=identifier))

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
            made = insert(schema.EmbeddingRow)
            # What is there already was not sound, or is the same.
            in_place = made.on_conflict_do_update(
                index_elements=["embedder_id", "text_id"], set_={"vector": made.excluded.vector}
            )
            connection.execute(in_place, rows)


def unfit_vectors(database: Database) -> list[tuple[str, str]]:
    """Ids of encoder and text of the stored vectors that are not finite, not of unit length, or too short or long."""
    vector = schema.EmbeddingRow
    query = select(vector.embedder_id, vector.text_id, vector.vector, schema.EmbedderRow.dimensions).join(
        schema.EmbedderRow, schema.EmbedderRow.id == vector.embedder_id
    )
    with database.read() as connection:
        return [
            (embedder_id, identifier)
            for embedder_id, identifier, blob, dimensions in connection.execute(query)
            if not _is_unit(blob, dimensions)
        ]


def _is_unit(blob: bytes, dimensions: int) -> bool:
    """Whether the bytes are a finite vector of unit length."""
    if len(blob) != 4 * dimensions:
        return False
    vector = np.frombuffer(blob, dtype="<f4")
    return abs(float(vector @ vector) - 1.0) <= 2e-3  # false for NaN as well
