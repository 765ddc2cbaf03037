"""How many of the gold values an answer speaks of (Overton): by entailment, and by embedding under another name.

Knows texts, an entailment model and an encoder; knows no file. Longer answers cover more by chance: words are counted
beside it (`ethos.evaluation.metrics.metrics.words`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ethos.encoders.embedder import Embedder
from ethos.encoders.entailment import Entailment
from ethos.evaluation.metrics.intervals import Estimate, mean_interval
from ethos.evaluation.tasks.task import GoldValue
from ethos.influence import sentences

NOT_COMPUTED = "not computed: no NLI model (--nli NAME)"
DIRECTION = "premise: the gold value's explanation; hypothesis: a sentence of the answer"
MEANING = f"mean over gold values of the highest entailment over sentences, by {{name}} ({DIRECTION}), 0..1"
EMBEDDING_MEANING = (
    "a stand-in that is no entailment: mean over gold values of the highest cosine of the explanation to a sentence"
)

_ITEMS = 32  # read between two reports of progress

Answers = Mapping[str, tuple[str, Sequence[GoldValue]]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far answers cover their gold values.

    Attributes:
        values: By item id, one number a gold value, in order: the highest over the answer's sentences.
        names: By item id the gold values' names, in the same order.
    """

    values: Mapping[str, tuple[float, ...]]
    names: Mapping[str, tuple[str, ...]]

    @property
    def items(self) -> dict[str, float]:
        """The mean over its values, by item id."""
        return {item: float(np.mean(found)) for item, found in self.values.items()}

    @property
    def by_value(self) -> dict[str, Estimate]:
        """By the value's name the mean over its situations, the most frequent value first."""
        found: dict[str, list[float]] = defaultdict(list)
        for item, names in self.names.items():
            for name, value in zip(names, self.values[item], strict=True):
                found[name].append(value)
        return {name: mean_interval(found[name]) for name in sorted(found, key=lambda name: (-len(found[name]), name))}


def value_coverage(
    model: Entailment, answers: Answers, progress: Callable[[int, int], None] = lambda done, total: None
) -> Coverage:
    """Coverage by entailment (Modular Pluralism's released code): `DIRECTION`, the highest over sentences.

    Args:
        model: The classifier.
        answers: By item id the answer and its gold values.
        progress: Told how many items of how many are done.

    Raises:
        ConfigurationError: The model cannot be loaded, or is no entailment model.
    """
    values: dict[str, tuple[float, ...]] = {}
    ids = list(answers)
    for start in range(0, len(ids), _ITEMS):
        block = ids[start : start + _ITEMS]
        said = {item: sentences(answers[item][0]) for item in block}
        pairs = [(gold.explanation, told) for item in block for gold in answers[item][1] for told in said[item]]
        found = iter(model.probabilities(pairs))
        for item in block:
            # An answer without a sentence covers nothing.
            values[item] = tuple(max((next(found) for _ in said[item]), default=0.0) for _ in answers[item][1])
        progress(len(values), len(ids))
    return Coverage(values, _names(answers))


def embedding_coverage(embedder: Embedder, answers: Answers) -> Coverage:
    """Coverage by the highest cosine, -1..1; says how near the words are, not whether one follows from the other."""
    values: dict[str, tuple[float, ...]] = {}
    for item, (answer, gold) in answers.items():
        said = sentences(answer)
        vectors = embedder.encode([*(value.explanation for value in gold), *said])
        near = vectors[: len(gold)] @ vectors[len(gold) :].T
        values[item] = tuple(near.max(axis=1).tolist()) if said else (0.0,) * len(gold)
    return Coverage(values, _names(answers))


def _names(answers: Answers) -> dict[str, tuple[str, ...]]:
    return {item: tuple(value.name for value in gold) for item, (_, gold) in answers.items()}
