"""Entailment between two texts, by a classifier trained on natural language inference.

Knows pairs of texts and transformers' classifiers; knows neither answers nor gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

from ethos.errors import ConfigurationError

_PAIRS = 16  # that a classifier reads at once

# What models call it: those trained on MNLI, and those trained on VitaminC and FEVER.
_ENTAILS = ("entailment", "supports")


class Entailment(Protocol):
    """Tells whether one text follows from another."""

    @property
    def name(self) -> str:
        """Which model."""

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Of each pair the probability that the first text entails the second, 0..1, in order."""


class EntailmentModel:
    """A transformers classifier of text pairs with a label for entailment, such as those trained on MNLI.

    Runs on a GPU where there is one.

    Args:
        name: Folder or hub name; loaded at the first pair.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def _loaded(self) -> tuple[Any, Any, int]:
        """Tokenizer, classifier, and the number of the label that means entailment."""
        import torch  # late, as transformers: seconds
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from ethos.llm.library_output import quietly
        from ethos.llm.weights import language_model_weights

        location = language_model_weights(self.name).location
        try:
            with quietly():
                tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
                model = AutoModelForSequenceClassification.from_pretrained(location, trust_remote_code=False).eval()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the model {self.name} cannot be loaded: {str(error).splitlines()[0]}",
                "name a folder on this machine or a model in the hub's cache with --nli",
            ) from error
        labels = {str(label).lower(): int(number) for number, label in model.config.id2label.items()}
        found = [number for label, number in labels.items() if label in _ENTAILS]
        if len(found) != 1:
            raise ConfigurationError(
                f"the model {self.name} has no label for entailment, but {', '.join(sorted(labels))}",
                "name a model trained on natural language inference with --nli",
            )
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu"), found[0]

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Of each pair the probability that the first text entails the second; the longer is cut where it is too long.

        Raises:
            ConfigurationError: The model cannot be loaded, or is no entailment model.
        """
        import torch

        tokenizer, model, label = self._loaded
        # Pairs of like length side by side: next to a long one, a short one is mostly padding.
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]) + len(pairs[place][1]))
        found = [0.0] * len(pairs)
        for start in range(0, len(pairs), _PAIRS):
            places = order[start : start + _PAIRS]
            premises, hypotheses = zip(*(pairs[place] for place in places), strict=True)
            read = tokenizer(list(premises), list(hypotheses), padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                logits = model(**read.to(model.device)).logits.float()
            for place, probability in zip(places, torch.softmax(logits, dim=-1)[:, label].tolist(), strict=True):
                found[place] = probability
        return found
