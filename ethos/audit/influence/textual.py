"""Textual influence: the comments that support each sentence of an answer, and dropped views.

Likeness or entailment of texts, never cause. Knows sentences and an encoder or a classifier; knows no language model
and no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Embedder
from ethos.encoders.entailment import Entailment
from ethos.influence import SUPPORTED, nearness, sentences

ENTAILED = 0.5  # probability from which a comment entails a sentence: more likely than not

BY_EMBEDDING = "share of the answer's sentences that this comment supports, by embedding; shared where several do"
BY_ENTAILMENT = "share of the answer's sentences that this comment entails, by {name}; shared where several do"


@dataclass(frozen=True, slots=True)
class Trace:
    """What the sentences of an answer can be traced to.

    Attributes:
        sentences: The answer's, in order.
        support: How much each comment supports each sentence, (sentences, comments): a cosine, or a probability.
        threshold: From which a comment counts as support; a sentence may have several, or none.
        meaning: What the shares are, in words.
    """

    sentences: tuple[str, ...]
    support: NDArray[np.float64]
    threshold: float
    meaning: str

    @property
    def coverage(self) -> NDArray[np.bool_]:
        """Which comments support which sentences, (sentences, comments)."""
        return self.support >= self.threshold

    @property
    def unsupported(self) -> tuple[int, ...]:
        """The sentences that no comment supports, by position."""
        return tuple(np.flatnonzero(~self.coverage.any(axis=1)).tolist())

    @property
    def dropped(self) -> tuple[int, ...]:
        """The comments that support no sentence, by position."""
        return tuple(np.flatnonzero(~self.coverage.any(axis=0)).tolist())

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each comment the share of sentences it supports, divided where several do; with the unsupported, 1."""
        covered = self.coverage
        shares = covered / np.maximum(covered.sum(axis=1, keepdims=True), 1)
        return tuple(shares.mean(axis=0).tolist())

    def as_dict(self, personas: Sequence[str]) -> dict[str, Any]:
        """As plain JSON values; comments are named by whose they are."""
        return {
            "threshold": self.threshold,
            "personas": list(personas),
            "sentences": [
                {
                    "text": text,
                    "support": [round(float(value), 4) for value in row],
                    "supported_by": [personas[i] for i in np.flatnonzero(covered).tolist()],
                }
                for text, row, covered in zip(self.sentences, self.support, self.coverage, strict=True)
            ],
            "unsupported": list(self.unsupported),
            "dropped": [personas[i] for i in self.dropped],
        }


def trace_by_embedding(embedder: Embedder, output: str, comments: Sequence[str], threshold: float = SUPPORTED) -> Trace:
    """Trace by the highest cosine of a sentence to any of a comment's sentences."""
    said = sentences(output)
    return Trace(tuple(said), nearness(embedder, said, comments).astype(np.float64), threshold, BY_EMBEDDING)


def trace_by_entailment(model: Entailment, output: str, comments: Sequence[str], threshold: float = ENTAILED) -> Trace:
    """Trace by whether a comment, read whole, entails a sentence.

    Raises:
        ConfigurationError: The model cannot be loaded, or is no entailment model.
    """
    said = sentences(output)
    found = model.probabilities([(comment, sentence) for sentence in said for comment in comments])
    support = np.array(found, dtype=np.float64).reshape(len(said), len(comments))
    return Trace(tuple(said), support, threshold, BY_ENTAILMENT.format(name=model.name))
