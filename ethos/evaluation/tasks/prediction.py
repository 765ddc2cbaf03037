"""Predictions: a method's result for an item, and their form as VITAL's rows.

A prediction keeps its item's own row, so that Modular Pluralism's evaluation scripts read the file unchanged:
``output`` is the answer's text, ``pred_distribution`` the probabilities of the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ethos.evaluation.tasks.task import Item

OWN = "ethos"  # the key under which a row holds what is ours


@dataclass(frozen=True, slots=True)
class Prediction:
    """A method's answer to an item.

    Attributes:
        output: The answer's text; for options their letter and text.
        distribution: Probabilities of the options; empty for a situation without options.
        choice: Index of the option that was chosen; None for a situation without options.
        comments: Texts that the answer rests on; empty for methods without.
        speakers: Who said each comment: a persona's attributes, or the ``name`` of a community.
        calls: Model calls by stage.
        tokens: ``prompt`` and ``completion``.
        seconds: By stage, and ``total``.
        answer_id: Of the recorded answer; empty for methods that record none.
        gate: The gate's decision, for methods with a pool; else empty.
        warnings: What the answer warns of.
    """

    output: str
    distribution: tuple[float, ...] = ()
    choice: int | None = None
    comments: tuple[str, ...] = ()
    speakers: tuple[Mapping[str, str], ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    answer_id: str = ""
    gate: str = ""
    warnings: tuple[str, ...] = ()

    def row(self, item: Item, task: str, method: str, model: str) -> dict[str, Any]:
        """As a row of a results file: VITAL's own fields first, ours under one key."""
        own = {
            "item": item.id,  # unlike the row's own id unique in the task
            "task": task,
            "method": method,
            "model": model,
            "choice": self.choice,
            "comments": list(self.comments),
            "speakers": [dict(speaker) for speaker in self.speakers],
            "calls": dict(self.calls),
            "tokens": dict(self.tokens),
            "seconds": dict(self.seconds),
            "answer_id": self.answer_id,
            "gate": self.gate,
            "warnings": list(self.warnings),
        }
        filled = {"output": self.output, "pred_distribution": list(self.distribution) or None}
        return {**item.row, "id": item.row.get("id", item.id), **filled, OWN: own}
