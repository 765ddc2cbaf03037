"""Export and import of personas: from a pool into files, and from files or another pool into it.

Ties the exchange modules together; knows no embedder's workings and no command line. An import is two passes over the
same open files: the first checks every row and changes nothing, the second is one write transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from ethos.encoders.embedder import Embedder
from ethos.errors import InputError
from ethos.pool.exchange.row_format import MAX_NOTE_CHARACTERS, MAX_ROWS, Source
from ethos.pool.exchange.rows import Row, row_of
from ethos.pool.exchange.storing import BATCH, Stored, Terms, put_rows, settle_panels
from ethos.pool.storage.database import Database
from ethos.text.cleaning import clean_line

MOST_LISTED = 10_000  # refused rows that a report holds; the others are counted
MAX_NAME_CHARACTERS = 200
_CACHE = 64 * 2**20  # bytes

Progress = Callable[[str, int], None]
"""Told what is done, "checked" or "stored", and to how many rows so far."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be imported, and why."""

    place: str
    cause: str


@dataclass(slots=True)
class ImportReport:
    """What an import found and did.

    Attributes:
        source: What the personas are said to come from; `approve` finds them by it.
        rows: Rows found.
        refused: Rows that cannot be imported.
        refusals: The first `MOST_LISTED` of them.
        stored: What became of the others; None if nothing was stored, since rows were refused.
        trusted: Whether they may be retrieved at once.
    """

    source: str
    trusted: bool
    rows: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    stored: Stored | None = None

    @property
    def repeated(self) -> int:
        """Rows that say what was said before, in the same files or in the pool."""
        return self.rows - self.refused - self.stored.origins if self.stored else 0

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "source": self.source,
            "rows": self.rows,
            "refused": self.refused,
            "stored": self.stored is not None,
            "new_personas": self.stored.personas if self.stored else 0,
            "new_origins": self.stored.origins if self.stored else 0,
            "new_links": self.stored.links if self.stored else 0,
            "vectors_taken": self.stored.vectors if self.stored else 0,
            "repeated": self.repeated,
            "status": "as stated" if self.trusted else "quarantined",
            "refusals": [asdict(refusal) for refusal in self.refusals],
        }


def import_rows(
    database: Database, source: Source, terms: Terms, progress: Progress, skip_bad: bool = False
) -> ImportReport:
    """Take in all rows of a source, or none.

    Args:
        database: The pool's.
        source: Read twice, from its beginning.
        terms: On what terms.
        progress: Told now and then.
        skip_bad: Whether rows that cannot be used are left out, instead of keeping all others out.

    Returns:
        What was found; `stored` is None if a row was refused and `skip_bad` is off.

    Raises:
        InputError: The source as a whole cannot be read, holds no row, too many, or changed while it was read.
    """
    report = ImportReport(terms.name, terms.trust)
    for found in _checked(source):
        report.rows += 1
        if isinstance(found, Refusal):
            report.refused += 1
            if len(report.refusals) < MOST_LISTED:
                report.refusals.append(found)
        if report.rows % 1000 == 0:
            progress("checked", report.rows)
    if not report.rows:
        raise InputError(f"{source.name} holds no row")
    if report.refused and not skip_bad:
        return report
    with database.write() as connection:
        # What is written stays in memory until the commit, instead of going to the log and back page by page.
        connection.exec_driver_sql(f"PRAGMA cache_size = -{_CACHE >> 10}")
        stored, refused, batch = Stored(), 0, list[Row]()
        for number, found in enumerate(_checked(source), start=1):
            if isinstance(found, Refusal):
                refused += 1
            else:
                batch.append(found)
            if len(batch) == BATCH:
                stored += put_rows(connection, batch, terms)
                batch.clear()
                progress("stored", number)
        if batch:
            stored += put_rows(connection, batch, terms)
        if refused != report.refused:
            raise InputError(f"{source.name} changed while it was read", "try again")
        if terms.trust:
            settle_panels(connection)
    report.stored = stored
    return report


def terms(source: Source, embedder: Embedder, name: str, licence: str = "", *, trust: bool = False) -> Terms:
    """On what terms rows come in.

    Args:
        source: Where from.
        embedder: The pool's; asked for the size of its vectors only if the source's are to be taken.
        name: What the source is called; see `source_name`.
        licence: Of the rows that name none.
        trust: Whether the rows' own statuses, origins and panels are accepted.

    Raises:
        InputError: The licence is too long, or holds what cannot be stored.
    """
    licence = clean_line(licence, "licence", MAX_NOTE_CHARACTERS) if licence else ""
    if not trust or source.embedder_id != embedder.identity.id:
        return Terms(name, trust, licence)
    return Terms(name, trust, licence, embedder.identity, embedder.encode([name]).shape[1])


def source_name(given: str) -> str:
    """The name of a source as it is stored.

    Raises:
        InputError: It cannot be one.
    """
    name = clean_line(given, "source's name", MAX_NAME_CHARACTERS)
    if ":" in name:
        # What a source says of its rows is put after a colon, and must not pass for another source's name.
        raise InputError(f"the source's name {name!r} holds a colon", "name the source with --source")
    return name


def _checked(source: Source) -> Iterator[Row | Refusal]:
    for number, entry in enumerate(source.entries(), start=1):
        if number > MAX_ROWS:
            raise InputError(f"{source.name} has more than {MAX_ROWS:,} rows", "split it")
        if entry.record is None:
            yield Refusal(entry.place, entry.cause)
            continue
        try:
            yield row_of(entry.record)
        except InputError as error:
            yield Refusal(entry.place, error.message)
