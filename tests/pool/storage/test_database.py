"""The pool's file: its schema, its privacy, and clear refusals of what cannot be opened."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect

from ethos.errors import PoolDamaged, PoolError, PoolTooNew
from ethos.pool.storage.database import Database
from ethos.pool.storage.schema import Base

ROOT = Path(__file__).parents[3]

# Opens every folder it is told, each as soon as its name arrives, so that several such processes open it at once.
_OPENER = """
import sys
from pathlib import Path
from ethos.pool.storage.database import Database
print("ready", flush=True)
for line in sys.stdin:
    try:
        database = Database(Path(line.strip()))
        with database.write() as connection:
            connection.exec_driver_sql("INSERT OR REPLACE INTO pool_facts VALUES ('opened', 'yes')")
        database.close()
        print("opened", flush=True)
    except BaseException as error:
        print(repr(error), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pool"


def add_fact(connection: Connection, name: str, value: str = "x") -> None:
    connection.exec_driver_sql("INSERT INTO pool_facts VALUES (?, ?)", (name, value))


def facts(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.exec_driver_sql("SELECT name FROM pool_facts").scalars())


def filled(folder: Path) -> Path:
    """A sound pool of a few hundred pages; the path of its file."""
    database = Database(folder)
    with database.write() as connection:
        for number in range(200):
            add_fact(connection, f"fact {number}", "x" * 4000)
    database.close()
    assert {path.name for path in folder.iterdir()} == {"pool.db"}, "closing leaves no write-ahead log behind"
    return folder / "pool.db"


def test_a_new_pool_has_exactly_the_schema_of_the_models(folder: Path) -> None:
    database = Database(folder)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_a_new_pool_has_the_checks_of_the_models(folder: Path) -> None:
    # alembic compares everything but CHECK constraints.
    def checks(connection: Connection) -> dict[str, set[tuple[str | None, str]]]:
        found = inspect(connection)
        return {
            table: {(check["name"], check["sqltext"]) for check in found.get_check_constraints(table)}
            for table in Base.metadata.tables
        }

    database = Database(folder)
    scratch = create_engine("sqlite://")
    with scratch.begin() as by_models, database.read() as by_migrations:
        Base.metadata.create_all(by_models)
        assert checks(by_migrations) == checks(by_models)
    scratch.dispose()
    database.close()


def test_folder_and_file_are_for_their_owner_only(folder: Path) -> None:
    database = Database(folder)
    with database.write() as connection:
        add_fact(connection, "one")
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"pool.db": 0o600, "pool.db-wal": 0o600, "pool.db-shm": 0o600}
    database.close()


def test_opening_again_keeps_what_was_written(folder: Path) -> None:
    database = Database(folder)
    with database.write() as connection:
        add_fact(connection, "one")
    database.close()
    again = Database(folder)
    assert facts(again) == ["one"]
    again.close()


def test_random_bytes_are_refused_as_damaged_and_left_alone(folder: Path) -> None:
    folder.mkdir()
    noise = bytes(range(1, 256)) * 64
    (folder / "pool.db").write_bytes(noise)
    with pytest.raises(PoolDamaged, match="is damaged: file is not a database") as caught:
        Database(folder)
    assert str(folder / "pool.db") in caught.value.message
    assert caught.value.hint == "put a backup back with `ethos pool restore FILE`, or move the file away to start anew"
    assert (folder / "pool.db").read_bytes() == noise


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.99])
def test_a_truncated_database_is_refused_as_damaged(folder: Path, share: float) -> None:
    path = filled(folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(PoolDamaged):
        Database(folder)


# A page's head holds its structure, its end the texts: the one is malformed, the other no longer UTF-8.
@pytest.mark.parametrize(("first", "count"), [(0, 100), (3000, 100)])
def test_a_page_damaged_in_the_middle_is_told_when_it_is_read(folder: Path, first: int, count: int) -> None:
    path = filled(folder)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 8192 * 4096 + first)
        file.write(b"\xff" * count)
    database = Database(folder)
    with pytest.raises(PoolDamaged), database.read() as connection:
        connection.exec_driver_sql("SELECT name, value FROM pool_facts").all()
    database.close()


def test_a_newer_schema_is_refused_by_its_name_with_the_mend(folder: Path) -> None:
    Database(folder).close()
    with sqlite3.connect(folder / "pool.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9876'")
    connection.close()
    with pytest.raises(PoolTooNew) as caught:
        Database(folder)
    assert caught.value.message == f"the pool {folder / 'pool.db'} has schema 9876, which this version does not know"
    assert caught.value.hint == "upgrade ethos-pool"


def test_a_pool_path_that_is_a_file_is_refused(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(PoolError, match="is a file, not a pool folder"):
        Database(folder)
    assert folder.read_text() == "a file"


def test_a_pool_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PoolError, match="cannot be used: Not a directory"):
        Database(tmp_path / "file" / "pool")


def test_a_database_that_is_a_folder_is_refused(folder: Path) -> None:
    (folder / "pool.db").mkdir(parents=True)
    with pytest.raises(PoolError, match="unable to open database file"):
        Database(folder)


def test_processes_that_open_a_new_pool_at_once_all_succeed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _OPENER]
    openers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(3)
    ]
    try:
        assert [opener.stdout.readline() for opener in openers if opener.stdout] == ["ready\n"] * 3
        for number in range(10):
            for opener in openers:
                assert opener.stdin
                opener.stdin.write(f"{tmp_path / str(number)}\n")
                opener.stdin.flush()
            assert [opener.stdout.readline() for opener in openers if opener.stdout] == ["opened\n"] * 3
    finally:
        for opener in openers:
            opener.communicate(timeout=30)
    database = Database(tmp_path / "0")
    assert facts(database) == ["opened"]
    database.close()


def test_opening_waits_for_another_process_in_its_first_write(folder: Path) -> None:
    # SQLite's own waiting does not cover the switch to write-ahead logging.
    Database(folder).close()
    other = sqlite3.connect(folder / "pool.db", isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode=DELETE")  # as a backup that was put back
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.3, other.execute, ["COMMIT"])
    end.start()
    try:
        Database(folder).close()
    finally:
        end.join()
        other.close()
    with closing(sqlite3.connect(folder / "pool.db")) as anew:
        assert anew.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_write_that_raises_is_rolled_back(folder: Path) -> None:
    database = Database(folder)

    def write_half() -> None:
        with database.write() as connection:
            add_fact(connection, "half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_half()
    with database.write() as connection:
        add_fact(connection, "whole")
    assert facts(database) == ["whole"]
    database.close()


def test_a_write_is_seen_by_others_only_when_it_is_done(folder: Path) -> None:
    writer, reader = Database(folder), Database(folder)
    with writer.write() as connection:
        add_fact(connection, "one")
        assert facts(reader) == []
    assert facts(reader) == ["one"]
    writer.close()
    reader.close()


def test_foreign_keys_are_enforced(folder: Path) -> None:
    database = Database(folder)
    with pytest.raises(PoolError, match="FOREIGN KEY constraint failed"), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO changes (operation, persona_id, scenario_id) VALUES ('add', 'p', 's')")
    database.close()


def test_every_connection_logs_ahead_and_waits_for_others(folder: Path) -> None:
    database = Database(folder)
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "secure_delete")
    with database.read() as connection:
        found = {pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas}
    database.close()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,  # full
        "foreign_keys": 1,
        "busy_timeout": 30_000,
        "secure_delete": 1,
    }
