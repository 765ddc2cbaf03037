"""The cost of answers: seconds, model calls and tokens, and how much was reused.

Sums plain answers; knows no model and no pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ethos.answer import Answer, Source


@dataclass(frozen=True, slots=True)
class Spending:
    """The summed cost of several answers.

    Attributes:
        answers: Number of answers.
        reused: Number of answers taken from the record.
        seconds: Wall time by stage; ``total`` includes the time between stages.
        calls: Model calls made, by stage.
        tokens: Read (``prompt``) and written (``completion``).
        personas: Members of the panels, without those of reused answers.
        from_pool: Number of members retrieved from the pool.
        comments_reused: Number of comments taken from the record.
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
    """Return the summed cost of answers."""
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
