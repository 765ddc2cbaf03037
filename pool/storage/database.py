"""Open a pool's SQLite database: settings, transactions, schema upgrade, and clear refusals.

Knows the file and its schema version; knows no table's meaning. Follows notes/platform.md 1.3: WAL, full
synchronisation, one short immediate transaction a write, no model call inside any. SQLAlchemy is imported when it is
first needed: it takes a third of a second, and what reads by the driver alone does without.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ethos.errors import PoolDamaged, PoolError, PoolTooNew
from ethos.pool.storage.backup import copy, dated

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

FILE = "pool.db"
BUSY_MILLISECONDS = 30_000
PAGES = 64 << 10  # KiB of the file that a connection keeps in memory at most: by default it reads most of a panel anew
_MEND = "put a backup back with `ethos pool restore FILE`, or move the file away to start anew"


class Database:
    """One pool folder's database, upgraded to this version's schema when it is opened.

    Args:
        folder: The pool folder; made, for its owner only, if it does not exist.

    Raises:
        PoolError: The folder cannot be made or written.
        PoolDamaged: The file is not a sound SQLite database.
        PoolTooNew: A newer Ethos made it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE
        with self._explained():
            _make_private(folder)
            if not self.path.exists():
                _create(self.path)
            elif not self.path.stat().st_size:
                raise PoolDamaged(f"the pool database {self.path} is empty", _MEND)
            self._idle: deque[sqlite3.Connection] = deque()  # that `plain` takes from and gives back
            self._upgrade()

    @cached_property
    def engine(self) -> Engine:
        """SQLAlchemy's way to the file."""
        return _engine(self.path)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent view."""
        with self._explained(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction, exclusive from its first statement; committed on exit, rolled back on error.

        What it writes is sealed in the ledger before it commits.
        """
        from ethos.pool.storage import ledger  # late: SQLAlchemy

        with self._writing() as connection, ledger.sealing(connection):
            yield connection

    @contextmanager
    def rehearsal(self) -> Iterator[Connection]:
        """A write transaction that is always taken back: what would happen, without its happening."""
        with self._writing() as connection:
            yield connection
            connection.rollback()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with (
            self._explained(),
            self.engine.connect().execution_options(ethos_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def glance(self) -> Iterator[sqlite3.Connection]:
        """A read transaction on the driver's own connection, for what every question asks.

        SQLAlchemy's part of such a small read takes longer than SQLite's, and so does its pool's.
        """
        with self.plain() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextmanager
    def plain(self) -> Iterator[sqlite3.Connection]:
        """The driver's own connection, outside any transaction; one that met an error is not used again."""
        with self._explained():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = _connect(self.path)
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    def close(self) -> None:
        """Release the file."""
        while self._idle:
            self._idle.pop().close()
        if "engine" in vars(self):
            self.engine.dispose()

    def _upgrade(self) -> None:
        """Bring an older schema to this version's, after a copy of it was kept."""
        known = revisions()
        with self.glance() as connection:
            current = _revision_of(connection)
        if current == known[-1]:
            return
        if current is None:
            raise PoolDamaged(f"{self.path} is a database, but not a pool's", _MEND)
        if current not in known:
            raise PoolTooNew(
                f"the pool {self.path} has schema {current}, which this version does not know",
                "upgrade ethos-pool",
            )
        copy(self.path, dated(self.folder, f"schema-{current}"))
        with self._writing() as connection:
            _migrate(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Map SQLite's errors to ours, once."""
        try:
            yield
        except OSError as error:
            raise PoolError(
                f"the pool folder {self.folder} cannot be used: {error.strerror}", "choose another --pool"
            ) from error
        except Exception as error:
            cause = getattr(error, "orig", error)  # SQLAlchemy wraps the driver's errors
            if not isinstance(cause, sqlite3.DatabaseError):
                raise
            raise _explanation(cause, self.path) from error


def _create(path: Path) -> None:
    """Make an empty pool under another name first, so that the file is never there half made.

    Of two processes that do so at once, the second finds the first one's file and leaves it.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    engine = _engine(draft)
    try:
        with engine.connect().execution_options(ethos_write=True) as connection, connection.begin():
            _migrate(connection)
        engine.dispose()  # the last connection folds the log into the file
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        engine.dispose()
        for leftover in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            leftover.unlink(missing_ok=True)


def _migrate(connection: Connection) -> None:
    """Run all missing migrations in the connection's transaction; a second process waits, then finds them done."""
    from alembic import command
    from alembic.config import Config  # late: 0.2 s that a pool which is up to date does not need
    from sqlalchemy import inspect

    from ethos.pool.storage import ledger

    config = Config()
    config.set_main_option("script_location", str(files("ethos.migrations")))
    config.attributes["connection"] = connection
    noted = ledger.last(connection) if "ledger" in inspect(connection).get_table_names() else 0
    command.upgrade(config, "head")
    ledger.watch(connection)
    ledger.seal(connection, noted)


@cache
def revisions() -> tuple[str, ...]:
    """The schema revisions this version knows, oldest first, by the names of their files."""
    names = (entry.name for entry in files("ethos.migrations.versions").iterdir())
    return tuple(sorted(name.partition("_")[0] for name in names if name[:4].isdigit()))


def _revision_of(connection: sqlite3.Connection) -> str | None:
    if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row and str(row[0])


def _explanation(error: sqlite3.DatabaseError, path: Path) -> PoolError:
    cause = str(error)
    if "Could not decode" in cause:
        cause = "a stored text is not UTF-8"
    if any(sign in cause for sign in ("not a database", "malformed", "disk image", "not UTF-8")):
        return PoolDamaged(
            f"the pool database {path} is damaged: {cause}",
            _MEND,
        )
    if "locked" in cause or "busy" in cause:
        return PoolError(f"the pool database {path} stayed locked for {BUSY_MILLISECONDS // 1000} s", "try again")
    hint = "free some disk space" if "full" in cause else "check the folder's permissions"
    kind = "cannot be used" if isinstance(error, sqlite3.OperationalError) else "refused a statement"
    return PoolError(f"the pool database {path} {kind}: {cause}", hint)


def _make_private(folder: Path) -> None:
    """Health questions are personal: the folder is for its owner only, and so is each file in it."""
    if folder.exists() and not folder.is_dir():
        raise PoolError(f"{folder} is a file, not a pool folder", "name a folder with --pool")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL once; that one pragma does not wait for other writers by itself."""
    deadline = time.monotonic() + BUSY_MILLISECONDS / 1000
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _connect(path: Path) -> sqlite3.Connection:
    # The driver must not open transactions by itself: its late BEGIN loses updates (notes/platform.md 1.2).
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            f"busy_timeout={BUSY_MILLISECONDS}",
            f"cache_size=-{PAGES}",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "secure_delete=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        _use_wal(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _engine(path: Path) -> Engine:
    from sqlalchemy import create_engine, event  # late: a third of a second

    engine = create_engine(f"sqlite:///{path}", creator=lambda: _connect(path))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("ethos_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
