"""Forget a scenario: remove its text and everything derived from it; the ledger still verifies.

What was asked is personal; the personas it led to are not, so they stay unless they are to go as well. Knows the
tables, and how prompts and reasons quote a scenario.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Text, and_, delete, func, insert, or_, select, update

from ethos.errors import InputError
from ethos.persona import ATTRIBUTES, Persona
from ethos.pool.maintenance.removal import among, drop_answers, drop_calls, drop_texts, scrub, unused
from ethos.pool.storage import ledger, schema
from ethos.pool.storage.backup import FOLDER as BACKUPS
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import put_scenario, resolve, text_id
from ethos.scenario import Scenario
from ethos.text.cleaning import digest
from ethos.text.fence import defused
from ethos.text.withholding import is_of, is_withheld

FORGOTTEN = "[forgotten]"
_NAMELESS = re.compile("forgotten [0-9a-f]{32}")  # the situation that stands for a forgotten one
_QUOTED = 80  # characters of a situation that a member's reason quotes


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        scenarios: Scenarios with this situation; their options may differ.
        answers: Answers to them.
        calls: Model calls for them.
        failures: Failed attempts for them.
        redacted: Rows of other scenarios that quoted the text, and now say `FORGOTTEN`.
        personas_kept: Personas made for it that stay in the pool.
        personas_lost: Of these, those that no question can find any more, since they were made for nothing else.
        personas_deleted: Personas made for it that were deleted.
        elsewhere: Rows in which the text stands as a part of other words, and so is somebody else's: table and key.
        backups: Copies of the pool that hold the text still, or did until they were deleted.
        backups_deleted: Whether they were.
    """

    scenarios: int
    answers: int
    calls: int
    failures: int
    redacted: int
    personas_kept: int
    personas_lost: int
    personas_deleted: int
    elsewhere: tuple[str, ...]
    backups: tuple[str, ...]
    backups_deleted: bool

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "elsewhere": list(self.elsewhere), "backups": list(self.backups)}


def forget(database: Database, identifier: str, *, with_personas: bool = False, backups: bool = False) -> Forgotten:
    """Remove a scenario's text, and what was said about it, from every file of the pool.

    Args:
        database: The pool's.
        identifier: The text as it was asked, or the start of a scenario's id.
        with_personas: Whether the personas made for it go too, unless others use them.
        backups: Whether all copies in the pool's own folder are deleted.

    Raises:
        InputError: Nothing in the pool holds this text, and it is no scenario's id; the files were cleaned anyway.
        PoolError: The rows are deleted, but the log could not be emptied.
    """
    with database.write() as connection:
        above = ledger.last(connection)
        situation, ids = _find(connection, identifier)
        counts = _Forgetting(connection, situation, ids).run(with_personas)
        ledger.forget(connection, above)
    copies = sorted(path for path in (database.folder / BACKUPS).glob("*") if path.is_file())
    if backups:
        for path in copies:
            path.unlink()
    scrub(database)
    if not any(counts[name] for name in ("scenarios", "calls", "redacted")):
        raise InputError(
            f"{identifier[:60]!r} is neither a text that the pool holds nor the start of a scenario's id",
            "give the text exactly as it was asked; see `ethos audit search`",
        )
    return Forgotten(**counts, backups=tuple(map(str, copies)), backups_deleted=backups)


def _find(connection: Connection, identifier: str) -> tuple[str, list[str]]:
    """The situation that is meant, and the ids of all scenarios that have it."""
    scenario = schema.ScenarioRow
    rows = connection.execute(select(scenario.id, scenario.situation)).all()
    asked = {identifier, Scenario.of(identifier).situation}
    ids = [
        row.id
        for row in rows
        if row.situation in asked or (is_withheld(row.situation) and any(is_of(row.situation, text) for text in asked))
    ]
    if ids:
        return Scenario.of(identifier).situation, ids
    if re.fullmatch("[0-9a-f]{6,32}", identifier):
        full = resolve(connection, scenario, identifier, "scenario", "ethos audit search")
        situation = next(row.situation for row in rows if row.id == full)
        return situation, [row.id for row in rows if row.situation == situation]
    return Scenario.of(identifier).situation, []


class _Forgetting:
    """One scenario's way out of one transaction."""

    def __init__(self, connection: Connection, situation: str, ids: Collection[str]) -> None:
        self._connection = connection
        self._situation = situation
        self._ids = ids
        # As the tables hold it: plain, as a fence in a prompt holds it, and either of them inside JSON of either kind.
        plain = {situation, defused(situation)}
        escaped = {json.dumps(text, ensure_ascii=ascii)[1:-1] for text in plain for ascii in (False, True)}
        self._spellings = sorted(plain | escaped)
        # Where a text stands by itself: a whole line, after a label, in a fence or in quotation marks. As a part of
        # other words it is somebody else's question.
        alternatives = "|".join(map(re.escape, plain))
        self._whole = re.compile(rf'(?:^|(?<=[“"\n>])|(?<=: ))(?:{alternatives})(?=$|[”"\n]|</data-)')

    def run(self, with_personas: bool) -> dict[str, Any]:
        """Forget; what `Forgotten` counts."""
        answer, failure = schema.AnswerRow, schema.FailureRow
        answers = (
            self._connection.execute(select(answer.id).where(among(answer.scenario_id, self._ids))).scalars().all()
        )
        comments = self._comments(answers)
        calls = drop_answers(self._connection, answers)
        failures = self._delete(failure, among(failure.scenario_id, self._ids))
        calls |= self._calls_that_say_it() | self._calls_that_quote(comments)
        dropped = drop_calls(self._connection, calls)
        redacted = self._redact_calls() + self._redact_rows()
        kept, lost, deleted = self._part_from_personas(with_personas)
        vectors = schema.EmbeddingRow
        self._delete(vectors, vectors.text_id == text_id(self._situation))
        scenarios = self._delete(schema.ScenarioRow, among(schema.ScenarioRow.id, self._ids))
        self._delete(schema.LeaseRow, schema.LeaseRow.expires_at < time.time())  # their keys are digests of scenarios
        drop_texts(self._connection)
        return {
            "scenarios": scenarios,
            "answers": len(answers),
            "calls": dropped,
            "failures": failures,
            "redacted": redacted,
            "personas_kept": kept,
            "personas_lost": lost,
            "personas_deleted": deleted,
            "elsewhere": tuple(self._elsewhere()),
        }

    def _delete(self, table: type[schema.Base], where: Any) -> int:
        return self._connection.execute(delete(table).where(where)).rowcount

    def _says_it(self, column: Any) -> Any:
        return or_(*(func.instr(column, spelling) > 0 for spelling in self._spellings))

    def _texts_that_say_it(self) -> dict[str, str]:
        """Ids and contents of the prompts and completions in which the text stands by itself."""
        query = select(schema.TextRow.id, schema.TextRow.content).where(self._says_it(schema.TextRow.content))
        rows = self._connection.execute(query).all()
        return {row.id: row.content for row in rows if self._redacted(row.content) != row.content}

    def _calls_that_say_it(self) -> set[str]:
        """Calls that no answer rests on: of requests that came to nothing, and of `ethos pool build`."""
        call, texts = schema.CallRow, self._texts_that_say_it()
        said = or_(among(call.prompt_id, texts), among(call.completion_id, texts))
        return set(self._connection.execute(select(call.id).where(said)).scalars())

    def _comments(self, answers: Collection[str]) -> list[str]:
        """What was said of the scenario, as stored chats spell it."""
        member, call, text = schema.MemberRow, schema.CallRow, schema.TextRow
        query = select(text.content).join(call, call.completion_id == text.id)
        query = query.join(member, member.comment_call_id == call.id).where(among(member.answer_id, answers))
        return [
            json.dumps(said, ensure_ascii=False)[1:-1] for said in self._connection.execute(query).scalars() if said
        ]

    def _calls_that_quote(self, comments: Sequence[str]) -> set[str]:
        """Calls that no answer rests on and that show these comments, such as those of `ethos audit replay`."""
        call, text, listed = schema.CallRow, schema.TextRow, func.json_each(json.dumps(comments)).table_valued("value")
        shown = select(listed.c.value).where(func.instr(text.content, listed.c.value) > 0).exists()
        query = select(call.id).join(text, text.id == call.prompt_id).where(unused(call), shown)
        return set(self._connection.execute(query).scalars())

    def _redact_calls(self) -> int:
        """Put `FORGOTTEN` in place of the text in calls that others' answers rest on, which show it as an example."""
        count = 0
        for old, content in self._texts_that_say_it().items():
            new = self._redacted(content)
            row = {"id": text_id(new), "content": new}
            self._connection.execute(insert(schema.TextRow).prefix_with("OR IGNORE").values(row))
            for column in ("prompt_id", "completion_id"):
                where = getattr(schema.CallRow, column) == old
                # The key is a digest of the prompt, and would confirm a guess of what was in it.
                values = {column: row["id"], "key": secrets.token_hex(16)}
                count += self._connection.execute(update(schema.CallRow).where(where).values(values)).rowcount
        return count

    def _redact_rows(self) -> int:
        """The same where other rows quote the text."""
        quoted = f"“{self._situation[:_QUOTED]}”"
        fields: Sequence[tuple[type[schema.Base], str]] = (
            (schema.AnswerRow, "output"),
            (schema.FailureRow, "reason"),
            (schema.FailureRow, "reply"),
            (schema.MemberRow, "reason"),
        )
        count = 0
        for table, name in fields:
            home: Any = table.__table__
            column = home.c[name]
            found = or_(self._says_it(column), func.instr(column, quoted) > 0)
            for row in self._connection.execute(select(*home.primary_key, column).where(found)).all():
                *key, text = row
                new = self._redacted(text).replace(quoted, f"“{FORGOTTEN}”")
                if new != text:
                    where = [column == value for column, value in zip(home.primary_key, key, strict=True)]
                    self._connection.execute(update(home).where(*where).values({name: new}))
                    count += 1
        return count

    def _redacted(self, text: str) -> str:
        """A text, or a chat as it is stored, with `FORGOTTEN` in place of the situation."""
        try:
            turns = json.loads(text)
        except ValueError:
            return self._whole.sub(FORGOTTEN, text)
        if not isinstance(turns, list) or not all(isinstance(turn, dict) and "content" in turn for turn in turns):
            return self._whole.sub(FORGOTTEN, text)
        said = [{**turn, "content": self._whole.sub(FORGOTTEN, turn["content"])} for turn in turns]
        return text if said == turns else json.dumps(said, ensure_ascii=False)

    def _part_from_personas(self, with_personas: bool) -> tuple[int, int, int]:
        """Take the scenario from its personas' origins; how many personas stay, are out of reach, and were deleted."""
        origin, change, panel = schema.OriginRow, schema.ChangeRow, schema.PanelRow
        self._delete(panel, among(panel.scenario_id, self._ids))
        self._delete(change, among(change.scenario_id, self._ids))
        own = select(origin.__table__).where(among(origin.scenario_id, self._ids))
        origins = [dict(row) for row in self._connection.execute(own).mappings()]
        self._delete(origin, among(origin.scenario_id, self._ids))
        personas = {row["persona_id"] for row in origins}
        deleted = self._delete_personas(personas) if with_personas else set()
        left = [row for row in origins if row["persona_id"] not in deleted]
        if left:
            # Somebody was made for something: a scenario that says no more than that stands in its place.
            nameless = Scenario(f"forgotten {secrets.token_hex(16)}")
            put_scenario(self._connection, nameless)
            self._connection.execute(insert(origin), [_moved(row, nameless.key) for row in left])
        stay = personas - deleted
        linked = set(
            self._connection.execute(select(change.persona_id).where(among(change.persona_id, stay))).scalars()
        )
        return len(stay), len(stay - linked), len(deleted)

    def _delete_personas(self, ids: set[str]) -> set[str]:
        """Delete those that nothing else uses: no other scenario, panel, answer, or duplicate that they stand for."""
        status, merge, persona, origin = schema.StatusChangeRow, schema.MergeRow, schema.PersonaRow, schema.OriginRow
        scenario = schema.ScenarioRow
        made = select(origin.persona_id, scenario.situation).join(scenario, scenario.id == origin.scenario_id)
        rows = self._connection.execute(made.where(among(origin.persona_id, ids)))
        used = {persona_id for persona_id, situation in rows if not _NAMELESS.fullmatch(situation)}
        for column in (
            schema.PanelRow.persona_id,
            schema.MemberRow.persona_id,
            schema.ChangeRow.persona_id,
            schema.InfluenceRow.persona_id,
            merge.kept_id,
        ):
            used |= set(self._connection.execute(select(column).where(among(column, ids))).scalars())
        free = ids - used
        texts = select(persona.__table__).where(among(persona.id, free))
        for row in self._connection.execute(texts).mappings().all():
            line = Persona.stored(row["id"], tuple(row[a] for a in ATTRIBUTES)).line
            known = [text_id(text) for text in (line, *(row[attribute] for attribute in ATTRIBUTES))]
            self._delete(schema.EmbeddingRow, among(schema.EmbeddingRow.text_id, known))  # others' are made again
        self._delete(origin, among(origin.persona_id, free))
        self._delete(scenario, and_(scenario.situation.op("GLOB")("forgotten " + "[0-9a-f]" * 32), unused(scenario)))
        self._delete(status, among(status.persona_id, free))
        self._delete(merge, among(merge.duplicate_id, free))
        self._delete(persona, among(persona.id, free))
        return free

    def _elsewhere(self) -> list[str]:
        """Rows in which the text is left, as a part of other words."""
        found = []
        for table in schema.Base.metadata.sorted_tables:
            texts = [c for c in table.columns if isinstance(c.type, Text) or c.type.__visit_name__ == "JSON"]
            for column in texts:
                keys = self._connection.execute(select(*table.primary_key).where(self._says_it(column))).all()
                found += [f"{table.name} {json.dumps(list(key), separators=(',', ':'))}" for key in keys]
        return found


def _moved(origin: dict[str, Any], scenario_id: str) -> dict[str, Any]:
    """An origin under another scenario, and so under another content address."""
    named = ("persona_id", "scenario_id", "kind", "model_id", "prompt_set", "seed", "source", "licence")
    values = {name: origin[name] for name in named} | {"scenario_id": scenario_id}
    return {**values, "id": digest("origin", values), "created_at": origin["created_at"]}
