"""Backup, restore and vacuum of a pool's file.

Ties the database to the copying of it; knows no table but the schema's own number.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ethos.errors import InputError, PoolDamaged, PoolTooNew
from ethos.pool.storage.backup import check, copy, dated, put_back
from ethos.pool.storage.database import FILE, Database, revisions


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Size of the database before and after, bytes."""

    before: int
    after: int


def backup(database: Database, target: Path | None) -> Path:
    """Copy the pool's database while it is in use; where the copy is.

    Args:
        database: The pool's.
        target: A new file; by default one in the pool's own folder, named by the time.

    Raises:
        InputError: The file exists.
        PoolError: It cannot be written.
        PoolDamaged: The database is not sound.
    """
    where = target or dated(database.folder, "backup")
    copy(database.path, where)
    return where


def restore(folder: Path, source: Path) -> Path | None:
    """Put a backup back; where what it replaced is kept, None if the pool had no database.

    Raises:
        InputError: The file is no backup of a pool.
        PoolTooNew: A newer Ethos made it.
        PoolError: The pool stays in use for too long, or cannot be written.
    """
    _check_backup(source)
    live = folder / FILE
    if not live.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy(source, live)
        return None
    kept = dated(folder, "replaced")
    if _is_sound(live):
        copy(live, kept)
        put_back(source, live)
        return kept
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    for ending in ("", "-wal", "-shm"):
        part = live.with_name(f"{FILE}{ending}")
        if part.exists():
            part.replace(kept.with_name(f"{kept.name}{ending}"))
    copy(source, live)
    return kept


def vacuum(database: Database) -> Vacuumed:
    """Give the room of deleted rows back to the disk, and fold the log into the file."""
    before = _size(database)
    with database.plain() as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Vacuumed(before, _size(database))


def _size(database: Database) -> int:
    parts = (database.path.with_name(f"{FILE}{ending}") for ending in ("", "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            check(connection, path)
    except (PoolDamaged, sqlite3.DatabaseError):
        return False
    return path.stat().st_size > 0


def _check_backup(source: Path) -> None:
    if not source.is_file():
        raise InputError(f"{source} is not a file", "name a file that `ethos pool backup` wrote")
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            [(revision,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except (sqlite3.DatabaseError, ValueError) as error:
        raise InputError(f"{source} is no backup of a pool: {error}", "name another file") from error
    if revision not in revisions():
        raise PoolTooNew(f"{source} has schema {revision}, which this version does not know", "upgrade ethos-pool")
