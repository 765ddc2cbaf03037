"""The synthetic pools of the benchmarks are pools: they hold what the store would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pools import PANEL, Cloud, fill
from ethos.encoders.embedder import open_embedder
from ethos.persona import ATTRIBUTES, OriginKind, Persona, clashes
from ethos.pool.pool import Pool
from ethos.pool.storage.database import Database
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

TABLES = ("personas", "scenarios", "changes", "embeddings")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    fill(folder, 100, 0, open_embedder())
    return folder


def rows(folder: Path, table: str, where: str, *values: str) -> list[dict[str, object]]:
    database = Database(folder)
    with database.read() as connection:
        found = connection.exec_driver_sql(f"SELECT * FROM {table} WHERE {where}", values).mappings().all()
    database.close()
    # When a row was written, and as which change, differs between any two pools.
    return [{name: value for name, value in row.items() if name not in ("created_at", "seq")} for row in found]


def test_a_filled_pool_has_at_least_as_many_personas_as_asked_for(filled: Path) -> None:
    counts = {table: len(rows(filled, table, "1")) for table in TABLES}
    assert (counts["scenarios"], counts["personas"], counts["changes"]) == (17, 102, 102)


def test_a_panel_is_written_as_the_store_would_write_it(filled: Path, tmp_path: Path) -> None:
    scenario = rows(filled, "scenarios", "situation LIKE '%(11)'")[0]
    changes = rows(filled, "changes", "scenario_id = ?", str(scenario["id"]))
    people = [rows(filled, "personas", "id = ?", str(change["persona_id"]))[0] for change in changes]
    personas = [Persona(*(str(row[name]) for name in ATTRIBUTES)) for row in people]
    stored = Pool(tmp_path / "stored", open_embedder())
    stored.add(Scenario.of(str(scenario["situation"])), personas, Origin(OriginKind.IMPORTED, source="a test"))
    stored.close()
    assert rows(tmp_path / "stored", "scenarios", "1") == [scenario]
    assert rows(tmp_path / "stored", "changes", "1 ORDER BY seq") == changes
    assert [rows(tmp_path / "stored", "personas", "id = ?", str(row["id"]))[0] for row in people] == people


def test_every_vector_a_filled_pool_needs_is_there(filled: Path) -> None:
    before = len(rows(filled, "embeddings", "1"))
    pool = Pool(filled, open_embedder())
    pool.refresh()
    pool.close()
    assert len(rows(filled, "embeddings", "1")) == before


def test_the_personas_of_a_panel_differ_in_every_attribute(filled: Path) -> None:
    scenario = rows(filled, "scenarios", "situation LIKE '%(3)'")[0]
    held = rows(filled, "changes", "scenario_id = ?", str(scenario["id"]))
    people = [rows(filled, "personas", "id = ?", str(change["persona_id"]))[0] for change in held]
    personas = [Persona(*(str(row[name]) for name in ATTRIBUTES)) for row in people]
    assert len(personas) == PANEL
    assert not any(clashes(persona, personas[:row]) for row, persona in enumerate(personas))


def test_drawn_vectors_are_unit_rows_that_lie_in_clusters() -> None:
    drawn = Cloud(open_embedder()).draw(2000, np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(drawn, axis=1), 1.0, atol=1e-5)
    cosines = drawn @ drawn.T
    np.fill_diagonal(cosines, -1.0)
    # As 2151 real situations: the nearest of noise alone lies at 0.2.
    assert 0.6 < np.median(cosines.max(axis=1)) < 0.85
