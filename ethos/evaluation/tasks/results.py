"""Reads a file of results, ours or Modular Pluralism's, and joins it to its gold.

Such files are a JSON list or JSON lines of a task's rows, with `output` or `pred_distribution` filled in; the gold is
in the rows themselves unless another file has it. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethos.errors import EthosError, InputError
from ethos.evaluation.tasks.loading import load_task, row_ids, task_of
from ethos.evaluation.tasks.prediction import OWN, Prediction
from ethos.evaluation.tasks.run_folder import failures_of
from ethos.evaluation.tasks.task import Item, Task, TaskName
from ethos.pipeline.scenario_files import read_rows

Row = Mapping[str, Any]

# A row of results belongs to a row of gold only where they ask the same.
_ASKED = ("situation", "question", "vrd", "attribute", "options")


@dataclass(frozen=True, slots=True)
class Results:
    """What a file says of a task.

    Attributes:
        task: The gold.
        predictions: By item id; an error says why a row has none.
        method: As the rows name it; empty for files that do not.
        model: As the rows name it.
        source: The file.
        notes: What a reader of its scores should know.
    """

    task: Task
    predictions: Mapping[str, Prediction | EthosError]
    method: str
    model: str
    source: str
    notes: tuple[str, ...]


def read_results(path: Path, gold: Path | None = None, name: TaskName | None = None) -> Results:
    """Read a file of results.

    Args:
        path: The results.
        gold: The task's file; where it is not given, the gold is read from the results' own rows.
        name: Which task; told from the files where it is not given.

    Raises:
        InputError: A file cannot be read, is of no known task, or the two share no item.
    """
    rows = read_rows(path)
    ids = row_ids(rows)
    by_id = {identifier: row for identifier, (_, row) in zip(ids, rows, strict=True) if isinstance(row, Mapping)}
    task = load_task(gold, name) if gold else task_of(rows, path, name)
    predictions = {item.id: _joined(by_id[item.id], item) for item in task.items if item.id in by_id}
    if not predictions:
        raise InputError(f"{path} and {gold} share no item", "name the task's file that the results were made from")
    predictions = {**_failures(path), **predictions}
    notes = []
    if strange := len(by_id.keys() - {item.id for item in task.items} - {odd.item for odd in task.odd if odd.left_out}):
        notes.append(f"{strange} rows of results are of items that the gold does not have")
    method, model = (_named(by_id, field) for field in ("method", "model"))
    return Results(task, predictions, method, model, str(path), tuple(notes))


def _failures(results: Path) -> dict[str, Prediction | EthosError]:
    """The items that failed in a run of ours, which stand in a file beside its results."""
    beside = failures_of(results)
    if not beside.exists():
        return {}
    rows = [row for _, row in read_rows(beside) if isinstance(row, Mapping) and "id" in row]
    return {str(row["id"]): EthosError(str(row.get("error", "not told"))) for row in rows}


def _joined(row: Row, item: Item) -> Prediction | EthosError:
    for field in _ASKED:
        if field in row and field in item.row and row[field] != item.row[field]:
            return InputError(f"the results' row has another {field} than the gold's")
    return prediction_of(row)


def prediction_of(row: Row) -> Prediction | EthosError:
    """What a row of results says; an error where the row says that the item failed, or is not of its form."""
    given = row.get(OWN)
    own = given if isinstance(given, Mapping) else {}
    if own.get("error"):
        return EthosError(str(own["error"]))
    output, shares, choice = row.get("output"), row.get("pred_distribution"), own.get("choice")
    if output is not None and not isinstance(output, str):
        return InputError("the output is no text")
    if shares is not None and not isinstance(shares, list):
        return InputError("the prediction is no list of numbers")
    if choice is not None and (not isinstance(choice, int) or isinstance(choice, bool)):
        return InputError("the choice is no number of an option")
    comments = own.get("comments")
    said = tuple(text for text in comments if isinstance(text, str)) if isinstance(comments, list) else ()
    return Prediction(output or "", tuple(shares or ()), choice, said)


def _named(rows: Mapping[str, Row], field: str) -> str:
    """What all rows name so, several joined."""
    given = (row.get(OWN) for row in rows.values())
    names = {own[field]: None for own in given if isinstance(own, Mapping) and isinstance(own.get(field), str)}
    return ", ".join(names)
