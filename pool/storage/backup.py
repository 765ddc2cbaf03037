"""Copies a pool's database while it is in use, and puts a copy back.

Knows SQLite's backup interface, which copies a consistent state under everybody's reads and writes; knows no table.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ethos.errors import InputError, PoolDamaged, PoolError

FOLDER = "backups"


def dated(folder: Path, what: str) -> Path:
    """Where in a pool folder a copy of this moment goes."""
    return folder / FOLDER / f"pool-{datetime.now(UTC):%Y%m%dT%H%M%S}-{what}-{secrets.token_hex(2)}.db"


def copy(source: Path, target: Path) -> None:
    """Copy a database into a new file, whole or not at all, readable by its owner only.

    Raises:
        InputError: The file exists already.
        PoolDamaged: The copy is not sound, since the database is not.
        PoolError: There is no room, or no permission.
    """
    if target.exists():
        raise InputError(f"{target} exists already", "name another file")
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(draft)) as made:
            origin.backup(made)
            made.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            check(made, source)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    except sqlite3.DatabaseError as error:
        raise PoolError(f"{source} cannot be copied to {target}: {error}", "see `ethos pool verify`") from error
    except OSError as error:
        raise PoolError(f"{target} cannot be written: {error.strerror}", "name a file in another folder") from error
    finally:
        draft.unlink(missing_ok=True)


def put_back(source: Path, target: Path) -> None:
    """Replace a database's content by a copy's, in one transaction that other processes wait for.

    Raises:
        InputError: The copy is no file, or no sound database.
        PoolError: The database is in use for too long, or cannot be written.
    """
    if not source.is_file():
        raise InputError(f"{source} is not a file", "name a file that `ethos pool backup` wrote")
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as origin:
            check(origin, source)
            with closing(sqlite3.connect(target, timeout=30)) as database:
                origin.backup(database)
                database.execute("PRAGMA journal_mode=WAL")
    except PoolDamaged as error:
        raise InputError(error.message, "name another backup") from error
    except sqlite3.DatabaseError as error:
        raise PoolError(f"{source} cannot be put back: {error}", "close what uses the pool, and try again") from error


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Look through every page of a database.

    Raises:
        PoolDamaged: It is not sound.
    """
    try:
        [(first,), *_] = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        first = str(error)
    if first != "ok":
        raise PoolDamaged(f"the database {path} is damaged: {first}", "restore a backup: ethos pool restore FILE")
