"""Verify a pool: compare tables, ledger, vectors and index with what was written.

Ties the database, the ledger, the vectors and the index together; repairs only what can be derived again. What was
written and is no more as it was cannot be repaired here: restore a backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select

from ethos.encoders.embedder import Embedder
from ethos.errors import PoolDamaged
from ethos.persona import ATTRIBUTES
from ethos.pool.retrieval.index import ScenarioIndex
from ethos.pool.retrieval.snapshot import Snapshots
from ethos.pool.retrieval.vectors import VectorStore, unfit_vectors
from ethos.pool.storage import ledger, schema
from ethos.pool.storage.backup import check
from ethos.pool.storage.database import Database
from ethos.pool.storage.personas import Store
from ethos.pool.storage.rows import text_id
from ethos.text.cleaning import digest

SHOWN = 20  # causes a check names
ASKED = 100  # scenarios that the index is asked about, and encoded again
ALIKE = 0.999  # cosine of the vectors that one encoder gives a text on two machines
_RESTORE = "put a backup back: ethos pool restore FILE"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        faults: What is wrong, the first `SHOWN` of it; empty if nothing.
        count: How much is wrong in all.
        fix: The next step.
        repaired: Whether it was put right.
    """

    name: str
    faults: tuple[str, ...] = ()
    count: int = 0
    fix: str = ""
    repaired: bool = False

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "check": self.name,
            "ok": not self.count,
            "faults": list(self.faults),
            "count": self.count,
            "fix": self.fix,
            "repaired": self.repaired,
        }


def verify(database: Database, embedder: Embedder, repair: bool) -> Iterator[Check]:
    """Check a pool, one thing after the other.

    Args:
        database: The pool's.
        embedder: The one its vectors are made with.
        repair: Whether to delete vectors and snapshots that are wrong; they are made again when they are needed.
    """
    sound = _check("pages", _RESTORE, _pages(database))
    yield sound
    if sound.count:
        return  # what else is read could be anything
    with database.read() as connection:
        yield _check("references", _RESTORE, _references(connection))
        yield _check("ledger", _RESTORE, [f"{f.table} {f.key} {f.cause}" for f in ledger.faults(connection)])
        yield _check("content addresses", _RESTORE, _addresses(connection))
    again = "ethos pool verify --repair"
    unfit = [*unfit_vectors(database), *_strange_vectors(database, embedder)]
    if repair and unfit:
        VectorStore(database).delete(unfit)
    fix = "deleted; made again when needed" if repair else again
    yield _check("vectors", fix, [f"the vector of the text {text}" for _, text in unfit], repair)
    snapshots = Snapshots(database.folder, embedder.identity.id)
    # An index that is built makes vectors that are missing, and here nothing is to be written unless asked.
    wrong = (
        ["not looked at, since vectors are wrong"] if unfit and not repair else _index(database, embedder, snapshots)
    )
    if repair and wrong:
        snapshots.delete()
    yield _check("index", fix, wrong, repair)


def _check(name: str, fix: str, faults: list[str], repaired: bool = False) -> Check:
    return Check(name, tuple(faults[:SHOWN]), len(faults), fix if faults else "", bool(faults) and repaired)


def _pages(database: Database) -> list[str]:
    with database.plain() as connection:
        try:
            check(connection, database.path)
        except PoolDamaged as error:
            return [error.message]
    return []


def _references(connection: Connection) -> list[str]:
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return [f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there" for row in rows]


def _addresses(connection: Connection) -> list[str]:
    """Rows whose id is not the digest of their content."""
    persona, scenario, text = schema.PersonaRow, schema.ScenarioRow, schema.TextRow
    texts = [getattr(persona, attribute) for attribute in ATTRIBUTES]
    addressed: list[tuple[str, object, Callable[[tuple[object, ...]], str]]] = [
        ("personas", select(persona.id, *texts), lambda row: digest("persona", *row)),
        ("scenarios", select(scenario.id, scenario.situation, scenario.options), lambda row: digest("scenario", *row)),
        ("texts", select(text.id, text.content), lambda row: digest("text", *row)),
    ]
    return [
        f"{table} {row[0]} holds another text than it was named after"
        for table, query, address in addressed
        for row in connection.execute(query)  # type: ignore[call-overload]
        if address(tuple(row[1:])) != row[0]
    ]


def _index(database: Database, embedder: Embedder, snapshots: Snapshots) -> list[str]:
    """How the index as it opens differs from one built from SQL; and whether it finds what is there."""
    store, vectors = Store(database), VectorStore(database)
    opened, built = (ScenarioIndex(store, vectors, embedder, some) for some in (snapshots, None))
    try:
        if opened.held() != built.held():
            return ["the snapshot holds other personas than the tables"]
    except PoolDamaged as error:
        return [error.message]
    relevances = [opened.nearest(situation).candidates.relevance for situation in _some_situations(store)]
    missed = sum(not len(found) or found[0] < 1.0 - 1e-3 for found in relevances)
    return [f"{missed} of {len(relevances)} scenarios are not found by their own text"] if missed else []


def _strange_vectors(database: Database, embedder: Embedder) -> list[tuple[str, str]]:
    """Of some scenarios, those whose stored vector is not what the encoder gives."""
    some = _some_situations(Store(database))
    stored = VectorStore(database).get(embedder.identity, some)
    texts = [text for text in some if text in stored]
    if not texts:
        return []
    cosines = (embedder.encode(texts) * np.stack([stored[text] for text in texts])).sum(axis=1)
    wrong = [text for text, cosine in zip(texts, cosines.tolist(), strict=True) if not cosine >= ALIKE]
    return [(embedder.identity.id, text_id(text)) for text in wrong]


def _some_situations(store: Store) -> list[str]:
    known = sorted({link.situation for link in store.links()})
    drawn = np.random.default_rng(0).choice(len(known), min(ASKED, len(known)), replace=False)
    return [known[number] for number in drawn]
