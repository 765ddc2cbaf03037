"""Write and read the record of answers: calls, comments, failures, panels, influences.

Knows the tables; decides nothing. Calls are kept as soon as a stage is done, so that a request that fails later
loses nothing that was paid for; the answer row comes last.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, exists, select
from sqlalchemy.dialects.sqlite import insert

from ethos.answer import Answer
from ethos.encoders.identity import EmbedderIdentity
from ethos.llm import Completion, ModelIdentity, OptionReading
from ethos.llm.calls import AnyCall, Call, Failure, Query, recalled
from ethos.pool.storage import schema
from ethos.pool.storage.answer_rows import answer_of, answer_row, member_rows, members_query
from ethos.pool.storage.database import Database
from ethos.pool.storage.rows import now, put_model, put_scenario, resolve, text_id
from ethos.scenario import Scenario
from ethos.text.option_letters import LETTERS
from ethos.text.withholding import Content, withheld


@dataclass(frozen=True, slots=True)
class KeptCall:
    """A call in the record, and whether this answer made it or found it there."""

    id: str
    reused: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A call with its place in the record."""

    call: AnyCall
    kept: KeptCall


class Record:
    """The pool's record of answers.

    Args:
        database: The pool's.
        content: How much is kept of what is asked and said from now on. Anything less than all of it can be neither
            replayed nor reused.
    """

    def __init__(self, database: Database, content: Content = Content.FULL) -> None:
        self._database = database
        self._content = content

    @property
    def database(self) -> Database:
        """Where it is."""
        return self._database

    @property
    def keeps_texts(self) -> bool:
        """Whether what is asked and said is kept as it is."""
        return self._content is Content.FULL

    def scenario(self, scenario: Scenario) -> Scenario:
        """Return a scenario as the record keeps it; where texts are withheld, options keep only their letters."""
        if self.keeps_texts:
            return scenario
        attribute = scenario.attribute
        return Scenario(
            withheld(scenario.situation, self._content),
            tuple(LETTERS[: len(scenario.options)]),
            replace(attribute, name=withheld(attribute.name, self._content)) if attribute else None,
            withheld(scenario.wording, self._content),
        )

    def keep_calls(self, calls: Sequence[AnyCall]) -> list[KeptCall]:
        """Store calls, in order; texts and models are stored once."""
        if not calls:
            return []
        with self._database.write() as connection:
            return [KeptCall(_put_call(connection, call, self._content), reused=False) for call in calls]

    def recall(self, stage: str, identity: ModelIdentity, queries: Mapping[str, Query]) -> dict[str, Kept]:
        """The calls already made for queries with these keys, by key (design.md section 2, comments)."""
        query = (
            select(schema.CallRow, schema.TextRow.content)
            .outerjoin(schema.TextRow, schema.TextRow.id == schema.CallRow.completion_id)
            .where(schema.CallRow.key.in_(list(queries)))
            .order_by(schema.CallRow.created_at.desc())
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["key"]: Kept(
                recalled(stage, identity, queries[row["key"]], reply_of(dict(row))), KeptCall(row["id"], reused=True)
            )
            for row in rows
        }

    def keep_failures(self, scenario: Scenario, failures: Sequence[Failure]) -> None:
        """Store attempts that could not be used, with their reasons."""
        if not failures:
            return
        with self._database.write() as connection:
            kept = self.scenario(scenario)
            put_scenario(connection, kept)
            rows = [
                {
                    **asdict(failure),
                    "reason": withheld(failure.reason, self._content),
                    "reply": withheld(failure.reply, self._content),
                    "scenario_id": kept.key,
                    "created_at": now(),
                }
                for failure in failures
            ]
            connection.execute(insert(schema.FailureRow), rows)

    def keep_answer(
        self, answer: Answer, calls: Sequence[KeptCall], version: str, request: str, embedder: EmbedderIdentity
    ) -> None:
        """Store one answer with its panel and the calls it rests on, in one transaction.

        Args:
            answer: What is stored.
            calls: What it rests on, in order.
            version: Of Ethos.
            request: Content address of the request; equal requests may share the answer.
            embedder: Which encoder compared scenarios and sentences.
        """
        output = withheld(answer.outcome.output, self._content)
        answer = replace(
            answer, scenario=self.scenario(answer.scenario), outcome=replace(answer.outcome, output=output)
        )
        row = {**answer_row(answer, version, embedder), "request": request if self.keeps_texts else None}
        with self._database.write() as connection:
            put_scenario(connection, answer.scenario)
            connection.execute(insert(schema.AnswerRow).values(row))
            connection.execute(insert(schema.MemberRow), member_rows(answer))
            rows = [
                {
                    "answer_id": answer.answer_id,
                    "position": position,
                    "call_id": call.id,
                    "reused": call.reused,
                }
                for position, call in enumerate(calls)
            ]
            connection.execute(insert(schema.AnswerCallRow), rows)

    def answer(self, identifier: str) -> Answer:
        """One answer as it was given.

        Raises:
            InputError: No answer's id starts with this, or several do.
        """
        with self._database.read() as connection:
            full = resolve(connection, schema.AnswerRow, identifier, "answer", "ethos audit list")
            query = select(schema.AnswerRow, schema.ScenarioRow.situation).join(
                schema.ScenarioRow, schema.ScenarioRow.id == schema.AnswerRow.scenario_id
            )
            row = connection.execute(query.where(schema.AnswerRow.id == full)).mappings().one()
            members = connection.execute(members_query(full)).mappings().all()
        return answer_of(dict(row), [dict(member) for member in members])

    def repeated(self, request: str) -> Answer | None:
        """The newest answer to exactly this request whose panel is active still; None if there is none."""
        member, persona = schema.MemberRow, schema.PersonaRow
        gone = exists().where(
            member.answer_id == schema.AnswerRow.id, persona.id == member.persona_id, persona.status != "active"
        )
        query = select(schema.AnswerRow.id).where(schema.AnswerRow.request == request, ~gone)
        newest = query.order_by(schema.AnswerRow.created_at.desc(), schema.AnswerRow.id).limit(1)
        with self._database.read() as connection:
            found = connection.execute(newest).scalar()
        return None if found is None else self.answer(found)

    def calls(self, answer_id: str) -> list[dict[str, Any]]:
        """The calls an answer rests on, in order, with prompts and completions as sent and received."""
        completion = select(schema.TextRow.id, schema.TextRow.content).subquery()
        query = (
            select(
                schema.CallRow,
                schema.AnswerCallRow.reused,
                schema.ModelRow.name.label("model"),
                schema.ModelRow.revision.label("model_revision"),
                schema.ModelRow.precision.label("model_precision"),
                schema.TextRow.content.label("prompt"),
                completion.c.content.label("completion"),
            )
            .join(schema.AnswerCallRow, schema.AnswerCallRow.call_id == schema.CallRow.id)
            .join(schema.ModelRow, schema.ModelRow.id == schema.CallRow.model_id)
            .join(schema.TextRow, schema.TextRow.id == schema.CallRow.prompt_id)
            .outerjoin(completion, completion.c.id == schema.CallRow.completion_id)
            .where(schema.AnswerCallRow.answer_id == answer_id)
            .order_by(schema.AnswerCallRow.position)
        )
        hidden = {"model_id", "completion_id"}
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [{name: value for name, value in row.items() if name not in hidden} for row in rows]

    def circumstances(self, answer_id: str) -> dict[str, Any]:
        """What an answer's row holds beside the answer itself; None for what its version did not record.

        Returns:
            ``version``, ``request``, ``embedder``, and ``candidates``: who was looked at for the panel, the most
            relevant first, with name, relevance and fate.
        """
        columns = (schema.AnswerRow.version, schema.AnswerRow.request, schema.AnswerRow.record)
        with self._database.read() as connection:
            row = connection.execute(select(*columns).where(schema.AnswerRow.id == answer_id)).mappings().one()
            candidates = row["record"].get("candidates")
            people = select(schema.PersonaRow.id, schema.PersonaRow.name).where(
                schema.PersonaRow.id.in_([one["persona_id"] for one in candidates or ()])
            )
            names = {row.id: row.name for row in connection.execute(people)}
        return {
            "version": row["version"],
            "request": row["request"],
            "embedder": row["record"].get("embedder"),
            "candidates": candidates and [{**one, "name": names.get(one["persona_id"], "")} for one in candidates],
        }

    def answers(self, limit: int, persona_id: str | None = None) -> list[dict[str, Any]]:
        """The newest answers, or those one persona took part in, with its influence."""
        columns = [
            schema.AnswerRow.id.label("answer_id"),
            schema.AnswerRow.created_at,
            schema.AnswerRow.mode,
            schema.ScenarioRow.situation.label("scenario"),
            schema.AnswerRow.output,
        ]
        query: Any = select(*columns).join(schema.ScenarioRow, schema.ScenarioRow.id == schema.AnswerRow.scenario_id)
        if persona_id is not None:
            query = query.join(schema.MemberRow, schema.MemberRow.answer_id == schema.AnswerRow.id)
            query = query.add_columns(schema.MemberRow.rank, schema.MemberRow.source, schema.MemberRow.influence)
            query = query.where(schema.MemberRow.persona_id == persona_id)
        query = query.order_by(schema.AnswerRow.created_at.desc(), schema.AnswerRow.id).limit(limit)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def reply_of(row: Mapping[str, Any]) -> Completion | OptionReading:
    """What came back, from a call's row with the text of its completion as ``content``."""
    if row["reading"] is not None:
        read = row["reading"]
        return OptionReading(tuple(read["probabilities"]), read["mass"], row["prompt_tokens"], row["seconds"])
    written = row["completion_tokens"]
    return Completion(row["content"], row["finish_reason"], row["prompt_tokens"], written, row["seconds"])


def _put_text(connection: Connection, text: str) -> str:
    identifier = text_id(text)
    connection.execute(insert(schema.TextRow).values(id=identifier, content=text).on_conflict_do_nothing())
    return identifier


def _put_call(connection: Connection, call: AnyCall, content: Content) -> str:
    put_model(connection, call.identity)
    full = content is Content.FULL
    prompt = call.prompt_text
    if not full:
        turns = [{**turn, "content": withheld(turn["content"], content)} for turn in json.loads(prompt)]
        prompt = json.dumps(turns, ensure_ascii=False)
    row: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        # Key and seed are digests of the scenario, and would confirm a guess of it.
        "key": call.key if full else uuid.uuid4().hex,
        "stage": call.stage,
        "model_id": call.identity.id,
        "prompt_id": _put_text(connection, prompt),
        "parameters": call.parameters if full else {**call.parameters, "seed": None},
        "created_at": now(),
    }
    if isinstance(call, Call):
        done = call.completion
        row |= {
            "completion_id": _put_text(connection, withheld(done.text, content)),
            "finish_reason": done.finish_reason,
            "prompt_tokens": done.prompt_tokens,
            "completion_tokens": done.completion_tokens,
            "seconds": done.seconds,
        }
    else:
        reading = call.reading
        row |= {
            "reading": {"labels": call.labels, "probabilities": reading.probabilities, "mass": reading.mass},
            "prompt_tokens": reading.prompt_tokens,
            "completion_tokens": 0,
            "seconds": reading.seconds,
        }
    connection.execute(insert(schema.CallRow).values(row))
    return str(row["id"])
