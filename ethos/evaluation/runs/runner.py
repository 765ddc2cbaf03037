"""Runs an evaluation: every task by every method with every model, item by item, into a folder.

Items are answered side by side, and an item's prediction depends on nothing but itself: a run that is stopped and
started again ends as one that was not. Scores nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from ethos.encoders.embedder import open_embedder
from ethos.errors import EthosError, InputError
from ethos.evaluation.methods import Method, MethodSettings, Workshop
from ethos.evaluation.methods.panels import POOL
from ethos.evaluation.methods.permuted import Permuted
from ethos.evaluation.methods.registry import POOLED, method
from ethos.evaluation.runs import environment
from ethos.evaluation.runs.opened_model import OpenedModels, OpenModel
from ethos.evaluation.tasks.leakage import leaked
from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.run_folder import (
    RunFolder,
    completed,
    forget_failures,
    keep,
    keep_failures,
    results_file,
    slug,
)
from ethos.evaluation.tasks.task import Item, Task
from ethos.llm import LanguageModel
from ethos.pipeline.settings import default_pool
from ethos.pool.pool import Pool
from ethos.pool.storage.backup import copy
from ethos.pool.storage.database import FILE
from ethos.pool.storage.facts import embedder_name

TOGETHER = 16  # items answered side by side, and at most lost when a run is stopped


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        tasks: One file each; samples of them as a rule.
        methods: Names in the registry.
        models: Names of main models; all of one model's work is done before the next is opened.
        folder: Where to.
        seed: An item's own seeds depend on it and on its scenario alone.
        settings: Settings of the methods.
        permute_options: Whether every item is asked with its options in another order.
    """

    tasks: tuple[Task, ...]
    methods: tuple[str, ...]
    models: tuple[str, ...]
    folder: Path
    seed: int = 0
    settings: MethodSettings = field(default_factory=MethodSettings)
    permute_options: bool = False

    def __post_init__(self) -> None:
        for what, names in (
            ("task", [task.name for task in self.tasks]),
            ("method", self.methods),
            ("model", [slug(model) for model in self.models]),
        ):
            if not names:
                raise InputError(f"no {what} is given", f"name at least one {what}")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise InputError(f"the {what} {twice[0]} is given twice", "run the second into another --out")
        for name in self.methods:
            method(name)


@dataclass
class Cell:
    """What came of one task by one method with one model.

    Attributes:
        task: Its name.
        method: As it is called.
        model: As it is called.
        items: How many.
        results: Where the predictions are.
        skipped: How many were there already.
        answered: How many were added.
        failed: Items without a prediction, by id, with the reason.
        calls: Model calls made now, over all stages.
        tokens: Read and written for them.
        seconds: Spent on the items that were added.
    """

    task: str
    method: str
    model: str
    items: int
    results: Path
    skipped: int = 0
    answered: int = 0
    failed: dict[str, EthosError] = field(default_factory=dict)
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """How many items need nothing more in this run."""
        return self.skipped + self.answered + len(self.failed)

    def add(self, found: Sequence[tuple[Item, Prediction]], failed: Sequence[tuple[Item, EthosError]]) -> None:
        """Count what a batch came to."""
        self.answered += len(found)
        self.failed |= {item.id: error for item, error in failed}
        for _, prediction in found:
            self.calls += sum(prediction.calls.values())
            self.tokens += sum(prediction.tokens.values())
            self.seconds += prediction.seconds.get("total", 0.0)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        failed = [{"id": item, "error": error.message, "hint": error.hint} for item, error in self.failed.items()]
        return {**asdict(self), "results": str(self.results), "failed": failed, "seconds": round(self.seconds, 3)}


@dataclass
class EvalReport:
    """What a run did.

    Attributes:
        folder: Where it is.
        cells: Task by method by model.
        leaked: By task, ids of items that the pool of ``ethos-pool`` holds personas for.
    """

    folder: Path
    cells: list[Cell]
    leaked: dict[str, list[str]]

    @property
    def items(self) -> int:
        """How many predictions were asked for."""
        return sum(cell.items for cell in self.cells)

    @property
    def done(self) -> int:
        """How many of them need nothing more in this run."""
        return sum(cell.done for cell in self.cells)

    @property
    def failed(self) -> int:
        """How many there are none of."""
        return sum(len(cell.failed) for cell in self.cells)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"folder": str(self.folder), "leaked": self.leaked, "cells": [cell.as_dict() for cell in self.cells]}


def run_evaluation(plan: Plan, progress: Callable[[EvalReport], None], open_model: OpenModel) -> EvalReport:
    """Run what is not there yet; items that failed before are tried again.

    Args:
        plan: What.
        progress: Told whenever items are done.
        open_model: Opens a model by name.

    Raises:
        InputError: The folder holds another run, or cannot be used.
        ConfigurationError: A model cannot be opened, or a method lacks a setting.
        EthosError: A model cannot be reached; what was done stays.
    """
    folder, models = RunFolder(plan.folder), OpenedModels(open_model)
    try:
        found = _prepare_pool(plan) if POOLED in plan.methods else {}
        folder.begin(_asked(plan, models, found), environment.session())
        cells = [
            Cell(str(task.name), name, model, len(task.items), results_file(plan.folder, task.name, name, model))
            for model, name, task in product(plan.models, plan.methods, plan.tasks)
        ]
        report = EvalReport(plan.folder, cells, found)
        tasks = {str(task.name): task for task in plan.tasks}
        for model in plan.models:
            for name in plan.methods:
                mine = [cell for cell in cells if (cell.model, cell.method) == (model, name)]
                _run_method(plan, mine, tasks, models, lambda: progress(report))
            models.release(model, _helpers(plan))
        return report
    finally:
        folder.close()


def _helpers(plan: Plan) -> list[str]:
    """Models that work beside the main one."""
    return list(dict.fromkeys(name for one in plan.methods for name in method(one).helpers(plan.settings)))


def _run_method(
    plan: Plan, cells: Sequence[Cell], tasks: Mapping[str, Task], models: OpenedModels, told: Callable[[], None]
) -> None:
    waiting: dict[str, list[list[Item]]] = {}
    for cell in cells:
        had = completed(cell.results, cut=True)
        forget_failures(cell.results)
        items = tasks[cell.task].items
        cell.skipped = sum(item.id in had for item in items)
        # Batches are cut from the whole list, not from what is left, so that a resumed run packs the same items.
        batches = [items[start : start + TOGETHER] for start in range(0, len(items), TOGETHER)]
        waiting[cell.task] = [left for some in batches if (left := [item for item in some if item.id not in had])]
    told()
    if not any(waiting.values()):
        return
    [first, *_] = cells
    made = method(first.method).make(Workshop(first.model, plan.settings, plan.folder, models))
    asked: Method = Permuted(made) if plan.permute_options else made
    try:
        for cell in cells:
            for some in waiting[cell.task]:
                _run_batch(cell, asked, some, tasks[cell.task], plan.seed)
                told()
    finally:
        asked.close()


def _run_batch(cell: Cell, asked: Method, items: Sequence[Item], task: Task, seed: int) -> None:
    results = asked.answer([item.scenario for item in items], task.name.mode, seed)
    both = list(zip(items, results, strict=True))
    found = [(item, one) for item, one in both if isinstance(one, Prediction)]
    failed = [(item, one) for item, one in both if isinstance(one, EthosError)]
    keep(cell.results, cell.method, cell.model, cell.task, found)
    keep_failures(cell.results, failed)
    cell.add(found, failed)


def _prepare_pool(plan: Plan) -> dict[str, list[str]]:
    """Copy the pool into the run, once, so that it stays as it was; which items it was prepared for, by task.

    Raises:
        InputError: There is no pool.
    """
    source, target = plan.settings.pool or default_pool(), plan.folder / POOL
    if not (target / FILE).exists():
        if not (source / FILE).exists():
            raise InputError(f"there is no pool in {source}", "name one with --pool, or make it: ethos pool init")
        copy(source / FILE, target / FILE)
    pool = Pool(target, open_embedder(plan.settings.embedder or embedder_name(target)))
    try:
        found = {str(task.name): leaked(pool, task.items) for task in plan.tasks}
    finally:
        pool.close()
    return found


def _asked(plan: Plan, models: OpenedModels, found: Mapping[str, list[str]]) -> dict[str, Any]:
    """All that answers depend on, as JSON values."""
    settings = replace(plan.settings, pool=plan.settings.pool or default_pool())
    tasks = {
        str(task.name): {
            "source": task.source,
            "items": len(task.items),
            "key": task.key,
            "odd": [asdict(odd) for odd in task.odd],
        }
        for task in plan.tasks
    }
    asked = {
        "tasks": tasks,
        "methods": {name: method(name).follows(settings) for name in plan.methods},
        "models": {name: _identity(models(name)) for name in plan.models},
        "helpers": {name: _identity(models(name)) for name in _helpers(plan)},
        "leaked": found,
        "seed": plan.seed,
        "permute_options": plan.permute_options,
        "prompts": {family: environment.prompts(family) for name in plan.methods for family in method(name).prompts},
    }
    plain: dict[str, Any] = json.loads(json.dumps(asked, default=str))
    return plain


def _identity(model: LanguageModel) -> dict[str, str]:
    return {"revision": model.identity.revision, "precision": model.identity.precision}
