"""How much each persona moved the answer, by the cheap exact method of its mode.

Arithmetic on what an answer already has: no model call. Distributional: leave one out, exactly. Steerable: the
probability of being selected. Overton: which comment each sentence of the answer is nearest to in meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.spatial.distance import jensenshannon
from syntok import segmenter
from syntok.tokenizer import Tokenizer

from ethos.embedding import Embedder

_PARAGRAPHS = re.compile(r"\n\s*\n")

LEAVE_ONE_OUT = "JS distance (natural log) between the answer's distribution and the one without this persona"
SELECTION = "probability that the main model selects this persona's comment"
SENTENCES = "share of the answer's sentences whose nearest sentence, by embedding, is in this persona's comment"


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
        # Where the two are equal, SciPy may take the root of a rounding error below zero.
        with np.errstate(invalid="ignore"):
            influences.append(float(np.nan_to_num(jensenshannon(whole, rest))))
    return tuple(influences)


def sentences(text: str) -> list[str]:
    """The sentences of a text as they are written, split by syntok."""
    # By its parts, since syntok's own `process` would rewrite "can't" and join words across lines.
    tokenizer = Tokenizer(replace_not_contraction=False)
    found = (s for paragraph in _PARAGRAPHS.split(text) for s in segmenter.segment(tokenizer.tokenize(paragraph)))
    return ["".join(token.spacing + token.value for token in sentence).strip() for sentence in found]


def sentence_shares(embedder: Embedder, output: str, comments: Sequence[str]) -> tuple[float, ...]:
    """Share of the output's sentences that each comment is the nearest to, summing to 1.

    Nearness of a sentence to a comment is its highest cosine to any of the comment's sentences; a tie is shared.
    """
    said = sentences(output)
    parts = [sentences(comment) for comment in comments]
    vectors = embedder.encode([*said, *(s for part in parts for s in part)])
    written, rest = vectors[: len(said)], vectors[len(said) :]
    bounds = np.cumsum([0, *map(len, parts)])
    nearness = np.stack(
        [(written @ rest[start:end].T).max(axis=1) for start, end in pairwise(bounds)],
        axis=1,
    )
    nearest = nearness >= nearness.max(axis=1, keepdims=True) - 1e-6
    shares = (nearest / nearest.sum(axis=1, keepdims=True)).mean(axis=0)
    return tuple(shares.tolist())
