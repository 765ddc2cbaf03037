"""Large pools for benchmarks: personas recombined from real attribute texts, scenarios near real ones.

The personas' texts are the starter pool's, shuffled; a scenario's vector lies between those of texts that were
really encoded (`Cloud`), so that a large pool is as dense around a question as one for the whole field would be. Rows
are written in bulk, past the store, since filling the pool is not what is measured; they are the rows that the store
would write, but for origins, which retrieval does not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ethos.encoders.embedder import Embedder, Vectors
from ethos.persona import ATTRIBUTES, Persona
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.starter import starter_panels
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import now, text_id
from ethos.text.cleaning import digest, fold

PANEL = 6
BLOCK = 20_000  # scenarios of one transaction
NOISE = 0.3  # of a vector's length
_MEANT = ("core_value", "right_duty", "stakeholder_role")


class Cloud:
    """Draws vectors as clustered as those of real texts.

    Each lies among an encoded situation and two encoded attribute texts, with a little noise: their intrinsic
    dimension (14, by 20 neighbours), participation ratio (84) and nearest cosines (.75) are those of as many real
    situations (VITAL's 2151: 14, 87, .68). Vectors of noise alone have no clusters, and clustered search finds nothing
    in them.

    Args:
        embedder: Encodes the real texts.

    Attributes:
        encoded: The vectors of the attribute texts.
    """

    def __init__(self, embedder: Embedder) -> None:
        panels = starter_panels()
        texts = _texts([persona for panel in panels for persona in panel.personas])
        self._situations = embedder.encode([panel.scenario.situation for panel in panels])
        meant = [text for name in _MEANT for text in texts[name]]
        self._others = embedder.encode(meant)
        self.encoded = dict(zip(meant, self._others, strict=True))

    def draw(self, count: int, rng: np.random.Generator) -> Vectors:
        """Unit rows, float32, (count, dimensions); those of one generator differ from call to call."""
        made = np.empty((count, self._situations.shape[1]), dtype=np.float32)
        for start in range(0, count, BLOCK):
            made[start : start + BLOCK] = self._block(min(BLOCK, count - start), rng)
        return made

    def _block(self, count: int, rng: np.random.Generator) -> Vectors:
        shares = rng.dirichlet((1, 1, 1), size=count).astype(np.float32)
        mixed = self._situations[rng.integers(len(self._situations), size=count)] * shares[:, :1]
        for share in shares.T[1:]:
            mixed += self._others[rng.integers(len(self._others), size=count)] * share[:, None]
        noise = rng.standard_normal(mixed.shape, dtype=np.float32)
        noise *= NOISE * np.linalg.norm(mixed, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
        mixed += noise
        unit: Vectors = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
        return unit


def fill(folder: Path, personas: int, seed: int, embedder: Embedder) -> None:
    """Make a pool with at least this many synthetic personas, six a scenario, with their vectors."""
    rng = np.random.default_rng(seed)
    panels = starter_panels()
    texts = _texts([persona for panel in panels for persona in panel.personas])
    database = Database(folder)
    near = Cloud(embedder)
    values = [*texts["core_value"], *texts["right_duty"]]
    VectorStore(database).put(embedder.identity, {text: near.encoded[text] for text in values})
    real = [panel.scenario.situation for panel in panels]
    scenarios = -(-personas // PANEL)
    for start in range(0, scenarios, BLOCK):
        numbers = range(start, min(start + BLOCK, scenarios))
        situations = [f"{real[number % len(real)]} ({number})" for number in numbers]
        vectors = near.draw(len(situations), rng)
        drawn = np.stack([_draw(len(texts[name]), len(situations), rng) for name in ATTRIBUTES], axis=2)
        people = [
            tuple(texts[name][row] for name, row in zip(ATTRIBUTES, rows, strict=True))
            for rows in drawn.reshape(-1, len(ATTRIBUTES)).tolist()
        ]
        with database.write() as connection:
            # Ids are random: with SQLite's own few megabytes, most of a large table would be read again for each.
            connection.exec_driver_sql("PRAGMA cache_size = -400000")
            _write(connection, situations, people)
            _write_vectors(connection, embedder.identity.id, situations, vectors)
    database.close()


def _texts(personas: Sequence[Persona]) -> dict[str, list[str]]:
    """The texts of each attribute; one that serves two attributes is left out, since it may not meet itself."""
    held = {name: {getattr(persona, name) for persona in personas} for name in ATTRIBUTES}
    count = Counter(fold(text) for texts in held.values() for text in texts)
    return {name: sorted(text for text in texts if count[fold(text)] == 1) for name, texts in held.items()}


def _draw(texts: int, panels: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each panel its texts of one attribute, no two the same, (panels, PANEL)."""
    drawn = rng.integers(texts, size=(panels, PANEL))
    while (again := (np.diff(np.sort(drawn, axis=1), axis=1) == 0).any(axis=1)).any():
        drawn[again] = rng.integers(texts, size=(int(again.sum()), PANEL))
    return drawn


def _write(connection: Connection, situations: Sequence[str], people: Sequence[tuple[str, ...]]) -> None:
    """Scenarios, and their personas in the same order, six each."""
    at = now()
    scenario_ids = [digest("scenario", situation, []) for situation in situations]  # as Scenario.key
    persona_ids = [digest("persona", *texts) for texts in people]  # as Persona.id
    connection.exec_driver_sql(
        "INSERT INTO scenarios (id, situation, options, created_at) VALUES (?, ?, '[]', ?)",
        [(one, situation, at) for one, situation in zip(scenario_ids, situations, strict=True)],
    )
    connection.exec_driver_sql(
        f"INSERT INTO personas (id, {', '.join(ATTRIBUTES)}, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(one, *texts, at) for one, texts in zip(persona_ids, people, strict=True)],
    )
    connection.exec_driver_sql(
        "INSERT INTO changes (operation, persona_id, scenario_id) VALUES ('add', ?, ?)",
        [(one, scenario_ids[row // PANEL]) for row, one in enumerate(persona_ids)],
    )


def _write_vectors(connection: Connection, embedder_id: str, situations: Sequence[str], vectors: Vectors) -> None:
    connection.exec_driver_sql(
        "INSERT INTO embeddings (embedder_id, text_id, vector) VALUES (?, ?, ?)",
        [
            (embedder_id, text_id(situation), vector.tobytes())
            for situation, vector in zip(situations, vectors, strict=True)
        ],
    )
