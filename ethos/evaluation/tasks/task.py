"""Tasks: items with gold, of one of VITAL's five kinds. Plain values, no I/O.

The tasks are VITAL's (Shetty et al., ACL 2025); Modular Pluralism's files have the same shape. Loading is
`ethos.evaluation.tasks.loading`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ethos.scenario import Mode, Scenario
from ethos.text.cleaning import digest


class TaskName(StrEnum):
    """VITAL's five tasks, by the names of its files."""

    OVERTON_VALUES = "overton_valuekaleidoscope"
    STEERABLE_VALUES = "steerable_valuekaleidoscope"
    STEERABLE_OPINIONS = "steerable_opinionqa"
    DISTRIBUTIONAL_MORAL = "distributional_moralchoice"
    DISTRIBUTIONAL_POLLS = "distributional_globalopinionqa"

    @property
    def mode(self) -> Mode:
        """How comments become an answer in this task."""
        return Mode(self.value.partition("_")[0])


@dataclass(frozen=True, slots=True)
class GoldValue:
    """A value, right or duty that a good Overton answer speaks of.

    Attributes:
        name: "Right to life".
        explanation: Why it is at stake in the situation; the premise of the entailment.
    """

    name: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a task.

    Attributes:
        id: The row's own id, unique within its task.
        scenario: What is asked, options and attribute included.
        values: Gold of an Overton item; empty in other tasks.
        label: Gold of a steerable value item, an index into the scenario's options; None in other tasks.
        distribution: Gold of the other three tasks, one share an option, summing to 1; empty elsewhere.
        stratum: MoralChoice's ambiguity class: scores are split by it, and models never see it. Else empty.
        row: The row as its file has it.
    """

    id: str
    scenario: Scenario
    values: tuple[GoldValue, ...]
    label: int | None
    distribution: tuple[float, ...]
    stratum: str
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something a reader of scores should know about a file; nothing is dropped without one.

    Attributes:
        item: The row's id; empty where it is about the file.
        what: "one option only", "gold sums to 0.98, normalised".
        left_out: Whether the row cannot be evaluated.
    """

    item: str
    what: str
    left_out: bool


@dataclass(frozen=True, slots=True)
class Task:
    """A task's items, in their file's order.

    Attributes:
        name: Which task.
        items: Those that can be evaluated, or a sample of them.
        odd: What is odd about the file.
        source: The file.
    """

    name: TaskName
    items: tuple[Item, ...]
    odd: tuple[Oddity, ...]
    source: str

    @property
    def key(self) -> str:
        """Content address of what is asked: a resumed run must have the same."""
        return digest("task", self.name, [item.id for item in self.items])
