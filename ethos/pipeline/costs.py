"""What answers cost: seconds, calls and tokens, and what did not have to be made.

Adds up plain answers; knows no model and no pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ethos.answer import Answer, Source


@dataclass(frozen=True, slots=True)
class Spending:
    """What a number of answers cost together.

    Attributes:
        answers: How many.
        reused: How many of them were in the record.
        seconds: By stage; ``total`` is all of them and what lies between.
        calls: By stage, those that were made.
        tokens: Read (``prompt``) and written (``completion``).
        personas: Members of the panels, but for those of reused answers.
        from_pool: How many of them the pool had.
        comments_reused: How many of them had said the same before.
    """

    answers: int
    reused: int
    seconds: Mapping[str, float]
    calls: Mapping[str, int]
    tokens: Mapping[str, int]
    personas: int
    from_pool: int
    comments_reused: int


def spending(answers: Iterable[Answer]) -> Spending:
    """Add up what answers cost."""
    seconds: dict[str, float] = {}
    calls: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for answer in answers:
        for stage, spent in answer.timings.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
        calls.update(answer.calls)
        tokens.update(answer.tokens)
        count.update(["answers", *["reused"] * answer.reused])
        if not answer.reused:
            members = answer.panel.members
            count["personas"] += len(members)
            count["from_pool"] += sum(member.source is Source.POOL for member in members)
            count["comments_reused"] += len(members) - answer.calls["comment"]
    numbers = (count[name] for name in ("personas", "from_pool", "comments_reused"))
    return Spending(count["answers"], count["reused"], seconds, dict(calls), dict(tokens), *numbers)
