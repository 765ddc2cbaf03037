"""Verify, backup, restore, vacuum and doctor: what damage is found, what is repaired, and that nothing is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ethos.cli import main
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError, PoolDamaged, PoolTooNew
from ethos.persona import OriginKind
from ethos.pool.maintenance import upkeep
from ethos.pool.maintenance.verification import verify
from ethos.pool.pool import Pool
from ethos.pool.starter import starter_panels
from ethos.pool.storage.database import FILE, Database
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

QUESTION = Scenario("Should the elderly be vaccinated against influenza?")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def folder(used_pool: Path, tmp_path: Path) -> Path:
    shutil.copytree(used_pool, tmp_path / "pool")
    return tmp_path / "pool"


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, [*arguments, "--pool", str(folder)])


def execute(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute(statement)


def wrong(folder: Path, embedder: Embedder, repair: bool = False) -> dict[str, bool]:
    """The checks that find something, and whether it is repaired."""
    database = Database(folder)
    found = {check.name: check.repaired for check in verify(database, embedder, repair) if check.count}
    database.close()
    return found


def content(path: Path) -> list[str]:
    """All that a database holds."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if "sqlite_sequence" not in line]


def add_one(folder: Path, embedder: Embedder) -> None:
    panel = starter_panels()[0]
    pool = Pool(folder, embedder)
    pool.add(panel.scenario, panel.personas, Origin(OriginKind.CURATED))
    pool.refresh()
    pool.close()


def test_a_sound_pool_is_in_order(folder: Path, embedder: Embedder, run: Callable[..., Result]) -> None:
    assert wrong(folder, embedder) == {}
    result = run("pool", "verify", "--json")
    assert result.exit_code == 0
    assert {check["ok"] for check in json.loads(result.stdout)} == {True}


@pytest.mark.parametrize(
    ("statement", "check", "repaired"),
    [
        ("UPDATE embeddings SET vector = zeroblob(4) WHERE rowid = 3", "vectors", True),
        ("UPDATE embeddings SET vector = zeroblob(1536) WHERE rowid = 3", "vectors", True),
        ("UPDATE embeddings SET vector = (SELECT vector FROM embeddings WHERE rowid = 9)", "vectors", True),
        ("UPDATE personas SET emotion = 'Glee' WHERE rowid = 3", "content addresses", False),
        ("UPDATE scenarios SET situation = 'Selling a kidney' WHERE rowid = 1", "content addresses", False),
        ("UPDATE texts SET content = 'Never said' WHERE rowid = 3", "content addresses", False),
        ("DELETE FROM personas WHERE rowid = 3", "references", False),
        ("UPDATE answers SET output = 'Never said'", "ledger", False),
    ],
)
def test_damage_is_found_and_what_can_be_derived_is_made_again(
    folder: Path, embedder: Embedder, run: Callable[..., Result], statement: str, check: str, repaired: bool
) -> None:
    execute(folder, statement)
    assert wrong(folder, embedder)[check] is False
    assert run("pool", "verify").exit_code == 4
    assert wrong(folder, embedder, repair=True)[check] is repaired
    assert (check in wrong(folder, embedder)) is not repaired


def test_a_vector_that_was_spoilt_is_never_used(folder: Path, embedder: Embedder) -> None:
    pool = Pool(folder, embedder)
    expected = [member.persona for member in pool.retrieve(QUESTION, 6).members]
    pool.close()
    execute(folder, "UPDATE embeddings SET vector = zeroblob(7)")
    pool = Pool(folder, embedder)
    assert [member.persona for member in pool.retrieve(QUESTION, 6).members] == expected
    pool.close()
    assert wrong(folder, embedder) == {}


def test_damaged_pages_are_found_before_anything_else_is_read(folder: Path, embedder: Embedder) -> None:
    path = folder / FILE
    pages = bytearray(path.read_bytes())
    pages[4096 * 5 : 4096 * 6] = bytes(4096)
    path.write_bytes(pages)
    database = Database(folder)
    assert [check.name for check in verify(database, embedder, repair=False)] == ["pages"]
    database.close()


def test_a_backup_holds_everything_and_is_its_owner_s_alone(folder: Path, tmp_path: Path) -> None:
    database = Database(folder)
    named = upkeep.backup(database, tmp_path / "named.db")
    dated = upkeep.backup(database, None)
    with pytest.raises(InputError, match="exists already"):
        upkeep.backup(database, named)
    database.close()
    assert dated.parent == folder / "backups"
    assert content(named) == content(dated) == content(folder / FILE)
    assert (named.stat().st_mode & 0o777, dated.stat().st_mode & 0o777) == (0o600, 0o600)


def test_a_backup_is_put_back_under_an_open_pool_which_sees_it(
    folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    opened = Pool(folder, embedder)
    before = opened.retrieve(QUESTION, 6).members
    backup = upkeep.backup(opened.database, tmp_path / "backup.db")
    saved = content(folder / FILE)
    add_one(folder, embedder)
    assert opened.retrieve(starter_panels()[0].scenario, 6).members
    kept = upkeep.restore(folder, backup)
    assert content(folder / FILE) == saved
    assert opened.retrieve(QUESTION, 6).members == before
    assert not [m for m in opened.search(starter_panels()[0].scenario.situation, 3) if m.relevance > 0.99]
    opened.close()
    assert kept is not None
    assert len(content(kept)) > len(saved)
    assert wrong(folder, embedder) == {}


def test_a_backup_replaces_a_damaged_pool_which_is_kept(folder: Path, embedder: Embedder, tmp_path: Path) -> None:
    database = Database(folder)
    backup = upkeep.backup(database, tmp_path / "backup.db")
    database.close()
    (folder / FILE).write_bytes(b"not a database at all" * 1000)
    with pytest.raises(PoolDamaged):
        Database(folder)
    kept = upkeep.restore(folder, backup)
    assert kept is not None
    assert kept.read_bytes().startswith(b"not a database")
    assert wrong(folder, embedder) == {}


def test_an_emptied_file_is_refused_and_not_taken_for_a_new_pool(folder: Path) -> None:
    (folder / FILE).write_bytes(b"")
    with pytest.raises(PoolDamaged, match="is empty"):
        Database(folder)


@pytest.mark.parametrize("spoil", ["missing", "text", "other database", "newer"])
def test_what_is_no_backup_is_refused_and_the_pool_is_left(folder: Path, tmp_path: Path, spoil: str) -> None:
    source = tmp_path / "source.db"
    if spoil == "text":
        source.write_text("a backup, honestly" * 500)
    elif spoil != "missing":
        if spoil == "newer":
            shutil.copy(folder / FILE, source)
        with closing(sqlite3.connect(source, isolation_level=None)) as connection:
            connection.execute(
                "CREATE TABLE other (a)"
                if spoil == "other database"
                else "UPDATE alembic_version SET version_num = '9999'"
            )
    before = content(folder / FILE)
    with pytest.raises(PoolTooNew if spoil == "newer" else InputError):
        upkeep.restore(folder, source)
    assert content(folder / FILE) == before


def test_vacuum_gives_room_back_and_takes_nothing(folder: Path) -> None:
    database = Database(folder)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO pool_facts VALUES ('big', hex(zeroblob(1000000)))")
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM pool_facts WHERE name = 'big'")
    before = content(folder / FILE)
    done = upkeep.vacuum(database)
    database.close()
    assert done.after < done.before - 1_000_000
    assert content(folder / FILE) == before


def test_the_commands_back_up_restore_and_vacuum(folder: Path, tmp_path: Path, run: Callable[..., Result]) -> None:
    target = tmp_path / "copy.db"
    assert run("pool", "backup", str(target)).exit_code == 0
    again = run("pool", "backup", str(target))
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert run("pool", "restore", str(target), "--yes").exit_code == 0
    assert run("pool", "vacuum").exit_code == 0
    assert run("pool", "verify").exit_code == 0


def test_doctor_tells_what_works_and_how_to_mend_what_does_not(folder: Path, run: Callable[..., Result]) -> None:
    sound = run("doctor", "--quick", "--json")
    assert sound.exit_code == 0, sound.output
    assert {finding["works"] for finding in json.loads(sound.stdout)} <= {True, None}
    (folder / FILE).chmod(0o644)
    loose = run("doctor", "--quick")
    assert loose.exit_code == 4
    assert f"Fix: chmod -R go-rwx {folder}" in loose.stdout
    (folder / FILE).write_bytes(b"not a database at all" * 1000)
    damaged = {finding["part"]: finding for finding in json.loads(run("doctor", "--quick", "--json").stdout)}
    assert damaged["database"]["works"] is False
    assert "ethos pool restore" in damaged["database"]["fix"]
