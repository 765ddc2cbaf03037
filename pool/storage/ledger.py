"""The ledger: a hash chain over every written row, in commit order.

Triggers note what happened to which row; before a transaction commits, each note is sealed with a salted digest of the
row and a link to the note before. Text never enters the ledger, and without its salt a digest says nothing of the
text, so a row can be forgotten while the chain still holds: its notes lose key and salt, which no link covers. Knows
the tables' names and keys; knows nothing of what they mean.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, String, Table

from ethos.pool.storage import schema

T = TypeVar("T")

# What can be derived again, or says nothing of what happened.
_UNWATCHED = {"ledger", "leases", "embedders", "embeddings"}
_OPERATIONS = {"insert": "NEW", "update": "NEW", "delete": "OLD"}
FORGET = "forget"  # the operation of a note that names the notes which lost what they said
START = "0" * 64  # the link before the first
_SALT = 16  # bytes
_CHUNK = 1_000  # notes whose rows are read at once

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Fault:
    """A place where the record is not what was written.

    Attributes:
        table: The table.
        key: The row's primary key, as JSON; empty for the chain itself.
        cause: What is wrong.
    """

    table: str
    key: str
    cause: str

    def as_dict(self) -> dict[str, str]:
        """As plain JSON values."""
        return {"table": self.table, "key": self.key, "cause": self.cause}


def watched() -> list[Table]:
    """The tables whose rows are noted."""
    return [table for table in schema.Base.metadata.sorted_tables if table.name not in _UNWATCHED]


def watch(connection: Connection) -> None:
    """Put the triggers in place; after a migration, which may have copied a table without them."""
    for table in watched():
        for operation, row in _OPERATIONS.items():
            name = f"ledger_{table.name}_{operation}"
            # By hand, since a trigger of an untrusted schema may not call json_array; no key needs escapes.
            texts = [isinstance(column.type, String) for column in table.primary_key]
            names = [f'{row}."{column.name}"' for column in table.primary_key]
            parts = [f"""'"' || {name} || '"'""" if text else name for name, text in zip(names, texts, strict=True)]
            key = "'[' || " + " || ',' || ".join(parts) + " || ']'"
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            connection.exec_driver_sql(
                f"CREATE TRIGGER {name} AFTER {operation.upper()} ON {table.name} BEGIN "
                f"INSERT INTO ledger (table_name, row_key, operation) "
                f"VALUES ('{table.name}', {key}, '{operation}'); END"
            )


@contextmanager
def sealing(connection: Connection) -> Iterator[None]:
    """Seal what the block writes. Notes that were there before are left: nobody of ours wrote them."""
    before = last(connection)
    yield
    seal(connection, before)


def last(connection: Connection) -> int:
    """Number of the newest note; 0 for none."""
    return connection.exec_driver_sql("SELECT max(seq) FROM ledger").scalar() or 0


def seal(connection: Connection, above: int) -> None:
    """Seal the notes above a number."""
    notes = connection.exec_driver_sql(
        "SELECT seq, table_name, row_key, operation FROM ledger WHERE seq > ? AND link IS NULL ORDER BY seq", (above,)
    ).all()
    if not notes:
        return
    before = "SELECT link FROM ledger WHERE seq < ? AND link IS NOT NULL ORDER BY seq DESC LIMIT 1"
    link = connection.exec_driver_sql(before, (notes[0].seq,)).scalar() or START
    rows = _Rows(connection)
    for some in _chunks(notes):
        held = rows.contents((table, key) for _, table, key, operation in some if operation != FORGET)
        sealed = []
        salts = secrets.token_hex(_SALT * len(some))
        for place, (seq, table, key, operation) in enumerate(some):
            salt = salts[2 * _SALT * place : 2 * _SALT * (place + 1)]
            content = _digest(salt, table, key, held.get((table, key), ""))
            link = _link(link, seq, table, operation, content)
            sealed.append((salt, content, link, seq))
        connection.exec_driver_sql("UPDATE ledger SET salt = ?, content = ?, link = ? WHERE seq = ?", sealed)


def forget(connection: Connection, above: int) -> None:
    """Take from the ledger what could confirm a guess of what the rows written since a note once held.

    All notes of these rows lose key and salt; the newest one of a row that is still there keeps both. One more note
    names those that lost them, so that nobody else can strip a note unseen.
    """
    seal(connection, above)
    stripped = [
        seq
        for (seq,) in connection.exec_driver_sql(
            "WITH touched AS (SELECT table_name, row_key, max(seq) AS newest FROM ledger "
            "WHERE seq > ? AND row_key IS NOT NULL GROUP BY table_name, row_key) "
            "SELECT seq FROM ledger JOIN touched USING (table_name, row_key) "
            "WHERE seq < newest OR operation = 'delete' ORDER BY seq",
            (above,),
        )
    ]
    if not stripped:
        return
    listed = "(SELECT value FROM json_each(?))"
    connection.exec_driver_sql(
        f"UPDATE ledger SET row_key = NULL, salt = NULL WHERE seq IN {listed}", (json.dumps(stripped),)
    )
    connection.exec_driver_sql(
        "INSERT INTO ledger (table_name, row_key, operation) VALUES ('ledger', ?, ?)", (_ranges(stripped), FORGET)
    )


def faults(connection: Connection) -> list[Fault]:
    """Every row that is not as it was written, is missing, or was written by somebody else; and breaks of the chain."""
    found: list[Fault] = []
    newest: dict[tuple[str, str], tuple[str | None, str, str]] = {}
    link, expected = START, 1
    bare: dict[int, bool] = {}  # sealed notes that lost key or salt, and whether they lost both
    forgotten: set[int] = set()
    notes = connection.exec_driver_sql(
        "SELECT seq, table_name, row_key, operation, salt, content, link FROM ledger ORDER BY seq"
    )
    for seq, table, key, operation, salt, content, stored in notes:
        if seq != expected:
            found.append(Fault("ledger", "", f"notes {expected} to {seq - 1} are missing"))
        expected = seq + 1
        if stored is None:
            found.append(Fault(table, key or "", f"{operation} by something other than Ethos"))
        elif stored != _link(link, seq, table, operation, content):
            found.append(Fault("ledger", f"[{seq}]", "changed, or the note before it is another one"))
        link = stored or link
        if stored is not None and (key is None or salt is None):
            bare[seq] = key is None and salt is None
        elif operation == FORGET and stored is not None:
            if content == _digest(salt, table, key, ""):
                forgotten |= {number for number in _numbers(key) if number < seq}
            else:
                found.append(Fault("ledger", f"[{seq}]", "names other notes as forgotten than it did"))
        elif key is not None:
            newest[table, key] = (salt, content, operation)
    wrong = {seq for seq, wholly in bare.items() if not wholly} | (bare.keys() ^ forgotten)
    found += [Fault("ledger", f"[{seq}]", "was stripped, or is there again, as no forgetting did it") for seq in wrong]
    ever = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'ledger'").scalar() or 0
    if ever >= expected:
        found.append(Fault("ledger", "", f"notes {expected} to {ever} are missing"))
    return found + _unlike(connection, newest)


def _unlike(connection: Connection, newest: dict[tuple[str, str], tuple[str | None, str, str]]) -> list[Fault]:
    """Rows that differ from their newest note."""
    rows, found = _Rows(connection), []
    for table in watched():
        keys = {_as_json(key) for key in rows.keys(table)}
        noted = {key: note for (name, key), note in newest.items() if name == table.name}
        added = sorted(keys - noted.keys())
        found += [Fault(table.name, key, "was added by something other than Ethos") for key in added]
        for some in _chunks(noted):
            held = rows.contents((table.name, key) for key in some if key in keys)
            for key in some:
                salt, content, operation = noted[key]
                if content is None or salt is None:
                    continue  # reported as not sealed
                if operation == "delete":
                    if key in keys:
                        found.append(Fault(table.name, key, "was deleted, and is there again"))
                elif key not in keys:
                    found.append(Fault(table.name, key, "is missing"))
                elif content != _digest(salt, table.name, key, held.get((table.name, key), "")):
                    found.append(Fault(table.name, key, "was changed"))
    return found


def _chunks(items: Iterable[T]) -> Iterator[Sequence[T]]:
    going = iter(items)
    while some := list(islice(going, _CHUNK)):
        yield some


class _Rows:
    """Reads rows by key as canonical text."""

    def __init__(self, connection: Connection) -> None:
        self._driver: Any = connection.connection.driver_connection
        self._statements: dict[str, tuple[str, list[str]]] = {}

    def keys(self, table: Table) -> list[tuple[Any, ...]]:
        """The primary keys of all rows."""
        columns = ", ".join(f'"{column.name}"' for column in table.primary_key)
        return list(self._driver.execute(f"SELECT {columns} FROM {table.name}"))

    def contents(self, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Rows as text, by table and key; those that are not there are left out.

        Columns without a value count as absent, so some may be added.
        """
        wanted: dict[str, set[str]] = {}
        for table, key in keys:
            wanted.setdefault(table, set()).add(key)
        return {(table, key): text for table, some in wanted.items() for key, text in self._read(table, some)}

    def _read(self, table: str, keys: set[str]) -> Iterator[tuple[str, str]]:
        """Some rows of a table by key; by one statement, since a statement a row takes longer than the row."""
        if table not in self._statements:
            names = [column.name for column in schema.Base.metadata.tables[table].primary_key]
            columns = sorted(row[1] for row in self._driver.execute(f"PRAGMA table_info({table})"))
            found = ", ".join(f'"{name}"' for name in [*columns, *names])
            asked = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(names)))
            where = ", ".join(f'"{name}"' for name in names)
            statement = f"SELECT {found} FROM {table} WHERE ({where}) IN (SELECT {asked} FROM json_each(?))"
            self._statements[table] = statement, columns
        statement, columns = self._statements[table]
        for row in self._driver.execute(statement, (f"[{','.join(keys)}]",)):
            held = {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in zip(columns, row, strict=False)
                if value is not None
            }
            yield _as_json(row[len(columns) :]), _as_json(held)


def _digest(salt: str, table: str, key: str, content: str) -> str:
    text = _as_json([table, key, content])
    return hmac.digest(bytes.fromhex(salt), text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as JSON, runs as their first and last."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return json.dumps(runs, separators=(",", ":"))


def _numbers(ranges: str) -> set[int]:
    return {number for first, last in json.loads(ranges) for number in range(first, last + 1)}


def _link(before: str, seq: int, table: str, operation: str, content: str | None) -> str:
    return hashlib.sha256(f"{before} {seq} {table} {operation} {content}".encode()).hexdigest()
