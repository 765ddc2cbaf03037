"""Read rows from a pool's database, ours or another's.

Knows the tables; knows no file format. Another's database is as foreign as any file: it is opened to read only, with
SQLite's own guards, and what comes out of it is checked like any row.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy.exc import DatabaseError, StatementError

from ethos.encoders.embedder import Vectors
from ethos.errors import InputError
from ethos.persona import ATTRIBUTES, OriginKind
from ethos.pool.exchange.row_format import MAX_LINE_BYTES, VECTORS, Entry, Record
from ethos.pool.exchange.rows import vector_text
from ethos.pool.storage import schema
from ethos.pool.storage.database import FILE
from ethos.text.cleaning import digest

_CHUNK = 500  # rows whose panels and vectors are read at once
_READ = ("alembic_version", "scenarios", "personas", "origins", "models", "merges", "panels")
# A view, a virtual table or a computed column is a program that reading would run.
_COMPUTED = re.compile(r"\bVIRTUAL\b|\bAS\b", re.IGNORECASE)

VectorsOf = Callable[[Iterable[str]], dict[str, Vectors]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted.

    Attributes:
        kind: Of this kind of origin; None for all.
        active: Of active personas only.
    """

    kind: OriginKind | None = None
    active: bool = False


def count(connection: Connection, selection: Selection) -> int:
    """How many rows `records` gives."""
    return connection.execute(select(func.count()).select_from(_origins(selection).subquery())).scalar_one()


def records(
    connection: Connection, selection: Selection, vectors: VectorsOf | None = None
) -> Iterator[tuple[Record, str]]:
    """One row for each way that a persona came to be, with the id of its scenario, in order of scenario and persona.

    The persona that is kept stands for those that were merged into it. Answers, and scenarios that nobody was made
    for, are no part of it.

    Args:
        connection: Within a transaction, so that all rows are of one moment.
        selection: Which are wanted.
        vectors: Gives the stored vectors of texts; None to leave vectors out.
    """
    rows = connection.execution_options(yield_per=_CHUNK).execute(_origins(selection))
    for some in rows.mappings().partitions(_CHUNK):
        seats = _seats(connection, {row["scenario_id"] for row in some})
        held = vectors(text for row in some for text in _encoded(row).values()) if vectors else {}
        for row in some:
            packed = {name: vector_text(held[text]) for name, text in _encoded(row).items() if text in held}
            yield _record(row, seats, packed), row["scenario_id"]


class OtherPool:
    """Another pool's database as a source of rows.

    Args:
        connection: To read it.
    """

    embedder_id = ""  # its vectors are not read

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        with _explained():
            first = select(schema.OriginRow.id, schema.OriginRow.created_at)
            oldest = connection.execute(first.order_by(schema.OriginRow.created_at, schema.OriginRow.id)).first()
        # A pool has no name of its own that would stay; what it began with does.
        self.name = f"pool {digest('pool', *map(str, oldest or ()))[:12]}"

    def entries(self) -> Iterator[Entry]:
        """All rows.

        Raises:
            InputError: The database is damaged.
        """
        with _explained():
            for number, (record, _) in enumerate(records(self._connection, Selection()), start=1):
                yield Entry(f"row {number}", record)


@contextmanager
def other_pool(folder: Path) -> Iterator[OtherPool]:
    """Open another pool's database to read it; nothing is written, upgraded or repaired.

    Raises:
        InputError: Not a pool of this version's schema, or a database that does more than hold rows.
    """
    path = folder / FILE
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path} is not a regular file", "name a pool folder itself")
    engine = create_engine("sqlite://", creator=lambda: _connect(path))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    try:
        with _explained(), engine.connect() as connection:
            _check(connection)
            yield OtherPool(connection)
    finally:
        engine.dispose()


def _connect(path: Path) -> sqlite3.Connection:
    # In a read-only folder SQLite reads a file in WAL mode only if the URI says that nobody writes it.
    frozen = "" if os.access(path.parent, os.W_OK) else "&immutable=1"
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{frozen}", uri=True, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 8 * MAX_LINE_BYTES)
    for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _check(connection: Connection) -> None:
    found = connection.exec_driver_sql("SELECT name, type, sql FROM sqlite_master").all()
    tables = {name: sql or "" for name, kind, sql in found if kind == "table"}
    if missing := [name for name in _READ if name not in tables]:
        raise InputError(
            f"the other database is no Ethos pool of this version: it has no table {missing[0]!r}",
            "open it once with this version: ethos pool stats --pool FOLDER",
        )
    known = {entry.name[:4] for entry in files("ethos.migrations.versions").iterdir()}
    if (revision := connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()) not in known:
        raise InputError(f"the other database has schema {str(revision)[:20]!r}", "upgrade ethos-pool")
    if computed := [name for name in _READ if _COMPUTED.search(tables[name])]:
        raise InputError(f"the other database computes its table {computed[0]!r} instead of holding it")
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if verdict != "ok":
        raise InputError(f"the other database is damaged: {verdict}")


@contextmanager
def _explained() -> Iterator[None]:
    """Map what a foreign database can do to our errors, once."""
    try:
        yield
    except (DatabaseError, StatementError, sqlite3.Error, ValueError, RecursionError, TypeError) as error:
        cause = getattr(error, "orig", None) or error
        raise InputError(f"the other database cannot be read: {str(cause)[:160]}") from error


def _origins(selection: Selection) -> Any:
    """Origins with the persona that serves for them, their scenario and their model."""
    origin, persona, scenario, model = schema.OriginRow, schema.PersonaRow, schema.ScenarioRow, schema.ModelRow
    serving = func.coalesce(schema.MergeRow.kept_id, origin.persona_id)
    query = (
        select(
            persona.id.label("persona_id"),
            *(getattr(persona, attribute) for attribute in ATTRIBUTES),
            scenario.id.label("scenario_id"),
            scenario.situation.label("scenario"),
            scenario.options,
            origin.kind,
            model.name.label("model"),
            model.revision.label("model_revision"),
            model.precision.label("model_precision"),
            origin.prompt_set,
            origin.seed,
            origin.source,
            origin.licence,
            persona.status,
        )
        .select_from(origin)
        .outerjoin(schema.MergeRow, schema.MergeRow.duplicate_id == origin.persona_id)
        .join(persona, persona.id == serving)
        .join(scenario, scenario.id == origin.scenario_id)
        .outerjoin(model, model.id == origin.model_id)
        .order_by(origin.scenario_id, persona.id, origin.id)
    )
    if selection.kind:
        query = query.where(origin.kind == selection.kind)
    return query.where(persona.status == "active") if selection.active else query


def _seats(connection: Connection, scenario_ids: Iterable[str]) -> dict[tuple[str, str], list[Record]]:
    """Places in the scenarios' panels, by scenario and by the persona that serves at each."""
    panel = schema.PanelRow
    serving = func.coalesce(schema.MergeRow.kept_id, panel.persona_id)
    query = (
        select(panel.scenario_id, serving, panel.k, panel.rank, panel.relevance)
        .outerjoin(schema.MergeRow, schema.MergeRow.duplicate_id == panel.persona_id)
        .where(panel.scenario_id.in_(list(scenario_ids)))
        .order_by(panel.scenario_id, panel.k, panel.rank)
    )
    found: dict[tuple[str, str], list[Record]] = {}
    for scenario_id, persona_id, k, rank, relevance in connection.execute(query):
        found.setdefault((scenario_id, persona_id), []).append({"k": k, "rank": rank, "relevance": relevance})
    return found


def _encoded(row: Any) -> dict[str, str]:
    return {name: row[name] for name in VECTORS}


def _record(row: Any, seats: dict[tuple[str, str], list[Record]], packed: dict[str, str]) -> Record:
    places: Sequence[Record] = seats.get((row["scenario_id"], row["persona_id"]), ())
    record = {key: value for key, value in row.items() if key != "scenario_id"} | {"panels": list(places)}
    return {**record, "vectors": packed} if packed else record
