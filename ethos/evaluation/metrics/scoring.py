"""Scores predictions against a task's gold, with intervals; what is missing, failed or unreadable is counted.

Never scored as something: the mean is over the items that have a prediction which can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ethos.encoders.embedder import Embedder
from ethos.encoders.entailment import Entailment
from ethos.errors import EthosError, InputError
from ethos.evaluation.metrics.choices import Chosen, chosen
from ethos.evaluation.metrics.intervals import Difference, Estimate, mean_interval, paired_difference
from ethos.evaluation.metrics.items import MEANINGS, Sheet, options_sheet, overton_sheet
from ethos.evaluation.metrics.trivial import trivial_predictions
from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.results import read_results
from ethos.evaluation.tasks.task import Item, Task, TaskName
from ethos.scenario import Mode

Progress = Callable[[int, int], None]
Predictions = Mapping[str, Prediction | EthosError]


@dataclass(frozen=True, slots=True)
class Score:
    """What predictions are worth.

    Attributes:
        task: Which.
        method: Who predicted.
        model: With what.
        source: The file of results, or the task's.
        items: How many items the task has.
        scored: How many of them have a prediction that can be read.
        missing: Ids of items without a prediction.
        failed: By id, why an item has none.
        unreadable: By id, why a prediction cannot be read.
        values: The metrics.
        strata: By the gold's class the metrics of its items; empty where the task has no classes.
        per_item: By metric and item id, for comparisons of two methods on the same items.
        per_value: Overton: coverage by the gold value's name.
        meanings: What the metrics are, in words.
        notes: What a reader should know.
    """

    task: TaskName
    method: str
    model: str
    source: str
    items: int
    scored: int
    missing: tuple[str, ...]
    failed: Mapping[str, str]
    unreadable: Mapping[str, str]
    values: Mapping[str, Estimate]
    strata: Mapping[str, Mapping[str, Estimate]]
    per_item: Mapping[str, Mapping[str, float]]
    per_value: Mapping[str, Estimate]
    meanings: Mapping[str, str]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values: each metric under its own name, with n, mean and the interval's ends."""
        return {
            "task": self.task.value,
            "method": self.method,
            "model": self.model,
            "source": self.source,
            "items": self.items,
            "scored": self.scored,
            "missing": list(self.missing),
            "failed": dict(self.failed),
            "unreadable": dict(self.unreadable),
            **_plain(self.values),
            "strata": {name: _plain(values) for name, values in self.strata.items()},
            "per_value": _plain(self.per_value),
            "meanings": dict(self.meanings),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Scored:
    """A score with those of trivial predictors beside it.

    Attributes:
        score: The predictions'.
        trivial: By the predictor's name, on the same items.
    """

    score: Score
    trivial: Mapping[str, Score]

    def as_dict(self) -> dict[str, Any]:
        """As `Score.as_dict`, with the trivial predictors' under ``trivial``."""
        return {**self.score.as_dict(), "trivial": {name: one.as_dict() for name, one in self.trivial.items()}}


@dataclass(frozen=True, slots=True)
class Judges:
    """The models that judge answers to situations without options.

    Attributes:
        nli: Tells what follows from what; without one, value coverage is not computed.
        embedder: For the stand-in `embedding_coverage`; without one it is not computed.
        progress: Told how many items of how many are judged.
    """

    nli: Entailment | None = None
    embedder: Embedder | None = None
    progress: Progress = lambda done, total: None


@dataclass
class _Sorted:
    """Predictions by what can be scored: texts and readable choices, missing, failed and unreadable ones."""

    answered: list[tuple[Item, Prediction]] = field(default_factory=list)
    read: list[tuple[Item, Chosen]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def _sort(task: Task, predictions: Predictions) -> _Sorted:
    found = _Sorted()
    for item in task.items:
        said = predictions.get(item.id)
        if isinstance(said, EthosError):
            found.failed[item.id] = said.message
        elif said is None or _silent(said):
            found.missing.append(item.id)
        elif task.name.mode is Mode.OVERTON:
            found.answered.append((item, said))
        else:
            try:
                found.read.append((item, chosen(item, said, task.name)))
            except EthosError as error:
                found.unreadable[item.id] = error.message
    known = {item.id for item in task.items}
    outside = {name: said.message for name, said in predictions.items() if isinstance(said, EthosError)}
    found.failed |= {name: why for name, why in outside.items() if name not in known}
    return found


def score(
    task: Task,
    predictions: Predictions,
    *,
    method: str = "",
    model: str = "",
    source: str = "",
    judges: Judges = Judges(),
    whole: Task | None = None,
) -> Score:
    """Score predictions.

    Args:
        task: The items, with gold.
        predictions: By item id; an error says why an item has none, and counts whether the task has the item or not:
            results carry the gold of what was answered only.
        method: For the record.
        model: For the record.
        source: For the record; the task's file where it is not given.
        judges: For Overton.
        whole: The file that `task` is a sample of, which tells on which questions groups disagree.

    Raises:
        ConfigurationError: The entailment model cannot be loaded.
    """
    kinds = _sort(task, predictions)
    answered, read, failed = kinds.answered, kinds.read, kinds.failed
    if task.name.mode is Mode.OVERTON:
        sheet = overton_sheet(answered, judges.nli, judges.embedder, judges.progress)
    else:
        sheet = options_sheet(whole or task, read)
    if normalised := sum(found.normalised for _, found in read):
        sheet.notes.append(f"{normalised} predictions do not sum to 1, normalised")
    if left_out := [odd for odd in task.odd if odd.left_out]:
        sheet.notes.append(f"{len(left_out)} rows of {task.source} are left out; the first: {left_out[0].what}")
    values = {name: mean_interval(list(found.values())) for name, found in sheet.values.items()} | sheet.over_all
    values = {name: values[name] for name in MEANINGS if name in values}
    return Score(
        task=task.name,
        method=method,
        model=model,
        source=source or task.source,
        items=len({item.id for item in task.items} | failed.keys()),
        scored=len(answered) + len(read),
        missing=tuple(kinds.missing),
        failed=failed,
        unreadable=kinds.unreadable,
        values=values,
        strata=_strata(task, sheet),
        per_item=sheet.values,
        per_value=sheet.per_value,
        meanings={name: sheet.meanings.get(name, MEANINGS[name]) for name in values},
        notes=tuple(sheet.notes),
    )


def beside(task: Task, own: Score, judges: Judges = Judges(), whole: Task | None = None) -> Scored:
    """A score with those of the trivial predictors on the same items beside it.

    Raises:
        ConfigurationError: The entailment model cannot be loaded.
    """
    without = {*own.missing, *own.failed, *own.unreadable}
    same = replace(task, items=tuple(item for item in task.items if item.id not in without))
    return Scored(own, trivial_scores(same, judges, whole or task))


def trivial_scores(task: Task, judges: Judges = Judges(), whole: Task | None = None) -> dict[str, Score]:
    """The trivial predictors' scores, by their names.

    Raises:
        ConfigurationError: The entailment model cannot be loaded.
    """
    return {
        name: score(task, predictions, method=name, judges=judges, whole=whole)
        for name, predictions in trivial_predictions(task, whole).items()
    }


def score_file(
    path: Path,
    gold: Path | None = None,
    name: TaskName | None = None,
    judges: Judges = Judges(),
    whole: Task | None = None,
) -> Scored:
    """Score a file of results, ours or Modular Pluralism's, with the trivial predictors beside.

    Args:
        path: The results.
        gold: The task's file; where it is not given, the gold is read from the results' own rows.
        name: Which task; told from the files where it is not given.
        judges: For Overton.
        whole: The task that the results are a sample of, for what only all its gold shows: on which questions groups
            disagree, and what a majority says.

    Raises:
        InputError: A file cannot be read, or the two do not belong together.
        ConfigurationError: The entailment model cannot be loaded.
    """
    found = read_results(path, gold, name)
    own = score(
        found.task,
        found.predictions,
        method=found.method,
        model=found.model,
        source=found.source,
        judges=judges,
        whole=whole,
    )
    return beside(found.task, replace(own, notes=(*found.notes, *own.notes)), judges, whole)


def differences(one: Score, other: Score, seed: int = 0) -> dict[str, Difference]:
    """What one method has more than another by each metric that is a mean over items, on the items both have.

    Raises:
        InputError: They are of two tasks, or share fewer than two items.
    """
    if one.task is not other.task:
        raise InputError(
            f"{one.source} is {one.task}, but {other.source} is {other.task}", "compare results of one task"
        )
    both = [name for name in one.per_item if name in other.per_item and one.per_item[name] and other.per_item[name]]
    return {name: paired_difference(one.per_item[name], other.per_item[name], seed=seed) for name in both}


def _silent(said: Prediction) -> bool:
    return not said.output.strip() and not said.distribution and said.choice is None


def _strata(task: Task, sheet: Sheet) -> dict[str, dict[str, Estimate]]:
    classes = sorted({item.stratum for item in task.items} - {""})
    strata = {item.id: item.stratum for item in task.items}
    return {
        name: {
            metric: mean_interval([value for item, value in found.items() if strata[item] == name])
            for metric, found in sheet.values.items()
        }
        for name in classes
    }


def _plain(values: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.as_dict() for name, estimate in values.items()}
