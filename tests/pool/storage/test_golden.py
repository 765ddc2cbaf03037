"""A used pool of every schema there was, as the code of its time left it: opened today, nothing of it is lost."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ethos import Ethos, Scenario, Settings
from ethos.llm.backends.scripted import ScriptedModel
from ethos.pool.maintenance.verification import verify
from ethos.pool.storage.database import FILE, Database, revisions
from ethos.pool.storage.ledger import watched

GOLDEN = Path(__file__).with_name("golden")
Rows = dict[str, list[dict[str, Any]]]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = _load()


@pytest.fixture(params=revisions())
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A folder with the file of a schema, and the schema's revision."""
    folder = tmp_path / "pool"
    folder.mkdir()
    shutil.copy(GOLDEN / f"{request.param}.db", folder / FILE)
    return folder, request.param


def rows(path: Path) -> Rows:
    """All rows of all tables, as they lie in the file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY rowid")]
            for (name,) in connection.execute(tables).fetchall()
        }


def opened(folder: Path) -> Ethos:
    roles = {
        "model": ScriptedModel(lambda _: "All of them agree.", name="main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(make.persona_reply, name="personas"),
    }
    return Ethos(embedder=make.Numbered(), settings=Settings(pool=folder, k=2), **roles)


def test_every_schema_has_its_file_and_nobody_wrote_to_it() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.db")) == list(revisions())
    for name in revisions():
        held = rows(GOLDEN / f"{name}.db")
        assert [row["version_num"] for row in held["alembic_version"]] == [name]
        assert [table for table, some in held.items() if not some] == []
    assert {table.name for table in watched()} <= held.keys(), "the newest file has every table of today"


def test_it_is_upgraded_with_all_rows_intact_and_a_backup_kept(golden: tuple[Path, str]) -> None:
    folder, revision = golden
    before = rows(folder / FILE)
    Database(folder).close()
    after = rows(folder / FILE)
    assert after.pop("alembic_version") == [{"version_num": revisions()[-1]}]
    for table in before.keys() - {"alembic_version"}:
        kept = after[table][: len(before[table])] if table == "ledger" else after[table]
        named = before[table][0].keys()
        assert [{name: row[name] for name in named} for row in kept] == before[table]
    copies = list((folder / "backups").glob("*.db"))
    assert len(copies) == (revision != revisions()[-1])
    assert all(rows(copy) == before and f"schema-{revision}" in copy.name for copy in copies)


def test_it_is_found_sound(golden: tuple[Path, str]) -> None:
    folder, _ = golden
    with opened(folder) as ethos:
        ethos.pool.retrieve(Scenario(make.ASKED[0]), 2)
        found = verify(ethos.pool.database, make.Numbered(), repair=False)
        assert [(check.name, check.count) for check in found if check.count] == []


def test_its_personas_are_retrieved_and_its_answers_read(golden: tuple[Path, str]) -> None:
    folder, _ = golden
    held = rows(folder / FILE)
    merged = {row["duplicate_id"]: row["kept_id"] for row in held.get("merges", [])}
    active = {row["id"] for row in held["personas"] if row["status"] == "active"}
    with opened(folder) as ethos:
        for situation in make.ASKED:
            scenario = Scenario(situation)
            made = {row["persona_id"] for row in held["origins"] if row["scenario_id"] == scenario.key}
            expected = {merged.get(one, one) for one in made} & active
            found = {one.persona.id for one in ethos.pool.search(situation, 4) if one.relevance > 1 - 1e-6}
            assert found == expected != set()
        for row in held["answers"]:
            answer = ethos.record.answer(row["id"])
            assert (answer.outcome.output, answer.seed) == (row["output"], row["seed"])
            assert [comment.text for comment in answer.comments] == ["It should be so."] * 2
        again = ethos.answer(make.ASKED[1])
        assert again.outcome.output == "All of them agree."
        assert again.panel.members
