"""Opens a pool's SQLite database: settings, transactions, schema upgrade, and clear refusals.

Knows the file and its schema version; knows no table's meaning. Follows notes/platform.md 1.3: WAL, full
synchronisation, one short immediate transaction a write, no model call inside any.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError, OperationalError

from ethos.errors import PoolDamaged, PoolError, PoolTooNew
from ethos.pool import ledger
from ethos.pool.backup import copy, dated

FILE = "pool.db"
BUSY_MILLISECONDS = 30_000
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
            self.engine = _engine(self.path)
            self._idle: deque[sqlite3.Connection] = deque()  # that `glance` takes from and gives back
            self._upgrade()

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
        with self._explained():
            try:
                connection = self._idle.pop()
            except IndexError:
                pooled = self.engine.raw_connection()
                connection = _driver(pooled)
                pooled.detach()
            try:
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    @contextmanager
    def plain(self) -> Iterator[sqlite3.Connection]:
        """The driver's own connection, for what SQLite does outside any transaction."""
        with self._explained(), closing(self.engine.raw_connection()) as connection:
            yield _driver(connection)

    def close(self) -> None:
        """Release the file."""
        while self._idle:
            self._idle.pop().close()
        self.engine.dispose()

    def _upgrade(self) -> None:
        """Bring an older schema to this version's, after a copy of it was kept."""
        known = revisions()
        with self.read() as connection:
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
        except (DatabaseError, sqlite3.DatabaseError) as error:
            raise _explanation(error, self.path) from error
        except OSError as error:
            raise PoolError(
                f"the pool folder {self.folder} cannot be used: {error.strerror}", "choose another --pool"
            ) from error


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


def _revision_of(connection: Connection) -> str | None:
    tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").all()
    if not tables:
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _explanation(error: Exception, path: Path) -> PoolError:
    cause = str(error.orig if isinstance(error, DatabaseError) else error)
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
    kind = "cannot be used" if isinstance(error, OperationalError | sqlite3.OperationalError) else "refused a statement"
    return PoolError(f"the pool database {path} {kind}: {cause}", hint)


def _make_private(folder: Path) -> None:
    """Health questions are personal: the folder is for its owner only, and so is each file in it."""
    if folder.exists() and not folder.is_dir():
        raise PoolError(f"{folder} is a file, not a pool folder", "name a folder with --pool")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _driver(connection: Any) -> sqlite3.Connection:
    driver = connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _use_wal(connection: Any) -> None:
    """Switch the file to WAL once; that one pragma does not wait for other writers by itself."""
    deadline = time.monotonic() + BUSY_MILLISECONDS / 1000
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        # The driver must not open transactions by itself: its late BEGIN loses updates (notes/platform.md 1.2).
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={BUSY_MILLISECONDS}",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            "secure_delete=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("ethos_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
