"""Pairs of answers for people to judge: a blind, shuffled sheet out, and what they wrote back in.

The sheet tells nothing of methods; which side is whose stands in a key, a file of its own. Knows pairs and two files;
knows no model.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethos.errors import InputError
from ethos.evaluation.judging.judge import Judgement, Pair, Verdict, turned
from ethos.text.cleaning import digest

COLUMNS = ("sheet", "pair", "request", "response_a", "response_b", "verdict", "remark")
CHOICES = {"a": Verdict.FIRST, "b": Verdict.SECOND, "tie": Verdict.TIE}
_MOST_TOLD = 5
# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is handed out, and what is kept.

    Attributes:
        text: The sheet, CSV with the columns `COLUMNS`; the annotator fills ``verdict`` with A, B or tie.
        key: Which side is whose, for JSON.
    """

    text: str
    key: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A sheet's key, read.

    Attributes:
        sheet: The sheet's name.
        about: What the caller said of the comparison: task, methods, model.
        pairs: By the pair's number, the item's id and whether the first answer is shown as B.
    """

    sheet: str
    about: Mapping[str, Any]
    pairs: Mapping[str, tuple[str, bool]]


def write_sheet(pairs: Sequence[Pair], about: Mapping[str, Any], seed: int) -> Sheet:
    """A sheet of pairs in random order, each with its answers in a random order.

    Args:
        pairs: What to judge.
        about: Kept in the key, and given back with what comes in: task, methods, model.
        seed: Of both orders; each annotator may get another.

    Raises:
        InputError: There is no pair, or an item comes twice.
    """
    if not pairs:
        raise InputError("there is no item that both methods answered", "name two methods of the run")
    if len({pair.item for pair in pairs}) < len(pairs):
        raise InputError("an item comes twice among the pairs", "give each item once")
    rng = random.Random(seed)
    shuffled = rng.sample(list(pairs), len(pairs))
    # Half of the pairs each way, so that no method stands on one side by chance.
    swapped = [place % 2 == 0 for place in range(len(pairs))]
    rng.shuffle(swapped)
    name = digest("sheet", dict(about), seed, [[p.item, p.question, p.first, p.second] for p in pairs])[:12]
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    kept = {}
    for number, (pair, swap) in enumerate(zip(shuffled, swapped, strict=True), start=1):
        a, b = (pair.second, pair.first) if swap else (pair.first, pair.second)
        writer.writerow([name, number, *map(_inert, (pair.question, a, b)), "", ""])
        kept[str(number)] = {"item": pair.item, "first_is": "B" if swap else "A"}
    return Sheet(lines.getvalue(), {"sheet": name, "seed": seed, "about": dict(about), "pairs": kept})


def read_key(text: str) -> Key:
    """Read a key.

    Raises:
        InputError: It is no key of a sheet.
    """
    try:
        data = json.loads(text)
        pairs = {str(number): (str(one["item"]), one["first_is"] == "B") for number, one in data["pairs"].items()}
        return Key(str(data["sheet"]), dict(data["about"]), pairs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the key cannot be read: {error}", "name the key that was written with the sheet") from error


def read_sheet(text: str, key: Key) -> list[Judgement]:
    """What an annotator wrote, in the order of the key; remarks are the replies.

    Raises:
        InputError: The sheet is another's, lacks a column or a pair, has a pair twice or one too many, or a verdict is
            none of A, B and tie; the message names the first few.
    """
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    columns = set(rows[0]) if rows else set()
    if missing := [name for name in ("sheet", "pair", "verdict") if name not in columns]:
        raise InputError(f"the sheet lacks {', '.join(missing)}", "save it as CSV with its first line")
    if others := {row["sheet"] for row in rows} - {key.sheet}:
        raise InputError(f"the key is of sheet {key.sheet}, not of {', '.join(map(str, others))}", "name its own key")
    numbers = [str(row["pair"]) for row in rows]
    faults = [f"pair {number} is none of the key's" for number in numbers if number not in key.pairs]
    faults += [f"pair {number} comes {numbers.count(number)} times" for number in sorted(_twice(numbers))]
    faults += [f"pair {number} is missing" for number in key.pairs if number not in set(numbers)]
    given = {number: (row["verdict"] or "").strip().casefold() for number, row in zip(numbers, rows, strict=True)}
    faults += [f"pair {number} has the verdict {said!r}" for number, said in given.items() if said not in CHOICES]
    if faults:
        more = f" and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
        raise InputError("; ".join(faults[:_MOST_TOLD]) + more, "write A, B or tie for every pair, and add no rows")
    remarks = {number: row.get("remark") or "" for number, row in zip(numbers, rows, strict=True)}
    return [_judgement(item, swapped, given[n], remarks[n]) for n, (item, swapped) in key.pairs.items()]


def _judgement(item: str, swapped: bool, said: str, remark: str) -> Judgement:
    verdict = turned(CHOICES[said]) if swapped else CHOICES[said]
    return Judgement(item, verdict, verdict, None, (remark,) if remark else ())


def _twice(numbers: Sequence[str]) -> set[str]:
    return {number for number in numbers if numbers.count(number) > 1}


def _inert(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
