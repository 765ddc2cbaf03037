"""Judgements of a run, and where they are kept: ``DIR/judge/``, a file a judge and pair of methods.

Knows results of a run, and files of judgements; asks no model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ethos.errors import InputError
from ethos.evaluation.judging.judge import Judgement, Pair
from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.results import read_results
from ethos.evaluation.tasks.run_folder import read_run, results_file
from ethos.evaluation.tasks.task import Task
from ethos.text.json_lines import append, read

FOLDER = "judge"
HUMAN = "human:"  # begins the name of a judge who is a person
_MEND = "make room, or name another folder"
_UNSAFE = re.compile(r"[^\w.=-]+")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared, and by whom.

    Attributes:
        task: The task.
        first: A method.
        second: Another.
        model: With which both were run.
        judge: A model's name, or ``human:NAME``.
        prompt: The judge's prompt: its version and content address; empty for a person.
    """

    task: str
    first: str
    second: str
    model: str
    judge: str
    prompt: str

    def path(self, folder: Path) -> Path:
        """Its file within a run's folder."""
        parts = (self.task, f"{self.first}-vs-{self.second}", self.model, self.judge)
        return folder / FOLDER / (".".join(_UNSAFE.sub("-", part) for part in parts) + ".jsonl")


def pairs_of(
    task: Task, one: Mapping[str, Prediction], other: Mapping[str, Prediction], limit: int | None, seed: int
) -> list[Pair]:
    """What two methods answered to the same items, in the task's order.

    Args:
        task: The items.
        one: A method's predictions by item; an answer without text is no part of a pair.
        other: The other's.
        limit: At most so many, drawn at random.
        seed: Of the draw.

    Raises:
        InputError: No item was answered by both.
    """
    both = [
        Pair(item.id, item.scenario.question, one[item.id].output, other[item.id].output)
        for item in task.items
        if all(item.id in said and said[item.id].output.strip() for said in (one, other))
    ]
    if not both:
        raise InputError(f"no item of {task.name} was answered by both methods", "name two methods of the run")
    if limit is None or limit >= len(both):
        return both
    drawn = set(random.Random(seed).sample(range(len(both)), limit))
    return [pair for place, pair in enumerate(both) if place in drawn]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one method answered with one model.

    Attributes:
        task: The items.
        model: The main model.
        answered: Predictions by item id.
    """

    task: Task
    model: str
    answered: Mapping[str, Prediction]


def answers_of(folder: Path, task: str, method: str, model: str = "") -> Answers:
    """A method's answers in a run's folder.

    Args:
        folder: The run's.
        task: The task's name.
        method: The method's.
        model: The main model's; may be left out where there is only one.

    Raises:
        InputError: The folder holds none, or those of several models.
    """
    names = list(read_run(folder)["models"])
    wanted = [model] if model else names
    there = [name for name in wanted if results_file(folder, task, method, name).is_file()]
    if len(there) != 1:
        found = f"there are {len(there)}, of the models {', '.join(there)}" if there else "there is none"
        raise InputError(
            f"one file of {task} by {method} is needed in {folder}, and {found}",
            f"name a task and method that were run, and the model with --of-model: {', '.join(names)}",
        )
    found_there = read_results(results_file(folder, task, method, there[0]))
    answered = {item: said for item, said in found_there.predictions.items() if isinstance(said, Prediction)}
    return Answers(found_there.task, there[0], answered)


def keep(path: Path, comparison: Comparison, judgements: Iterable[Judgement]) -> None:
    """Add judgements to a file, each as it comes, so that what is judged is not judged again.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent} cannot be made: {error.strerror}", _MEND) from error
    for judgement in judgements:
        append(path, [{**asdict(comparison), **judgement.as_dict()}], _MEND)


def read_judgements(path: Path) -> tuple[Comparison, list[Judgement]]:
    """Read a file of judgements. A last line that a kill cut short is left out.

    Raises:
        InputError: It cannot be read, holds something else, or has judgements of several comparisons.
    """
    rows = _rows(path, cut=False)
    told = {comparison for comparison, _ in rows}
    if len(told) != 1:
        raise InputError(f"{path} holds {len(told)} comparisons instead of one", "delete it and judge again")
    return told.pop(), [judgement for _, judgement in rows]


def all_judgements(folder: Path) -> list[tuple[Comparison, list[Judgement]]]:
    """Every file of judgements of a run, by name.

    Raises:
        InputError: As `read_judgements`.
    """
    return [read_judgements(path) for path in sorted((folder / FOLDER).glob("*.jsonl"))]


def left_over(path: Path, comparison: Comparison, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a file has no judgement of yet; a line that was cut short is taken out of it.

    Raises:
        InputError: The file is of another comparison, or of another version of the prompt.
    """
    rows = _rows(path, cut=True)
    if any(there != comparison for there, _ in rows):
        raise InputError(f"{path} was judged with another prompt", "move it away, and judge again")
    done = {judgement.item for _, judgement in rows}
    return [pair for pair in pairs if pair.item not in done]


def _rows(path: Path, cut: bool) -> list[tuple[Comparison, Judgement]]:
    return read(path, b'{"task', _of_row, "judgement", "delete it and judge again", cut)


def _of_row(row: Mapping[str, Any]) -> tuple[Comparison, Judgement] | None:
    try:
        return Comparison(*(str(row[field.name]) for field in fields(Comparison))), Judgement.read(row)
    except (KeyError, InputError):
        return None
