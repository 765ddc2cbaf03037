"""What the task files beside this need of Ethos: VITAL's rows as documents, and its metrics a document.

lm-evaluation-harness imports this from its folder. Options are weighed by the likelihood of their letters; what lies
between them and the documents is `ethos.evaluation`'s, so that scores are those of ``ethos eval score``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ethos.encoders.entailment import EntailmentModel
from ethos.errors import InputError
from ethos.evaluation.methods.asking import question_of
from ethos.evaluation.metrics import metrics
from ethos.evaluation.metrics.coverage import value_coverage
from ethos.evaluation.tasks.files import task_file
from ethos.evaluation.tasks.loading import load_task
from ethos.evaluation.tasks.task import GoldValue, TaskName
from ethos.text.option_letters import letters

Document = Mapping[str, Any]


def documents(task: str, vital: str = "", nli: str = "", **_: object) -> dict[str, Any]:
    """The items of a task, as the one split ``test``.

    Args:
        task: The task's name, from the task file.
        vital: The folder of VITAL's files, from ``--metadata``; ``ETHOS_VITAL`` by default.
        nli: Entailment model for value coverage, from ``--metadata``; ``ETHOS_NLI`` by default.

    Raises:
        InputError: No folder is named, or the task's file is not there or cannot be read.
    """
    from datasets import Dataset  # the harness's own

    name, folder = TaskName(task), vital or os.environ.get("ETHOS_VITAL", "")
    if not folder:
        raise InputError(
            "no folder of VITAL's files is named", 'set ETHOS_VITAL, or give --metadata \'{"vital": "DIR"}\''
        )
    loaded = load_task(task_file(Path(folder).expanduser(), name), name)
    found = [
        {
            "id": item.id,
            "query": question_of(item.scenario, name.mode),
            "choices": list(letters(len(item.scenario.options))),
            "target": metrics.most_likely(item.distribution) if item.distribution else item.label or 0,
            "gold": list(item.distribution),
            "values": [value.name for value in item.values],
            "explanations": [value.explanation for value in item.values],
            "nli": nli or os.environ.get("ETHOS_NLI", ""),
        }
        for item in loaded.items
    ]
    return {"test": Dataset.from_list(found)}


def label(document: Document, results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Accuracy where the gold is one option."""
    return {"accuracy": float(metrics.most_likely(_shares(results)) == document["target"])}


def distribution(document: Document, results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Distances where the gold is a distribution, and whether the most likely option is the same."""
    gold, predicted = document["gold"], _shares(results)
    return {
        "js_distance": metrics.js_distance(gold, predicted),
        "total_variation": metrics.total_variation(gold, predicted),
        "accuracy": metrics.agreement(gold, predicted),
    }


def overton(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Words, and value coverage where an entailment model is named."""
    [answer] = results
    found = {"words": float(metrics.words(answer))}
    if document["nli"]:
        named = zip(document["values"], document["explanations"], strict=True)
        values = [GoldValue(name, explanation) for name, explanation in named]
        covered = value_coverage(_classifier(document["nli"]), {"": (answer, values)}).items[""]
        found |= {"value_coverage": covered, f"share_above_{metrics.THRESHOLD}": float(covered > metrics.THRESHOLD)}
    return found


def _shares(results: Sequence[tuple[float, bool]]) -> list[float]:
    """Shares of the options from the logarithms of their letters' likelihoods."""
    from scipy.special import softmax

    return [float(share) for share in softmax([likelihood for likelihood, _ in results])]


@cache
def _classifier(name: str) -> EntailmentModel:
    return EntailmentModel(name)
