"""Stored influences, and recorded calls in the form that can be sent again.

Knows the tables; computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import aliased

from ethos.errors import InputError
from ethos.influence import Attribution
from ethos.llm import Message, ModelIdentity, Request
from ethos.llm.calls import Query, ReadingRequest, recalled
from ethos.pool.storage import schema
from ethos.pool.storage.record import Kept, KeptCall, Record, reply_of
from ethos.pool.storage.rows import now
from ethos.text.withholding import is_withheld


def sent_calls(record: Record, answer_id: str) -> list[Kept]:
    """The calls an answer rests on, in order, as values that can be sent again exactly.

    Raises:
        InputError: A text of theirs is not in the record, or is not what was sent.
    """
    prompt, completion = aliased(schema.TextRow), aliased(schema.TextRow)
    query = (
        select(
            schema.CallRow.__table__,
            schema.AnswerCallRow.reused,
            schema.ModelRow.name,
            schema.ModelRow.revision,
            schema.ModelRow.precision,
            prompt.content.label("prompt"),
            completion.content,
        )
        .join(schema.AnswerCallRow, schema.AnswerCallRow.call_id == schema.CallRow.id)
        .join(schema.ModelRow, schema.ModelRow.id == schema.CallRow.model_id)
        .outerjoin(prompt, prompt.id == schema.CallRow.prompt_id)
        .outerjoin(completion, completion.id == schema.CallRow.completion_id)
        .where(schema.AnswerCallRow.answer_id == answer_id)
        .order_by(schema.AnswerCallRow.position)
    )
    with record.database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [_sent(dict(row)) for row in rows]


def keep_attribution(record: Record, answer_id: str, found: Attribution, version: str) -> None:
    """Store what a method found of an answer, in place of what it found before."""
    with record.database.write() as connection:
        for table in (schema.InfluenceRow, schema.AttributionRow):
            connection.execute(delete(table).where(table.answer_id == answer_id, table.method == found.method))
        connection.execute(
            insert(schema.AttributionRow).values(
                answer_id=answer_id,
                method=found.method,
                meaning=found.meaning,
                version=version,
                created_at=now(),
                record=dict(found.details) if record.keeps_texts else {},  # they quote the answer
            )
        )
        rows = [
            {"answer_id": answer_id, "method": found.method, "persona_id": persona, "value": value}
            for persona, value in found.influences.items()
        ]
        connection.execute(insert(schema.InfluenceRow), rows)


def attributions(record: Record, answer_id: str) -> list[Attribution]:
    """What was found of an answer by each method that was asked for, oldest first."""
    attribution, influence, member = schema.AttributionRow, schema.InfluenceRow, schema.MemberRow
    heads = select(attribution.__table__).where(attribution.answer_id == answer_id)
    numbers = (
        select(influence.method, influence.persona_id, influence.value)
        .join(member, (member.answer_id == influence.answer_id) & (member.persona_id == influence.persona_id))
        .where(influence.answer_id == answer_id)
        .order_by(member.rank)
    )
    with record.database.read() as connection:
        rows = connection.execute(heads.order_by(attribution.created_at, attribution.method)).mappings().all()
        values = connection.execute(numbers).all()
    return [
        Attribution(
            row["method"],
            row["meaning"],
            {persona: value for method, persona, value in values if method == row["method"]},
            row["record"],
        )
        for row in rows
    ]


def _sent(row: Mapping[str, Any]) -> Kept:
    """A recorded call as a value; its key proves that it is the one that was sent."""
    if row["prompt"] is None or (row["reading"] is None and row["content"] is None):
        raise InputError(f"the text of call {row['id'][:12]} is not in the record", "it was not kept, or was forgotten")
    identity = ModelIdentity(row["name"], row["revision"], row["precision"])
    messages = tuple(Message(turn["role"], turn["content"]) for turn in json.loads(row["prompt"]))
    if any(is_withheld(message.content) for message in messages):
        raise InputError(
            f"the text of call {row['id'][:12]} was withheld from the record", "only full records can be computed from"
        )
    parameters = row["parameters"]
    query: Query
    if row["reading"] is None:
        query = Request(messages, **parameters)
    else:
        query = ReadingRequest(messages, tuple(parameters["labels"]))
    if query.key(identity) != row["key"]:
        raise InputError(f"call {row['id'][:12]} is not as it was sent", "see `ethos pool verify`")
    return Kept(recalled(row["stage"], identity, query, reply_of(row)), KeptCall(row["id"], row["reused"]))
