"""VITAL's five tasks for inspect_ai, with Ethos' solver and scorers: the entry point of the ``inspect`` extra.

    inspect eval ethos/vital_overton -T path=vital_overton_valuekaleidoscope.json --limit 4 --model mockllm/model
    inspect eval ethos/vital_distributional_polls --solver ethos/panel -S k=3 --model hf/Qwen/Qwen2.5-7B-Instruct

The question put to the model is the bare one, the paper's Vanilla; ``--solver ethos/panel`` answers by a panel instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, generate

from ethos.errors import InputError
from ethos.evaluation.inspect_ai.model import TOP_LOGPROBS
from ethos.evaluation.inspect_ai.names import named
from ethos.evaluation.inspect_ai.scorers import ROW, TASK, vital_accuracy, vital_coverage, vital_distribution
from ethos.evaluation.inspect_ai.solvers import panel, prompting
from ethos.evaluation.methods.asking import question_of
from ethos.evaluation.metrics.metrics import most_likely
from ethos.evaluation.tasks.files import task_file
from ethos.evaluation.tasks.loading import load_task, sample
from ethos.evaluation.tasks.task import Item, TaskName
from ethos.prompts import baseline_prompts
from ethos.text.option_letters import LETTERS

FOLDER = "ETHOS_VITAL"  # where the tasks' files are, for tasks that name none
NLI = "ETHOS_NLI"

__all__ = ["panel", "prompting", "vital_accuracy", "vital_coverage", "vital_distribution"]


@task(name=named("vital_overton"))
def vital_overton(path: str = "", limit: int | None = None, seed: int = 0, nli: str = "") -> Task:
    """Situations: does the answer speak of the values at stake?

    Args:
        path: The task's file; looked for in the folder ``ETHOS_VITAL`` by default.
        limit: At most so many items, drawn at random.
        seed: Of the draw.
        nli: Entailment classifier for value coverage; ``ETHOS_NLI`` by default.
    """
    scorer = vital_coverage(nli or os.environ.get(NLI, ""))
    return _task(TaskName.OVERTON_VALUES, path, limit, seed, [generate()], [scorer])


@task(name=named("vital_steerable_values"))
def vital_steerable_values(path: str = "", limit: int | None = None, seed: int = 0) -> Task:
    """Value situations: does the value support, oppose, or either? Arguments as of ``vital_overton``."""
    return _task(TaskName.STEERABLE_VALUES, path, limit, seed, [_letter()], [vital_accuracy()])


@task(name=named("vital_steerable_opinions"))
def vital_steerable_opinions(path: str = "", limit: int | None = None, seed: int = 0) -> Task:
    """Opinion questions: what would most of a group answer? Arguments as of ``vital_overton``."""
    return _task(TaskName.STEERABLE_OPINIONS, path, limit, seed, [_letter()], [vital_accuracy(), vital_distribution()])


@task(name=named("vital_distributional_moral"))
def vital_distributional_moral(path: str = "", limit: int | None = None, seed: int = 0) -> Task:
    """Moral scenarios: how are people divided? Arguments as of ``vital_overton``."""
    return _task(TaskName.DISTRIBUTIONAL_MORAL, path, limit, seed, [_letter()], [vital_distribution()])


@task(name=named("vital_distributional_polls"))
def vital_distributional_polls(path: str = "", limit: int | None = None, seed: int = 0) -> Task:
    """Poll questions: how is a country divided? Arguments as of ``vital_overton``."""
    return _task(TaskName.DISTRIBUTIONAL_POLLS, path, limit, seed, [_letter()], [vital_distribution()])


def _letter() -> Solver:
    """Generate a letter, with the probabilities of the first token where the provider tells them."""
    tokens = baseline_prompts().answer["max_tokens_letter"]
    return generate(max_tokens=tokens, logprobs=True, top_logprobs=TOP_LOGPROBS)


def _task(
    name: TaskName, path: str, limit: int | None, seed: int, solvers: list[Solver], scorers: list[Scorer]
) -> Task:
    whole = load_task(_file(path, name), name)
    drawn = sample(whole, limit, seed)
    answer = baseline_prompts().answer
    return Task(
        dataset=MemoryDataset([_sample(item, name) for item in drawn.items], name=str(name), location=whole.source),
        solver=solvers,
        scorer=scorers,
        config=GenerateConfig(temperature=answer["temperature"], max_tokens=answer["max_tokens"]),
        # A sample that has no answer is listed with the reason, and the others go on.
        fail_on_error=False,
        metadata={"odd": [f"{odd.item}: {odd.what}" for odd in whole.odd if odd.left_out]},
    )


def _file(path: str, name: TaskName) -> Path:
    if path:
        return Path(path).expanduser()
    if folder := os.environ.get(FOLDER, ""):
        return task_file(Path(folder).expanduser(), name)
    raise InputError(
        f"no file of {name} is named", f"give -T path=FILE, or set {FOLDER} to the folder of VITAL's files"
    )


def _sample(item: Item, name: TaskName) -> Sample:
    metadata: dict[str, Any] = {TASK: str(name), ROW: dict(item.row)}
    return Sample(id=item.id, input=question_of(item.scenario, name.mode), target=_target(item), metadata=metadata)


def _target(item: Item) -> list[str]:
    """The gold for a reader: the scorers read the row."""
    if item.values:
        return [value.name for value in item.values]
    return [LETTERS[most_likely(item.distribution) if item.label is None else item.label]]
