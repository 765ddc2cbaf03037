"""The paper's own figures, to stand beside ours: read from ``ethos/evaluation/data/paper_tables.toml``, as printed.

Knows figures, and how models and methods are named there; computes nothing, and judges nothing but what is comparable.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

PERCENT = "%"
OURS = "ethos"
FAMILIES = ("vanilla", "prompting", "moe", "modplural", OURS)


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        number: "3"; halves of a table that shows two tasks are "17a" and "17b".
        title: What it is of.
        columns: What a row's figures are of.
        rows: Figures as printed, by row.
        notes: What is odd about them.
        task: The task it scores; empty where it is of several or of none.
        unit: ``%`` for percentages.
        better: "higher", "lower", or where to read it.
        intervals: 95% intervals of the last column, by row, where the paper gives them.
    """

    number: str
    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]
    task: str = ""
    unit: str = ""
    better: str = ""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def scale(self) -> float:
        """By what our figures, which are shares of 1, are multiplied to be as printed."""
        return 100.0 if self.unit == PERCENT else 1.0

    def figure(self, row: str, column: str) -> float | None:
        """One figure, as printed; None where the table has none."""
        if row not in self.rows or column not in self.columns:
            return None
        return self.rows[row][self.columns.index(column)]


@dataclass(frozen=True, slots=True)
class Paper:
    """All that is known of the paper's figures.

    Attributes:
        source: The paper.
        models: The checkpoint of each of its models (Table 13).
        tables: By number.
        judging: Of Figure 5: ``kappa``, ``items``, ``annotators``, ``question``, ``notes``.
        latency: Seconds for six comments: ``ethos``, ``modplural``; ``notes``.
    """

    source: str
    models: Mapping[str, str]
    tables: Mapping[str, PaperTable]
    judging: Mapping[str, Any]
    latency: Mapping[str, Any]

    def of_task(self, task: str) -> PaperTable | None:
        """The table with a task's main results: Table 3, 17 or 18."""
        main = ("3", "17a", "17b", "18a", "18b")
        return next((self.tables[number] for number in main if self.tables[number].task == task), None)

    def model(self, name: str) -> str | None:
        """The paper's name for a model of ours; None for one that it did not run.

        Args:
            name: ``transformers:Qwen/Qwen2.5-7B-Instruct``, or a folder or endpoint's name that ends so.
        """
        ending = _ending(name)
        return next((printed for printed, checkpoint in self.models.items() if _ending(checkpoint) == ending), None)


@cache
def paper() -> Paper:
    """The shipped figures."""
    data = tomllib.loads((files("ethos.evaluation.data") / "paper_tables.toml").read_text(encoding="utf-8"))
    tables = {number: _table(number, table) for number, table in data["tables"].items()}
    return Paper(data["source"], data["models"], tables, data["judging"], data["latency"])


def family(method: str) -> str:
    """Which of `FAMILIES` a method of ours belongs to; empty for one that the paper has not.

    ``ethos-paper`` and ``ethos-pool`` are both Ethos, ``modplural-culture`` is ModPlural.
    """
    return next((name for name in FAMILIES if method == name or method.startswith((f"{name}-", f"{name}_"))), "")


def _table(number: str, table: Mapping[str, Any]) -> PaperTable:
    rows = {name: tuple(map(float, figures)) for name, figures in table["rows"].items()}
    assert all(len(figures) == len(table["columns"]) for figures in rows.values()), f"Table {number} has uneven rows"
    return PaperTable(
        number,
        table["title"],
        tuple(table["columns"]),
        rows,
        tuple(table["notes"]),
        table.get("task", ""),
        table["unit"],
        table["better"],
        {name: (low, high) for name, (low, high) in table.get("intervals", {}).items()},
    )


def _ending(name: str) -> str:
    """A model's own name, without backend, owner, folder and case."""
    return name.rpartition(":")[2].rstrip("/").rpartition("/")[2].casefold()
