"""Large pools for benchmarks: personas recombined from real attribute texts, scenarios near real ones.

The personas' texts are the starter pool's, dealt out anew; a scenario's vector is a mixture of two starter scenarios'
and noise, so that a large pool is as dense around a question as one for the whole field would be. Rows are written in
bulk, past the store, since filling the pool is not what is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from ethos.cleaning import fold
from ethos.embedding import Embedder, Vectors
from ethos.persona import ATTRIBUTES, Persona
from ethos.pool import schema
from ethos.pool.database import Database
from ethos.pool.starter import starter_panels
from ethos.pool.store import now, text_id
from ethos.pool.vectors import VectorStore
from ethos.scenario import Scenario

PANEL = 6
BLOCK = 20_000


def fill(folder: Path, personas: int, seed: int, embedder: Embedder) -> None:
    """Make a pool with this many synthetic personas, six a scenario, with their vectors."""
    rng = np.random.default_rng(seed)
    panels = starter_panels()
    texts = _texts([persona for panel in panels for persona in panel.personas])
    real = embedder.encode([panel.scenario.situation for panel in panels])
    database = Database(folder)
    values = [*texts["core_value"], *texts["right_duty"]]
    VectorStore(database).put(embedder.identity, dict(zip(values, embedder.encode(values), strict=True)))
    scenarios = -(-personas // PANEL)
    for start in range(0, scenarios, BLOCK // PANEL):
        numbers = range(start, min(start + BLOCK // PANEL, scenarios))
        made = [Scenario(f"{panels[number % len(panels)].scenario.situation} ({number})") for number in numbers]
        vectors = _near(real, len(made), rng)
        drawn = [
            [Persona(*(texts[name][row[a]] for a, name in enumerate(ATTRIBUTES))) for row in _deal(texts, rng)]
            for _ in made
        ]
        _write(database, made, vectors, drawn, embedder)
    database.close()


def _texts(personas: Sequence[Persona]) -> dict[str, list[str]]:
    """The texts of each attribute; one that serves two attributes is left out, since it may not meet itself."""
    held = {name: {getattr(persona, name) for persona in personas} for name in ATTRIBUTES}
    count = Counter(fold(text) for texts in held.values() for text in texts)
    return {name: sorted(text for text in texts if count[fold(text)] == 1) for name, texts in held.items()}


def _near(real: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    pairs = rng.integers(len(real), size=(count, 2))
    share = rng.random((count, 1))
    mixed = share * real[pairs[:, 0]] + (1 - share) * real[pairs[:, 1]]
    mixed += 0.6 * rng.standard_normal(mixed.shape) / np.sqrt(real.shape[1])
    return (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)


def _deal(texts: dict[str, list[str]], rng: np.random.Generator) -> list[list[int]]:
    """Rows of texts for one panel, distinct in every attribute."""
    columns = [rng.choice(len(texts[name]), PANEL, replace=False).tolist() for name in ATTRIBUTES]
    return [list(row) for row in zip(*columns, strict=True)]


def _write(
    database: Database,
    scenarios: Sequence[Scenario],
    vectors: Vectors,
    drawn: Sequence[Sequence[Persona]],
    embedder: Embedder,
) -> None:
    at = now()
    pairs = [(persona, scenario.key) for scenario, panel in zip(scenarios, drawn, strict=True) for persona in panel]
    with database.write() as connection:
        connection.execute(
            insert(schema.ScenarioRow),
            [{"id": s.key, "situation": s.situation, "options": [], "created_at": at} for s in scenarios],
        )
        connection.execute(
            insert(schema.PersonaRow).prefix_with("OR IGNORE"),
            [{"id": p.id, **p.as_dict(), "created_at": at} for p, _ in pairs],
        )
        connection.execute(
            insert(schema.ChangeRow),
            [{"operation": "add", "persona_id": p.id, "scenario_id": key} for p, key in pairs],
        )
        connection.execute(
            insert(schema.EmbeddingRow),
            [
                {"embedder_id": embedder.identity.id, "text_id": text_id(s.situation), "vector": v.tobytes()}
                for s, v in zip(scenarios, vectors, strict=True)
            ],
        )
