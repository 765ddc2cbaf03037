"""Full-text search over scenarios, personas, and answers with their comments.

The words are in a file of their own, derived from SQL: before a search it takes in what the ledger notes beyond its
mark, and it is made anew when it cannot be trusted. It holds words and places, not texts. Knows the tables; a hit is
named by id, with an excerpt.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from ethos.errors import InputError, PoolDamaged
from ethos.persona import ATTRIBUTES
from ethos.pool.storage.database import Database

FILE = "search.db"
FORMAT = 1
Kind = Literal["answer", "persona", "scenario"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Porter's stems: who looks for "vaccines" means "vaccine" too; accents and case do not count.
_WORDS = "fts5(body, {}tokenize = 'porter unicode61 remove_diacritics 2')"
_TABLES = (
    "CREATE TABLE found.mark (format INTEGER NOT NULL, seq INTEGER NOT NULL, link TEXT NOT NULL)",
    "CREATE TABLE found.documents (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL)",
    "CREATE VIRTUAL TABLE found.words USING " + _WORDS.format("content = '', "),
)
_TERM = re.compile(r'"([^"]+)"|(\S+)')
_BATCH = 500

_LISTED = "IN (SELECT value FROM json_each(:ids))"
_PERSONA = " || '\n' || ".join(ATTRIBUTES)
# The body of each kind, by id; comments are said in answers.
_BODIES: dict[Kind, str] = {
    "persona": f"SELECT id, {_PERSONA} FROM personas WHERE id {_LISTED}",
    "scenario": "SELECT id, situation || '\n' || coalesce((SELECT group_concat(value, '\n') "
    f"FROM json_each(scenarios.options)), '') FROM scenarios WHERE id {_LISTED}",
    "answer": "SELECT id, output || '\n' || wording || '\n' || coalesce(json_extract(attribute, '$.name'), '') || '\n' "
    "|| (SELECT group_concat(texts.content, '\n') FROM members JOIN calls ON calls.id = comment_call_id "
    f"JOIN texts ON texts.id = completion_id WHERE answer_id = answers.id) FROM answers WHERE id {_LISTED}",
}
_HEADS: dict[Kind, str] = {
    "persona": f"SELECT id, created_at, name FROM personas WHERE id {_LISTED}",
    "scenario": f"SELECT id, created_at, situation FROM scenarios WHERE id {_LISTED}",
    "answer": "SELECT answers.id, answers.created_at, situation FROM answers "
    f"JOIN scenarios ON scenarios.id = scenario_id WHERE answers.id {_LISTED}",
}
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which answers count; a persona or scenario counts if such an answer has it.

    Attributes:
        mode: Overton, steerable or distributional; empty for all.
        model: A part of a model's name, in any role.
        since: From this time on; a beginning of an ISO 8601 time, such as a day.
        until: To the end of this time.
        framework: A part of the ethical framework of one of its panel; of a persona, of its own.
        stakeholder: A part of the stakeholder role, likewise.
        kinds: What may be found.

    Raises:
        InputError: A time is no beginning of an ISO 8601 time.
    """

    mode: str = ""
    model: str = ""
    since: str = ""
    until: str = ""
    framework: str = ""
    stakeholder: str = ""
    kinds: tuple[Kind, ...] = KINDS

    def __post_init__(self) -> None:
        for time in (self.since, self.until):
            if time and not _TIME.fullmatch(time):
                raise InputError(
                    f"{time!r} is no time", "give a day or a part of it in UTC: 2026-11-21, 2026-11-21T17:30"
                )

    def where(self, kind: Kind) -> str:
        """A condition on the row of a found document, ``d.id``, with the names of `values`."""
        answers = [
            condition
            for told, condition in (
                (self.mode, "a.mode = :mode"),
                (self.since, "a.created_at >= :since"),
                (self.until, "a.created_at <= :until"),
                (
                    self.model,
                    "EXISTS (SELECT 1 FROM json_each(a.record, '$.models') AS m WHERE instr(lower(m.value), :model))",
                ),
            )
            if told
        ]
        people = [
            f"instr(lower(p.{column}), :{name})"
            for name, column in (("framework", "ethical_framework"), ("stakeholder", "stakeholder_role"))
            if getattr(self, name)
        ]
        if not answers and not people:
            return "1"
        if kind == "persona":
            own = (
                [f"EXISTS (SELECT 1 FROM personas AS p WHERE p.id = d.id AND {' AND '.join(people)})"] if people else []
            )
            took = "SELECT 1 FROM members JOIN answers AS a ON a.id = answer_id WHERE persona_id = d.id"
            return " AND ".join([*own, *([f"EXISTS ({took} AND {' AND '.join(answers)})"] if answers else [])])
        if people:
            sat = "SELECT 1 FROM members JOIN personas AS p ON p.id = persona_id WHERE answer_id = a.id"
            answers.append(f"EXISTS ({sat} AND {' AND '.join(people)})")
        key = "id" if kind == "answer" else "scenario_id"
        return f"EXISTS (SELECT 1 FROM answers AS a WHERE a.{key} = d.id AND {' AND '.join(answers)})"

    @property
    def values(self) -> dict[str, str]:
        """What the conditions compare with."""
        return {
            "mode": self.mode,
            "model": self.model.lower(),
            "since": self.since,
            "until": self.until + "~",  # after whatever an ISO 8601 time goes on with
            "framework": self.framework.lower(),
            "stakeholder": self.stakeholder.lower(),
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found.

    Attributes:
        kind: An answer, persona or scenario.
        id: Its full id.
        at: When it was made.
        title: The scenario that was answered, the persona's name, or the scenario.
        score: BM25, higher is better; comparable within one search.
        excerpt: The words around what was found, which stands between ``[`` and ``]``.
    """

    kind: str
    id: str
    at: str
    title: str
    score: float
    excerpt: str

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)


def discard(folder: Path) -> None:
    """Delete the file of a pool folder, with whatever a process that died left beside it."""
    for ending in ("", "-journal", "-wal", "-shm"):
        (folder / f"{FILE}{ending}").unlink(missing_ok=True)


def search(database: Database, query: str, wanted: Filter, limit: int) -> list[Hit]:
    """What holds all words of a query, the best first.

    Args:
        database: The pool's.
        query: Words, all of which must be there; ``"a phrase"`` stands together, ``begin*`` is a beginning.
        wanted: Which answers count.
        limit: At most so many.

    Raises:
        InputError: The query has no word.
    """
    match = _match(query)
    try:
        return _search(database, match, wanted, limit)
    except PoolDamaged:  # this file, perhaps, which is derived; if it is the pool, that shows again
        discard(database.folder)
        return _search(database, match, wanted, limit)


def _match(query: str) -> str:
    terms = []
    for phrase, word in _TERM.findall(query):
        text = (phrase or word).strip('"')
        begins = text.endswith("*") and not phrase
        if re.search(r"\w", text):
            quoted = text.rstrip("*").replace('"', '""')
            terms.append(f'"{quoted}"{"*" if begins else ""}')
    if not terms:
        raise InputError(f"{query!r} has no word to look for", "give a word, or several")
    return " ".join(terms)


def _search(database: Database, match: str, wanted: Filter, limit: int) -> list[Hit]:
    kinds = " OR ".join(f"(d.kind = '{kind}' AND {wanted.where(kind)})" for kind in wanted.kinds)
    found = (
        "SELECT d.kind, d.id, -bm25(words) AS score FROM found.words "
        "JOIN found.documents AS d ON d.number = words.rowid "
        f"WHERE words MATCH :match AND ({kinds}) ORDER BY score DESC, d.kind, d.id LIMIT :limit"
    )
    with _words(database) as connection:
        rows = connection.execute(found, {**wanted.values, "match": match, "limit": limit}).fetchall()
        ids = {kind: [key for own, key, _ in rows if own == kind] for kind in KINDS}
        bodies = {(kind, key): body for kind in KINDS for key, body in _bodies(connection, kind, ids[kind])}
        heads = {
            (kind, key): (at, title)
            for kind in KINDS
            for key, at, title in connection.execute(_HEADS[kind], {"ids": json.dumps(ids[kind])})
        }
    excerpts = _excerpts([bodies[kind, key] for kind, key, _ in rows], match)
    return [
        Hit(kind, key, *heads[kind, key], score=round(score, 3), excerpt=excerpt)
        for (kind, key, score), excerpt in zip(rows, excerpts, strict=True)
    ]


def _excerpts(bodies: list[str], match: str) -> list[str]:
    """Return excerpts around the matches; FTS makes them only of indexed texts, so these few are indexed in memory."""
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.execute(f"CREATE VIRTUAL TABLE words USING {_WORDS.format('')}")
        memory.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", enumerate(bodies, start=1))
        excerpt = "SELECT rowid, snippet(words, 0, '[', ']', '…', 16) FROM words WHERE words MATCH ?"
        excerpts = dict(memory.execute(excerpt, (match,)))
    return [" ".join(excerpts.get(number, "").split()) for number in range(1, len(bodies) + 1)]


@contextmanager
def _words(database: Database) -> Iterator[sqlite3.Connection]:
    """A connection to the pool that has the words, up to date, under the name ``found``."""
    path = database.folder / FILE
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with database.plain() as connection:
        connection.execute("ATTACH ? AS found", (str(path),))
        try:
            _catch_up(connection)
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
        finally:
            connection.execute("DETACH found")


def _catch_up(connection: sqlite3.Connection) -> None:
    """Take in what the ledger notes beyond the mark, or everything where that is not enough."""
    newest = "SELECT seq, link FROM main.ledger ORDER BY seq DESC LIMIT 1"
    if _mark(connection) == connection.execute(newest).fetchone():
        return
    connection.execute("PRAGMA found.secure_delete = ON")
    connection.execute("BEGIN")
    try:
        # The first statement writes to this file alone: it waits for others who do so, and never locks the pool.
        connection.execute("CREATE TABLE IF NOT EXISTS found.turn (taken INTEGER)")
        connection.execute("INSERT INTO found.turn VALUES (1)")
        connection.execute("DELETE FROM found.turn")
        now = connection.execute(newest).fetchone()
        since = _place(connection, _mark(connection))
        if since is None:
            for name in ("mark", "documents", "words"):
                connection.execute(f"DROP TABLE IF EXISTS found.{name}")
            for statement in _TABLES:
                connection.execute(statement)
        for kind in KINDS:
            _add(connection, kind, since)
        connection.execute("DELETE FROM found.mark")
        connection.execute("INSERT INTO found.mark VALUES (?, ?, ?)", (FORMAT, *now))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _mark(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """Up to which note the words are complete; None if there are none that this version can use."""
    if not connection.execute("SELECT 1 FROM found.sqlite_master WHERE name = 'mark'").fetchone():
        return None
    found: tuple[int, str] | None = connection.execute(
        "SELECT seq, link FROM found.mark WHERE format = ?", (FORMAT,)
    ).fetchone()
    return found


def _place(connection: sqlite3.Connection, mark: tuple[int, str] | None) -> int | None:
    """The note from which on to go on; None to begin anew, since the pool has another past than the words, or less."""
    if mark is None:
        return None
    went = connection.execute("SELECT 1 FROM main.ledger WHERE (seq, link) = (?, ?)", mark).fetchone()
    forgot = connection.execute("SELECT 1 FROM main.ledger WHERE seq > ? AND operation = 'forget'", mark[:1]).fetchone()
    return mark[0] if went and not forgot else None


def _add(connection: sqlite3.Connection, kind: Kind, since: int | None) -> None:
    """Take in the rows of a table: all, or those noted after a note."""
    if since is None:
        rows = connection.execute(f"SELECT id FROM main.{kind}s")
    else:
        noted = (
            "SELECT json_extract(row_key, '$[0]') FROM main.ledger WHERE seq > ? AND table_name = ? AND operation = ?"
        )
        rows = connection.execute(noted, (since, f"{kind}s", "insert"))
    ids = [row[0] for row in rows]
    for start in range(0, len(ids), _BATCH):
        for key, body in _bodies(connection, kind, ids[start : start + _BATCH]):
            number = connection.execute("INSERT INTO found.documents (kind, id) VALUES (?, ?)", (kind, key)).lastrowid
            connection.execute("INSERT INTO found.words (rowid, body) VALUES (?, ?)", (number, body))


def _bodies(connection: sqlite3.Connection, kind: Kind, ids: Iterable[str]) -> list[tuple[str, str]]:
    return connection.execute(_BODIES[kind], {"ids": json.dumps(list(ids))}).fetchall()
