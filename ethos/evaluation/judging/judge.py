"""Pairwise preference of answers, as a language model judges them (the paper's section 6.1, Figure 5).

Each pair is judged in both orders, and a verdict counts only where both say the same: a judge that prefers whatever
comes first makes ties, not wins. Knows pairs of texts and a language model; knows no task, method or file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from ethos.errors import InputError
from ethos.llm import LanguageModel, Request, schema_text, user
from ethos.prompts import fill
from ethos.text.cleaning import digest

BATCH = 8  # pairs that are judged, and kept, together
_SCHEMA = schema_text(
    {
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": ["A", "B", "tie"]}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
)


class Verdict(StrEnum):
    """What a judge says of a pair. Unreadable ones are counted, and part of no rate."""

    FIRST = "first"
    TIE = "tie"
    SECOND = "second"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two methods' answers to an item.

    Attributes:
        item: The item's id.
        question: What was asked.
        first: One method's answer.
        second: The other's.
    """

    item: str
    question: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judge's verdict on a pair, and the two readings behind it.

    Attributes:
        item: The item's id.
        verdict: What counts.
        forward: The verdict with the first answer shown first; of a person, who sees one order, the only one.
        backward: The verdict with the second answer shown first, told of the same answers; empty for a person.
        replies: What the judge wrote, as it wrote it.
    """

    item: str
    verdict: Verdict
    forward: Verdict
    backward: Verdict | None
    replies: tuple[str, ...]

    @property
    def swayed(self) -> bool:
        """Whether the order changed what was readable."""
        read = {self.forward, self.backward} - {None}
        return len(read) > 1 and Verdict.UNREADABLE not in read

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Judgement:
        """From what `as_dict` gave.

        Raises:
            InputError: It is something else.
        """
        try:
            backward = row["backward"]
            return cls(
                str(row["item"]),
                Verdict(row["verdict"]),
                Verdict(row["forward"]),
                None if backward is None else Verdict(backward),
                tuple(map(str, row["replies"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the row {str(row)[:80]!r} is no judgement: {error}") from error


@dataclass(frozen=True, slots=True)
class Tally:
    """Verdicts of one judge on two methods, told of the first.

    Attributes:
        wins: Pairs in which the first method is better.
        ties: Pairs without a winner, those swayed by the order among them.
        losses: Pairs in which the second method is better.
        unreadable: Pairs of which a reply could not be read; in no rate.
        swayed: Ties in which the order changed the verdict.
        first_shown: Among readings that are no tie, the share that chose the answer shown first, 0..1: a half where
            the order does not matter. None without such a reading, or with readings by people, who see one order.
        win_rate: Wins over readable pairs; None without any.
        low: Lower end of its 95% Wilson interval.
        high: Upper end.
        p_value: Of wins against losses, ties aside, by the exact sign test; 1 without either.
    """

    wins: int
    ties: int
    losses: int
    unreadable: int
    swayed: int
    first_shown: float | None
    win_rate: float | None
    low: float | None
    high: float | None
    p_value: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@cache
def judge_prompt() -> Mapping[str, Any]:
    """The judge's prompt, with ``content``, the content address of its file."""
    text = (files("ethos.prompts") / "judge.toml").read_text(encoding="utf-8")
    return {**tomllib.loads(text), "content": digest(text)}


def judge(
    model: LanguageModel, pairs: Sequence[Pair], seed: int, progress: Callable[[int, int], None]
) -> Iterator[Judgement]:
    """Judge pairs, each in both orders; they come as they are done, in order.

    Args:
        model: The judge.
        pairs: What to judge.
        seed: Of the judge's sampling; its temperature is 0, so that few backends look at it.
        progress: Told how many of how many are done.

    Raises:
        ModelError: The judge cannot be reached.
    """
    for start in range(0, len(pairs), BATCH):
        batch = pairs[start : start + BATCH]
        requests = [
            _request(pair, *shown, seed)
            for pair in batch
            for shown in ((pair.first, pair.second), (pair.second, pair.first))
        ]
        replies = [completion.text for completion in model.generate(requests)]
        for pair, forward, backward in zip(batch, replies[::2], replies[1::2], strict=True):
            yield _judgement(pair, forward, backward)
        progress(start + len(batch), len(pairs))


def tally(judgements: Sequence[Judgement]) -> Tally:
    """Count verdicts."""
    from scipy.stats import binomtest

    def count(verdict: Verdict) -> int:
        return sum(one.verdict is verdict for one in judgements)

    wins, ties, losses = count(Verdict.FIRST), count(Verdict.TIE), count(Verdict.SECOND)
    readable = wins + ties + losses
    interval = binomtest(wins, readable).proportion_ci(method="wilson") if readable else None
    return Tally(
        wins,
        ties,
        losses,
        count(Verdict.UNREADABLE),
        sum(one.swayed for one in judgements),
        _first_shown(judgements),
        wins / readable if readable else None,
        float(interval.low) if interval else None,
        float(interval.high) if interval else None,
        float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
    )


def read_verdict(reply: str) -> Verdict:
    """What a reply says of the answers as they were shown: the JSON object that was asked for, or its value alone.

    Anything else is unreadable: "Response A is good, but B …" says nothing for certain.
    """
    text = reply.strip().removeprefix("```json").strip("`").strip()
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text.strip("\"'.*() ")
    if isinstance(value, Mapping):
        value = value.get("verdict")
    shown = {"a": Verdict.FIRST, "b": Verdict.SECOND, "tie": Verdict.TIE}
    return shown.get(value.strip().casefold(), Verdict.UNREADABLE) if isinstance(value, str) else Verdict.UNREADABLE


def turned(verdict: Verdict) -> Verdict:
    """The same verdict told with the answers' places exchanged."""
    return {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}.get(verdict, verdict)


def _request(pair: Pair, a: str, b: str, seed: int) -> Request:
    prompt = judge_prompt()
    text = fill(prompt["user"], question=pair.question, a=a, b=b)
    return Request(user(text, prompt["system"]), prompt["max_tokens"], prompt["temperature"], seed, _SCHEMA)


def _judgement(pair: Pair, forward: str, backward: str) -> Judgement:
    one, other = read_verdict(forward), turned(read_verdict(backward))
    verdict = one if one is other else Verdict.TIE
    if Verdict.UNREADABLE in (one, other):
        verdict = Verdict.UNREADABLE
    return Judgement(pair.item, verdict, one, other, (forward, backward))


def _first_shown(judgements: Sequence[Judgement]) -> float | None:
    """`forward` shows the first answer first, `backward` the second."""
    decided = (Verdict.FIRST, Verdict.SECOND)
    both = [one for one in judgements if one.backward is not None]
    chosen = [one.forward is Verdict.FIRST for one in both if one.forward in decided]
    chosen += [one.backward is Verdict.SECOND for one in both if one.backward in decided]
    return sum(chosen) / len(chosen) if chosen else None
