"""The exact, cheap influence of each mode: how much each persona moved the answer.

Arithmetic on what an answer already has: no model call. Distributional: leave one out, exactly. Steerable: the
probability of being selected. Overton: which comment each sentence of the answer is nearest to in meaning. What the
other methods find (`ethos.audit.influence.methods`) has the same shape, an `Attribution`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from syntok import segmenter
from syntok.tokenizer import Tokenizer

from ethos.encoders.embedder import Embedder

_PARAGRAPHS = re.compile(r"\n\s*\n")

LEAVE_ONE_OUT = "JS distance (natural log) between the answer's distribution and the one without this persona"
SELECTION = "probability that the main model selects this persona's comment"
SENTENCES = "share of the answer's sentences whose nearest sentence, by embedding, is in this persona's comment"

# Nearness of a sentence to a comment from which the comment counts as its support. MiniLM cosine: of 1,164 pairs of a
# sentence and a comment on another scenario 5% reach 0.603, of 735 on the same by another persona 5% reach 0.608.
SUPPORTED = 0.6


@dataclass(frozen=True, slots=True)
class Attribution:
    """How much each persona moved an answer, by one method.

    Attributes:
        method: Its name.
        meaning: What the numbers are, in words, with unit and range.
        influences: One a persona, by id, in panel order; None where it is undefined.
        details: What only this method has, as plain JSON values.
    """

    method: str
    meaning: str
    influences: Mapping[str, float | None]
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def weighted_mean(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> tuple[float, ...]:
    """The mean of distributions, weighted by priors; sums to 1."""
    mean = np.average(np.asarray(distributions), axis=0, weights=np.asarray(weights))
    return tuple((mean / mean.sum()).tolist())


def leave_one_out(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> tuple[float | None, ...]:
    """JS distance that each persona's absence makes, 0..0.8326 (base e).

    None where there is nobody else: without a lone persona, or the only one with weight, no answer is left.
    """
    whole = weighted_mean(distributions, weights)
    influences: list[float | None] = []
    for position in range(len(distributions)):
        others = [w for i, w in enumerate(weights) if i != position]
        if sum(others) <= 0:
            influences.append(None)
            continue
        rest = weighted_mean([d for i, d in enumerate(distributions) if i != position], others)
        influences.append(distance(whole, rest))
    return tuple(influences)


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """JS distance of two distributions, 0..0.8326 (base e)."""
    from scipy.spatial.distance import jensenshannon  # late: a third of a second

    # Where the two are equal, SciPy may take the root of a rounding error below zero.
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(jensenshannon(one, other)))


def sentences(text: str) -> list[str]:
    """The sentences of a text as they are written, split by syntok."""
    # By its parts, since syntok's own `process` would rewrite "can't" and join words across lines.
    tokenizer = Tokenizer(replace_not_contraction=False)
    found = (s for paragraph in _PARAGRAPHS.split(text) for s in segmenter.segment(tokenizer.tokenize(paragraph)))
    return ["".join(token.spacing + token.value for token in sentence).strip() for sentence in found]


def nearness(embedder: Embedder, said: Sequence[str], comments: Sequence[str]) -> NDArray[np.float32]:
    """Of each sentence to each comment the highest cosine to any of the comment's sentences, (sentences, comments)."""
    parts = [sentences(comment) for comment in comments]
    vectors = embedder.encode([*said, *(s for part in parts for s in part)])
    written, rest = vectors[: len(said)], vectors[len(said) :]
    bounds = np.cumsum([0, *map(len, parts)])
    return np.stack([(written @ rest[start:end].T).max(axis=1) for start, end in pairwise(bounds)], axis=1)


def nearest_shares(near: NDArray[np.float32]) -> tuple[float, ...]:
    """Share of the sentences that each comment is the nearest to, summing to 1; a tie is shared."""
    nearest = near >= near.max(axis=1, keepdims=True) - 1e-6
    shares = (nearest / nearest.sum(axis=1, keepdims=True)).mean(axis=0)
    return tuple(shares.tolist())


def sentence_shares(embedder: Embedder, output: str, comments: Sequence[str]) -> tuple[float, ...]:
    """Share of the output's sentences that each comment is the nearest to, summing to 1; a tie is shared."""
    return nearest_shares(nearness(embedder, sentences(output), comments))


def unheard(near: NDArray[np.float32]) -> tuple[int, ...]:
    """The comments that no sentence is nearest to and none is near enough to be supported by."""
    return tuple(
        comment
        for comment, share in enumerate(nearest_shares(near))
        if share == 0 and bool(near[:, comment].max() < SUPPORTED)
    )


def view_warnings(
    names: Sequence[str], shares: Sequence[float | None], absent: Sequence[int], most: float
) -> list[str]:
    """What a reader should know of whose views an answer that ought to carry all carries.

    Args:
        names: Of the personas, in panel order.
        shares: Of the answer's sentences, that are nearest to each one's comment.
        absent: Positions of those that no sentence speaks for (`unheard`).
        most: The share above which one persona is said to prevail, 0..1.
    """
    found = []
    if absent:
        left_out = ", ".join(names[position] for position in absent)
        found.append(f"no sentence of the answer matches, by embedding, the comments of: {left_out}")
    for name, share in zip(names, shares, strict=True):
        if len(names) > 1 and share is not None and share > most:
            found.append(f"{share:.0%} of the answer's sentences are nearest to what {name} alone said")
    return found
