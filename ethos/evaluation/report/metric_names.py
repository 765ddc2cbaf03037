"""How the report names tasks and metrics, and by which metric it judges a task.

Knows names and scores; knows no table.
"""

from __future__ import annotations

from collections.abc import Sequence

from ethos.evaluation.report.data import Result
from ethos.evaluation.tasks.task import TaskName

TITLES = {
    TaskName.OVERTON_VALUES: "Overton: situations",
    TaskName.STEERABLE_VALUES: "Steerable: value situations",
    TaskName.STEERABLE_OPINIONS: "Steerable: opinion questions",
    TaskName.DISTRIBUTIONAL_POLLS: "Distributional: poll questions",
    TaskName.DISTRIBUTIONAL_MORAL: "Distributional: moral scenarios",
}
WORDS = "words"
# A task's main metric; an Overton score without an entailment model has a stand-in under its own name.
_MAIN = {
    TaskName.OVERTON_VALUES: ("value_coverage", "embedding_coverage"),
    TaskName.STEERABLE_VALUES: ("accuracy",),
    TaskName.STEERABLE_OPINIONS: ("accuracy",),
    TaskName.DISTRIBUTIONAL_POLLS: ("js_distance",),
    TaskName.DISTRIBUTIONAL_MORAL: ("js_distance",),
}
_LOWER = frozenset({"js_distance", "total_variation"})
_PERCENTAGES = ("value_coverage", "share_above_", "accuracy", "agreement", "binary_", "balanced_", "macro_")
_SPELT = {"js distance": "JS distance", "f1": "F1"}


def main_metric(results: Sequence[Result]) -> str:
    """By what a task is judged: the first of its main metrics that some result has."""
    task = TaskName(results[0].task.name)
    there = {name for result in results for name, one in result.scored.score.values.items() if one.mean is not None}
    return next((metric for metric in _MAIN[task] if metric in there), _MAIN[task][0])


def is_comparable(task: TaskName, metric: str) -> bool:
    """Whether a metric is what the paper's table of the task is of."""
    return metric == _MAIN[task][0]


def scale(metric: str) -> float:
    """By what a metric is multiplied to be shown."""
    return 100.0 if metric.startswith(_PERCENTAGES) else 1.0


def better(metric: str) -> str:
    """Which way is better; neither for a count."""
    return "lower" if metric in _LOWER else "" if metric == WORDS else "higher"


def label(metric: str) -> str:
    """A metric's name in words."""
    text = metric.replace("_", " ")
    for written, spelt in _SPELT.items():
        text = text.replace(written, spelt)
    return text


def named(metric: str) -> str:
    """A metric's name as a column has it, with its unit."""
    return label(metric) + (" (%)" if scale(metric) == 100.0 else "")
