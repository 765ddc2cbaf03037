"""Trivial predictors, printed beside every score: what a number is worth that a guess would reach too.

They are predictions like a method's and scored by the same metrics. Most look at the gold, which a method cannot.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.task import Item, Task, TaskName

UNIFORM = "uniform"
ALWAYS_A = "always_a"
GROUP_BLIND = "group_blind_majority"
OTHERS = "mean_of_other_countries"
COMMON_VALUES = "common_values"

MEANINGS = {
    UNIFORM: "every option equally likely",
    ALWAYS_A: "option A, whatever is asked",
    GROUP_BLIND: "one answer for all who are asked a question, from all their gold; where the file has two or more",
    OTHERS: "mean of the other countries' gold for the same question",
    COMMON_VALUES: "a sentence for each of the file's six most common gold values, whatever the situation",
}
_COMMON = 6

Predictions = Mapping[str, Prediction]


def trivial_predictions(task: Task, whole: Task | None = None) -> dict[str, Predictions]:
    """What each trivial predictor that makes sense for a task says, by item id.

    Args:
        task: What is scored.
        whole: The file that `task` is a sample of, for the predictors that look at the gold; `task` itself where none.

    Returns:
        By the predictor's name; items that it has no answer to are left out, and so are predictors without any.
    """
    whole = whole or task
    if task.name is TaskName.OVERTON_VALUES:
        return {COMMON_VALUES: common_values(task, whole)}
    found = {UNIFORM: uniform(task), ALWAYS_A: always_a(task), GROUP_BLIND: group_blind(task, whole)}
    if task.name is TaskName.DISTRIBUTIONAL_POLLS:
        found[OTHERS] = mean_of_others(task, whole)
    return {name: predictions for name, predictions in found.items() if predictions}


def uniform(task: Task) -> Predictions:
    """Every option equally likely; no choice."""
    return {item.id: Prediction("", _even(len(item.scenario.options))) for item in task.items}


def always_a(task: Task) -> Predictions:
    """The first option."""
    return {item.id: _certain(item, 0) for item in task.items}


def group_blind(task: Task, whole: Task) -> Predictions:
    """One answer for all groups, countries or values that a question is asked of: their mean gold, the own included.

    Only questions that the file asks of two or more, since of one it would be the gold itself.
    """
    golds = defaultdict[str, list[Sequence[float]]](list)
    for item in whole.items:
        golds[item.scenario.key].append(_gold(item))
    return {
        item.id: Prediction("", tuple(np.mean(golds[item.scenario.key], axis=0).tolist()))
        for item in task.items
        if len(golds[item.scenario.key]) > 1
    }


def mean_of_others(task: Task, whole: Task) -> Predictions:
    """The mean gold of the other countries that are asked the same question; none where there is no other."""
    golds = defaultdict[str, dict[str, Sequence[float]]](dict)
    for item in whole.items:
        golds[item.scenario.key][item.id] = item.distribution
    countries = {item.id: item.scenario.attribute for item in whole.items}
    found = {}
    for item in task.items:
        asked = golds[item.scenario.key]
        others = [gold for other, gold in asked.items() if countries[other] != item.scenario.attribute]
        if others:
            found[item.id] = Prediction("", tuple(np.mean(others, axis=0).tolist()))
    return found


def common_values(task: Task, whole: Task) -> Predictions:
    """The same answer to every situation: that the most common gold values matter."""
    names = Counter(value.name for item in whole.items for value in item.values)
    said = " ".join(f"{name} matters in this situation." for name, _ in names.most_common(_COMMON))
    return {item.id: Prediction(said) for item in task.items}


def _gold(item: Item) -> Sequence[float]:
    return item.distribution if item.label is None else _certain(item, item.label).distribution


def _certain(item: Item, option: int) -> Prediction:
    shares = tuple(float(position == option) for position in range(len(item.scenario.options)))
    return Prediction("", shares, option)


def _even(count: int) -> tuple[float, ...]:
    return (1 / count,) * count
