"""Read the record: the lineage of an answer, and the answers of a persona.

Knows the record; computes nothing anew and calls no model.
"""

from __future__ import annotations

import json
from typing import Any

from ethos.pool.storage.personas import Store
from ethos.pool.storage.record import Record


def list_answers(record: Record, limit: int) -> list[dict[str, Any]]:
    """The newest answers: id, time, mode, scenario and output."""
    return record.answers(limit)


def show_answer(record: Record, identifier: str) -> dict[str, Any]:
    """One answer as it was given, with every model call it rests on under ``model_calls``.

    Raises:
        InputError: No answer's id starts with this, or several do.
    """
    answer = record.answer(identifier)
    calls = record.calls(answer.answer_id)
    for call in calls:
        call["prompt"] = json.loads(call["prompt"])
    return {**answer.as_dict(), "model_calls": calls}


def show_persona(store: Store, record: Record, identifier: str, limit: int) -> dict[str, Any]:
    """One persona with the newest answers it took part in, and its influence on each.

    Raises:
        InputError: No persona's id starts with this, or several do.
    """
    full = store.find(identifier)
    persona, status = store.persona(full)
    return {
        "persona_id": full,
        **persona.as_dict(),
        "status": status,
        "line": persona.line,
        "answers": record.answers(limit, full),
    }
