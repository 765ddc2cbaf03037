"""Option letters: how a question's options are written, and how a chosen letter is read back.

Knows no model. Reading is strict: what cannot be read for certain is an error, never a guess.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from ethos.errors import UnreadableReply

LETTERS = string.ascii_uppercase
MAX_OPTIONS = len(LETTERS)

# Options stand at the start of a line, "Options:" before them or not: "Mr A. told Ms B." holds none.
_EMBEDDED = re.compile(r"(?:(?:^|\n)[ \t]*|\bOptions:\s*)(?P<options>A[.)]\s.*)", re.DOTALL)
_PROMPT = re.compile(r"\s*\n?\s*Answer:\s*$")

# A label alone; with a mark after it; or announced. "A patient", "C-section", "A or B", "1.5" choose nothing.
_CHOICE = re.compile(
    r"""(?i:^[\W_]*
    (?P<announced>(?:(?:the|my)\s+)?(?:best\s+|correct\s+)?(?:answer|option|choice|comment)\W+(?:number\s+)?(?:is\W+)?)?)
    [(\[*]*(?P<label>[A-Z]|\d+)[*]*
    (?P<rest>$|[.:)\]](?=[\s*]|$)(?!\s*(?:or|and)\b)|\s*\n|,?\s+(?:because|since)\b)
    """,
    re.VERBOSE,
)


def letters(count: int) -> tuple[str, ...]:
    """The first `count` option letters, at most 26."""
    return tuple(LETTERS[:count])


def written(options: Sequence[str]) -> str:
    """Options on one line, as VITAL writes them: ``A. Yes B. No``."""
    return " ".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def split_options(text: str) -> tuple[str, tuple[str, ...]]:
    """Part a question from the options written inside it.

    Understands VITAL's forms: ``… Options: A. Yes B. No Answer:`` and one lettered option a line.

    Returns:
        The question without its options, and the options in order; no options when fewer than two are found
        in the order A, B, C….
    """
    match = _EMBEDDED.search(text)
    if not match:
        return text, ()
    rest = _PROMPT.sub("", match["options"])
    found: list[str] = []
    for position, letter in enumerate(LETTERS):
        start = re.search(rf"(?:^|\s){letter}[.)]\s+", rest)
        if start is None or (position == 0 and start.start() != 0):
            break
        if found:
            found[-1] = rest[: start.start()].strip()
        rest = rest[start.end() :]
        found.append(rest.strip())
    stem = text[: match.start()].strip().removesuffix("Options:").strip()
    if not stem or len(found) < 2 or not all(found):
        return text, ()
    return stem, tuple(found)


def label_of(token: str, labels: Sequence[str]) -> str | None:
    """The label that one token spells, in any spelling: ``A``, `` A``, ``(A``, ``A.``, ``**A``.

    Lower case does not count: ``a`` is an English word.
    """
    bare = token.strip(" \t\r\n()[]{}.:;,*\"'`▁Ġ")
    return bare if bare in labels else None


def gather(probabilities: Mapping[str, float], labels: Sequence[str]) -> tuple[tuple[float, ...], float]:
    """Sum next-token probabilities over every spelling of each label.

    Args:
        probabilities: Token text to probability, any subset of the vocabulary.
        labels: The labels, in the order of the result.

    Returns:
        One probability a label, summing to 1, and the mass the labels held before they were normalised (0..1).

    Raises:
        UnreadableReply: No label is among the tokens.
    """
    mass = dict.fromkeys(labels, 0.0)
    for token, probability in probabilities.items():
        if (label := label_of(token, labels)) is not None:
            mass[label] += probability
    total = sum(mass.values())
    if total <= 0.0:
        seen = ", ".join(repr(token) for token in list(probabilities)[:8])
        raise UnreadableReply(
            f"none of {', '.join(labels)} is among the model's next tokens",
            "name a larger model, or an endpoint that returns more top_logprobs",
            reply=seen,
        )
    return tuple(mass[label] / total for label in labels), total


def read_label(reply: str, labels: Sequence[str]) -> str:
    """The label that a written reply chooses: ``B``, ``(B)``, ``B. Oppose``, ``The answer is B``.

    Raises:
        UnreadableReply: The reply does not begin with one of the labels.
    """
    match = _CHOICE.match(reply.strip())
    if match and match["label"] in labels:
        return match["label"]
    raise UnreadableReply(
        f"the reply {reply.strip()[:80]!r} does not begin with one of {', '.join(labels)}",
        "name a larger model, or use --prompts structured",
        reply=reply,
    )
