"""The ledger: whoever changes the record behind Ethos' back is found out, row by row."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ethos.cli import main
from ethos.errors import PoolError
from ethos.pool.maintenance.forgetting import forget
from ethos.pool.storage import ledger
from ethos.pool.storage.database import FILE, Database
from ethos.pool.storage.facts import Facts
from ethos.pool.storage.ledger import Fault, faults, watched

TABLES = sorted(table.name for table in watched())


@pytest.fixture
def folder(used_pool: Path, tmp_path: Path) -> Path:
    shutil.copytree(used_pool, tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def raw(folder: Path) -> Iterator[sqlite3.Connection]:
    """The file without Ethos between."""
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        yield connection


def found(folder: Path) -> list[Fault]:
    database = Database(folder)
    with database.read() as connection:
        result = faults(connection)
    database.close()
    return result


def drop_triggers(raw: sqlite3.Connection) -> None:
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")


def some_row(raw: sqlite3.Connection, table: str) -> tuple[int, str]:
    """The rowid and the key of a row in the middle of a table."""
    keys = [column.name for column in ledger.schema.Base.metadata.tables[table].primary_key]
    rows = raw.execute(f"SELECT rowid, {', '.join(keys)} FROM {table} ORDER BY rowid").fetchall()
    rowid, *key = rows[len(rows) // 2]
    return rowid, json.dumps(key, separators=(",", ":"))


def change(raw: sqlite3.Connection, table: str, rowid: int) -> None:
    """Change one value of a row that is neither key nor reference."""
    metadata = ledger.schema.Base.metadata.tables[table]
    plain = [c.name for c in metadata.columns if not c.primary_key and not c.foreign_keys]
    column = next(name for name in plain if raw.execute(f"SELECT {name} FROM {table} WHERE rowid = ?", (rowid,)))
    [(old,)] = raw.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (rowid,)).fetchall()
    new = old + 1 if isinstance(old, int | float) else f"{old} but not quite"
    if column in {"kind", "status"}:
        new = next(value for value in ("curated", "imported", "active", "retired") if value != old)
    raw.execute("PRAGMA ignore_check_constraints = ON")
    raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rowid))


def test_something_is_in_every_table_and_all_of_it_is_in_order(folder: Path, raw: sqlite3.Connection) -> None:
    assert all(raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES)
    assert found(folder) == []


@pytest.mark.parametrize("triggers", [True, False], ids=["noted", "unnoted"])
@pytest.mark.parametrize("table", TABLES)
def test_a_changed_row_is_named(folder: Path, raw: sqlite3.Connection, table: str, triggers: bool) -> None:
    rowid, key = some_row(raw, table)
    if not triggers:
        drop_triggers(raw)
    change(raw, table, rowid)
    assert {(fault.table, fault.key) for fault in found(folder)} == {(table, key)}


@pytest.mark.parametrize("triggers", [True, False], ids=["noted", "unnoted"])
@pytest.mark.parametrize("table", TABLES)
def test_a_row_taken_away_is_named(folder: Path, raw: sqlite3.Connection, table: str, triggers: bool) -> None:
    rowid, key = some_row(raw, table)
    if not triggers:
        drop_triggers(raw)
    raw.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
    assert {(fault.table, fault.key) for fault in found(folder)} == {(table, key)}


@pytest.mark.parametrize("table", TABLES)
def test_the_command_names_the_row_and_exits_with_4(folder: Path, raw: sqlite3.Connection, table: str) -> None:
    rowid, key = some_row(raw, table)
    change(raw, table, rowid)
    result = CliRunner().invoke(main, ["audit", "verify", "--json", "--pool", str(folder)])
    assert result.exit_code == 4
    assert {(fault["table"], fault["key"]) for fault in json.loads(result.stdout)["faults"]} == {(table, key)}


@pytest.mark.parametrize("triggers", [True, False], ids=["noted", "unnoted"])
def test_a_row_put_in_is_named(folder: Path, raw: sqlite3.Connection, triggers: bool) -> None:
    if not triggers:
        drop_triggers(raw)
    raw.execute("INSERT INTO texts (id, content) VALUES ('x', 'never sent')")
    assert {(fault.table, fault.key) for fault in found(folder)} == {("texts", '["x"]')}


def test_two_answers_that_changed_places_are_found(folder: Path, raw: sqlite3.Connection) -> None:
    drop_triggers(raw)
    (one, first), (other, second) = raw.execute("SELECT id, output FROM answers").fetchall()[:2]
    if first == second:
        raw.execute("UPDATE answers SET created_at = '1999-01-01' WHERE id = ?", (one,))
        assert {fault.key for fault in found(folder)} == {f'["{one}"]'}
        return
    raw.execute("UPDATE answers SET output = ? WHERE id = ?", (second, one))
    raw.execute("UPDATE answers SET output = ? WHERE id = ?", (first, other))
    assert {fault.key for fault in found(folder)} == {f'["{one}"]', f'["{other}"]'}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger WHERE seq = (SELECT max(seq) / 2 FROM ledger)",
        "DELETE FROM ledger WHERE seq = (SELECT max(seq) FROM ledger)",
        "DELETE FROM ledger WHERE seq = 1",
        "DELETE FROM ledger",
        "UPDATE ledger SET link = 'x' WHERE seq = 10",
        "UPDATE ledger SET content = (SELECT content FROM ledger WHERE seq = 11) WHERE seq = 10",
        "UPDATE ledger SET operation = 'delete' WHERE seq = 10",
        "UPDATE ledger SET seq = 100000 WHERE seq = 10",
        "UPDATE ledger SET table_name = 'failures' WHERE seq = 10",
        "UPDATE ledger SET row_key = '[\"x\"]' WHERE seq = 10",
        "UPDATE ledger SET salt = '00' WHERE seq = 10",
    ],
)
def test_the_ledger_itself_cannot_be_changed_unseen(folder: Path, raw: sqlite3.Connection, statement: str) -> None:
    raw.execute(statement)
    assert found(folder)


def test_two_notes_that_changed_places_are_found(folder: Path, raw: sqlite3.Connection) -> None:
    raw.execute("UPDATE ledger SET seq = -10 WHERE seq = 10")
    raw.execute("UPDATE ledger SET seq = 10 WHERE seq = 11")
    raw.execute("UPDATE ledger SET seq = 11 WHERE seq = -10")
    assert {("ledger", "[10]"), ("ledger", "[11]")} <= {(fault.table, fault.key) for fault in found(folder)}


def test_what_somebody_else_wrote_is_not_sealed_by_the_next_who_writes(folder: Path, raw: sqlite3.Connection) -> None:
    raw.execute("INSERT INTO texts (id, content) VALUES ('x', 'never sent')")
    database = Database(folder)
    Facts(database).put("another fact", 1)
    database.close()
    assert [(fault.table, fault.key) for fault in found(folder)] == [("texts", '["x"]')]


def test_what_is_taken_back_leaves_no_note(folder: Path) -> None:
    database = Database(folder)
    with database.read() as connection:
        before = ledger.last(connection)
    with database.rehearsal() as connection:
        connection.exec_driver_sql("DELETE FROM failures")
    with pytest.raises(PoolError), database.write() as connection:
        connection.exec_driver_sql("DELETE FROM failures WHERE no_such_column")
    with database.read() as connection:
        assert ledger.last(connection) == before
    database.close()
    assert found(folder) == []


def verified(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", "verify", "--json", "--pool", str(folder), *arguments])


def test_an_anchor_holds_while_the_pool_goes_on_and_forgets(folder: Path) -> None:
    anchor = json.loads(verified(folder).stdout)["anchor"]
    database = Database(folder)
    Facts(database).put("another fact", 1)
    forget(database, "Donating a kidney to a stranger")
    database.close()
    again = verified(folder, "--anchor", anchor)
    assert (again.exit_code, json.loads(again.stdout)["faults"]) == (0, [])
    assert json.loads(again.stdout)["anchor"] != anchor


def test_a_chain_that_was_made_anew_is_found_out_by_an_anchor(folder: Path, raw: sqlite3.Connection) -> None:
    anchor = json.loads(verified(folder).stdout)["anchor"]
    raw.execute("UPDATE ledger SET link = NULL")
    drop_triggers(raw)
    raw.execute("UPDATE answers SET output = 'They agreed.'")
    database = Database(folder)
    with database.read() as connection:
        ledger.seal(connection, 0)
    database.close()
    assert verified(folder).exit_code == 0, "a chain alone cannot tell"
    found_out = verified(folder, "--anchor", anchor)
    assert found_out.exit_code == 4
    assert [fault["table"] for fault in json.loads(found_out.stdout)["faults"]] == ["ledger"]


def test_what_is_no_anchor_is_refused(folder: Path) -> None:
    refused = verified(folder, "--anchor", "12:xyz")
    assert (refused.exit_code, "is no anchor" in refused.stderr) == (1, True)


def test_no_text_is_in_the_ledger(raw: sqlite3.Connection) -> None:
    written = "\n".join(str(row) for row in raw.execute("SELECT * FROM ledger").fetchall())
    for table, column in (("personas", "core_value"), ("scenarios", "situation"), ("answers", "output")):
        for (text,) in raw.execute(f"SELECT {column} FROM {table}").fetchall():
            assert text not in written
