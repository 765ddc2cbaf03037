"""Reads the gold of one row: values with explanations, a label, or a distribution.

Faults that can be repaired without guessing are repaired, with a note; others raise an `InputError`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from ethos.errors import InputError
from ethos.evaluation.tasks.task import GoldValue
from ethos.text.option_letters import letters

_ROUNDING = 1e-6  # by which shares as printed in a file may miss a sum of 1 without a note

Row = Mapping[str, Any]


def gold_values(row: Row, notes: list[str]) -> tuple[GoldValue, ...]:
    """The values, rights and duties at stake, each with its explanation.

    Raises:
        InputError: There are none, or which explanation belongs to which cannot be told.
    """
    names, explanations = (_texts(row, field) for field in ("vrd", "explanation"))
    if len(names) != len(explanations):
        raise InputError(
            f"{len(names)} values and {len(explanations)} explanations: which belongs to which cannot be told"
        )
    if not names:
        raise InputError("no gold values")
    notes.extend(f"the value {name!r} stands {count} times" for name, count in Counter(names).items() if count > 1)
    return tuple(GoldValue(name, explanation) for name, explanation in zip(names, explanations, strict=True))


def gold_label(row: Row, options: Sequence[str], notes: list[str]) -> int:
    """The index of the right option, from its letter.

    Raises:
        InputError: The row has no options, or no letter of one of them.
    """
    if not options:
        raise InputError("no options in the question")
    label = row.get("label")
    if label not in letters(len(options)):
        raise InputError(f"the gold label {label!r} is no letter of {len(options)} options")
    position = letters(len(options)).index(label)
    text = row.get("label_text")
    # "Supports" is the label text of the option "Support".
    if isinstance(text, str) and not text.casefold().startswith(options[position].casefold()):
        notes.append(f"the gold label {label} is {options[position]!r}, but its text says {text!r}; the letter counts")
    return position


def gold_distribution(row: Row, options: Sequence[str], notes: list[str]) -> tuple[float, ...]:
    """The shares of the options, normalised.

    Raises:
        InputError: They are no distribution over the options.
    """
    if not options:
        raise InputError("no options in the question")
    shares, total = read_distribution(row.get("gold_distribution"), len(options), "gold")
    if abs(total - 1) > _ROUNDING:
        notes.append(f"gold sums to {total:.6g}, normalised")
    return shares


def read_distribution(given: object, count: int, what: str) -> tuple[tuple[float, ...], float]:
    """A distribution over options as a file writes it.

    Args:
        given: What stands there.
        count: How many options there are.
        what: "gold" or "prediction", for the error's message.

    Returns:
        The shares, normalised to a sum of 1, and the sum they had.

    Raises:
        InputError: No list of numbers, one an option, none negative, not all zero.
    """
    if not isinstance(given, list) or not all(isinstance(one, Real) and not isinstance(one, bool) for one in given):
        raise InputError(f"the {what} is no list of numbers")
    if len(given) != count:
        raise InputError(f"the {what} has {len(given)} shares for {count} options")
    try:
        shares = [float(one) for one in given]
    except OverflowError:
        shares = [math.inf]
    if not all(math.isfinite(share) for share in shares):
        raise InputError(f"the {what} holds a share that is no finite number")
    if min(shares) < 0:
        raise InputError(f"the {what} holds a negative share")
    # Scaled first: the sum of shares near the largest number would be infinite, and of the smallest inexact.
    largest = max(shares)
    if largest == 0:
        raise InputError(f"the {what} is all zeros")
    scaled = [share / largest for share in shares]
    whole = math.fsum(scaled)
    return tuple(share / whole for share in scaled), whole * largest


def _texts(row: Row, field: str) -> list[str]:
    texts = row.get(field)
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError(f"{field!r} is not a list of texts")
    return [text.strip() for text in texts]
