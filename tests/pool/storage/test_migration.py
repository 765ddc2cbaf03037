"""A pool of the first schema: opened by this version it is the same pool, with what this version can do.

What was stored when 0001 was current, field by field, is in test_lifecycle.py; here all of a used pool is compared.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from replies import persona_reply
from sqlalchemy import Connection, create_engine, inspect

from ethos import Ethos, Scenario
from ethos.answer import Answer
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import PoolError
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.calls import Failure
from ethos.persona import OriginKind
from ethos.pool.curation.duplicates import Pair, merge, merges
from ethos.pool.curation.lifecycle import Status, history, mark
from ethos.pool.storage.database import FILE, Database
from ethos.pool.storage.schema import Base
from ethos.pool.storage.values import Origin

ASKED = [Scenario("Getting a flu vaccine every winter"), Scenario("Donating a kidney to a stranger")]
CONFIG = Config()
CONFIG.set_main_option("script_location", str(files("ethos.migrations")))
NEWEST = ScriptDirectory.from_config(CONFIG).get_current_head()

# Opens the folder it is told.
_OPENER = """
import sys
from pathlib import Path
from ethos.pool.storage.database import Database
print("ready", flush=True)
Database(Path(sys.stdin.readline().strip())).close()
"""


def migrate(connection: Connection, to: Callable[[Config, str], None], revision: str) -> None:
    """Bring a database to a revision, as a developer would."""
    CONFIG.attributes["connection"] = connection
    to(CONFIG, revision)


@contextmanager
def raw(path: Path) -> Iterator[Connection]:
    """The file as it is, without Ethos between."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def columns(connection: Connection) -> dict[str, list[str]]:
    """The columns of every table, but for the revision's."""
    found = inspect(connection)
    tables = sorted(set(found.get_table_names()) - {"alembic_version"})
    return {table: [column["name"] for column in found.get_columns(table)] for table in tables}


def rows(path: Path, held: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of some tables and columns."""
    with raw(path) as connection:
        return {
            table: [
                tuple(r) for r in connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid")
            ]
            for table, names in held.items()
        }


def revision(path: Path) -> str | None:
    with raw(path) as connection:
        return MigrationContext.configure(connection).get_current_revision()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@contextmanager
def opened(folder: Path, embedder: Embedder) -> Iterator[Ethos]:
    roles = {
        "model": ScriptedModel(lambda _: "All of them agree.", name="main"),
        "comment_model": ScriptedModel(lambda _: "It should be so.", name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(folder, embedder=embedder, **roles) as ethos:
        yield ethos


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> tuple[Path, list[Answer]]:
    """The file of a pool of this version, and the two answers it gave; something is in every table of 0001."""
    with opened(tmp_path_factory.mktemp("used"), embedder) as ethos:
        answers = [ethos.answer(scenario) for scenario in ASKED]
        ethos.pool.facts.put("a fact", "kept")
        ethos.record.keep_failures(ASKED[0], [Failure("persona", 1, "no JSON", "I would rather not.")])
        return ethos.pool.database.path, answers


@pytest.fixture(scope="module")
def held() -> dict[str, list[str]]:
    """The tables and columns of 0001."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        migrate(connection, command.upgrade, "0001")
        return columns(connection)


@pytest.fixture
def first(tmp_path: Path, used: tuple[Path, list[Answer]], held: dict[str, list[str]]) -> Path:
    """A file of schema 0001 with the rows of a used pool."""
    path = tmp_path / "pool" / FILE
    path.parent.mkdir()
    with raw(path) as connection:
        migrate(connection, command.upgrade, "0001")
    with raw(path) as connection:
        connection.exec_driver_sql("ATTACH ? AS used", (str(used[0]),))
        for table, names in held.items():
            these = ", ".join(names)
            connection.exec_driver_sql(f"INSERT INTO {table} ({these}) SELECT {these} FROM used.{table} ORDER BY rowid")
    assert (revision(path), rows(path, held)) == ("0001", rows(used[0], held))
    assert all(rows(path, held).values())
    return path


def test_it_is_upgraded_when_it_is_opened_and_loses_no_row(first: Path, held: dict[str, list[str]]) -> None:
    before = rows(first, held)
    for _ in range(2):  # the second time there is nothing to do
        Database(first.parent).close()
        assert (revision(first), rows(first, held)) == (NEWEST, before)
    with raw(first) as connection:
        assert {"merges", "status_changes"} <= columns(connection).keys() - held.keys()
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_it_answers_as_before_and_can_do_what_is_new(
    first: Path, used: tuple[Path, list[Answer]], embedder: Embedder
) -> None:
    old = used[1]
    with opened(first.parent, embedder) as ethos:
        assert [ethos.record.answer(answer.answer_id) for answer in old] == old
        again = [ethos.answer(scenario) for scenario in ASKED]
        assert [answer.calls for answer in again] == [{"persona": 0, "comment": 0, "main": 1}] * 2
        assert [answer.comments for answer in again] == [answer.comments for answer in old]
        gone, duplicate = old[0].panel.members[0].persona, old[1].panel.members[0].persona
        mark(ethos.pool.database, [gone.id], Status.RETIRED, "a test")
        assert [change["reason"] for change in history(ethos.pool.database, gone.id)] == ["a test"]
        assert gone not in [candidate.persona for candidate in ethos.pool.search(ASKED[0].situation, 12)]
        kept = replace(duplicate, stakeholder_role="Somebody else")
        ethos.pool.add(ASKED[0], [kept], Origin(OriginKind.CURATED))
        merge(ethos.pool.database, [Pair(kept, duplicate, 0.99, 0.99)])
        assert [merged["duplicate_id"] for merged in merges(ethos.pool.database)] == [duplicate.id]
        assert ethos.answer(ASKED[1]).panel.members[0].persona == kept


def test_an_upgrade_that_fails_halfway_leaves_the_pool_as_it_was(first: Path, held: dict[str, list[str]]) -> None:
    before = rows(first, held)
    with raw(first) as connection:
        connection.exec_driver_sql("CREATE TABLE merges (other INTEGER)")  # the second table that the upgrade makes
    with pytest.raises(PoolError, match="table merges already exists"):
        Database(first.parent)
    assert (revision(first), rows(first, held)) == ("0001", before)
    with raw(first) as connection:
        assert columns(connection) == {**held, "merges": ["other"]}
        connection.exec_driver_sql("DROP TABLE merges")
    Database(first.parent).close()
    assert (revision(first), rows(first, held)) == (NEWEST, before)


def test_two_processes_that_open_it_at_once_upgrade_it_once(first: Path, held: dict[str, list[str]]) -> None:
    before = rows(first, held)
    command_line = [sys.executable, "-c", _OPENER]
    both = [subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write(f"{first.parent}\n")
        process.stdin.flush()
    for process in both:
        process.communicate()
    assert [process.returncode for process in both] == [0, 0]
    assert (revision(first), rows(first, held)) == (NEWEST, before)


def test_going_back_to_the_first_schema_loses_only_what_it_cannot_hold(first: Path, held: dict[str, list[str]]) -> None:
    before = rows(first, held)
    Database(first.parent).close()
    with raw(first) as connection:
        migrate(connection, command.downgrade, "0001")
        assert columns(connection) == held
    assert (revision(first), rows(first, held)) == ("0001", before)
