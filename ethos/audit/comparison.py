"""Compare two answers: question, settings, panel, prompts, comments, outcome.

Knows recorded answers; computes nothing anew and calls no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ethos.pool.storage.record import Record

Part = Literal["question", "settings", "panel", "prompts", "comments", "outcome"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two answers differ.

    Attributes:
        part: What it belongs to.
        what: The thing.
        one: Its value in the first answer; None where it has no such thing.
        other: In the second.
    """

    part: Part
    what: str
    one: Any
    other: Any

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def diff(record: Record, one: str, other: str) -> list[Difference]:
    """In what two answers differ, in the order in which an answer is made; nothing if they are the same but for time.

    Args:
        record: The pool's.
        one: Id of an answer, or its start.
        other: Of another.

    Raises:
        InputError: No answer's id starts with this, or several do.
    """
    first, second = (_answer(record, identifier) for identifier in (one, other))
    return [
        *_values("question", first, second, ("mode", "scenario", "options", "attribute")),
        *_values("settings", first, second, ("seed", "prompts", "models", "revisions", "version", "embedder")),
        *_values("panel", first, second, ("gate",)),
        *_seats(first, second),
        *_prompts(first, second),
        *_comments(first, second),
        *_values("outcome", first, second, ("output", "choice", "distribution", "finish_reason", "influence_method")),
        *_members("outcome", "influence", first, second),
        *_values("outcome", first, second, ("warnings",)),
    ]


def _answer(record: Record, identifier: str) -> dict[str, Any]:
    answer = record.answer(identifier)
    facts = record.circumstances(answer.answer_id)
    calls = record.calls(answer.answer_id)
    return {
        **answer.as_dict(),
        "version": facts["version"],
        "embedder": facts["embedder"],
        "revisions": {call["stage"]: f"{call['model']} {call['model_revision']}".strip() for call in calls},
        "calls": calls,
        "by_persona": {member["persona_id"]: member for member in answer.as_dict()["panel"]},
    }


def _values(part: Part, one: dict[str, Any], other: dict[str, Any], names: tuple[str, ...]) -> Iterator[Difference]:
    for name in names:
        if one.get(name) != other.get(name):
            yield Difference(part, name, one.get(name), other.get(name))


def _seats(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """Who sits in one panel only, and who sits elsewhere."""
    for persona_id in dict.fromkeys([*one["by_persona"], *other["by_persona"]]):
        seats = [answer["by_persona"].get(persona_id) for answer in (one, other)]
        if None in seats or seats[0]["rank"] != seats[1]["rank"]:
            name = next(seat["name"] for seat in seats if seat)
            ranks = [f"rank {seat['rank']}, from {seat['source']}" if seat else None for seat in seats]
            yield Difference("panel", f"{name} ({persona_id[:12]})", *ranks)


def _prompts(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """By stage, how many prompts were sent for one answer only, and the first of them."""
    for stage in dict.fromkeys(call["stage"] for call in (*one["calls"], *other["calls"])):
        sent = [
            Counter(call["prompt_id"] for call in answer["calls"] if call["stage"] == stage) for answer in (one, other)
        ]
        only = [sent[0] - sent[1], sent[1] - sent[0]]
        if only[0] or only[1]:
            extra = [f"{own.total()} of its own, first {next(iter(own))[:12]}" if own else None for own in only]
            yield Difference("prompts", stage, *extra)


def _comments(one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    yield from _members("comments", "comment", one, other)


def _members(part: Part, name: str, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    """What differs of the personas that sit in both panels."""
    for persona_id, member in one["by_persona"].items():
        twin = other["by_persona"].get(persona_id)
        if twin and member[name] != twin[name]:
            yield Difference(part, f"{name} of {member['name']} ({persona_id[:12]})", member[name], twin[name])
