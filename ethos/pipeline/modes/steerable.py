"""Steerable mode (paper section 3.3): select the comment that best reflects a value or group, and answer with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ethos.answer import Outcome
from ethos.encoders.embedder import Embedder
from ethos.influence import SELECTION
from ethos.pipeline.modes.shared import Asking, Task, category, most_likely, named_option, read_labels
from ethos.prompts import aggregation_prompts, fill, numbered
from ethos.scenario import Attribute, AttributeKind, Scenario
from ethos.text.option_letters import letters, read_label


def steerable(task: Task, embedder: Embedder) -> Asking[Outcome]:
    """Answer as one value or group would: the main model selects one comment, then answers with its help."""
    table, attribute = aggregation_prompts().steerable, _attribute(task.scenario)
    select = _steering(table, "select", attribute)
    comments = numbered("Comment", [comment.text for comment in task.comments])
    labels = tuple(str(number) for number in range(1, len(task.comments) + 1))
    prompt = fill(select, name=attribute.name, category=category(attribute), comments=comments, k=len(labels))
    [selection] = yield from read_labels([prompt], labels)
    selected = int(np.argmax(selection.probabilities))
    question = task.scenario.question
    if not task.scenario.options:
        question = fill(table["situation"], subject=task.scenario.situation)
    answer = fill(
        _steering(table, "answer", attribute),
        name=attribute.name,
        category=category(attribute),
        comment=task.comments[selected].text,
        question=question,
    )
    final = yield from _steered_answer(task, answer, table)
    return Outcome(
        output=final.output,
        influences=selection.probabilities,
        influence_method=SELECTION,
        weights=task.weights,
        choice=final.choice,
        distribution=final.distribution,
        selection=selection.probabilities,
        label_mass=min(selection.mass, 1.0 if final.mass is None else final.mass),
        finish_reason=final.finish_reason,
    )


@dataclass(frozen=True, slots=True)
class _Steered:
    output: str
    choice: str | None = None
    distribution: tuple[float, ...] | None = None
    mass: float | None = None
    finish_reason: str = "stop"


def _steered_answer(task: Task, prompt: str, table: Mapping[str, Any]) -> Asking[_Steered]:
    options = task.scenario.options
    # The paper's value situations are a generation task: the letter is read in the written reply.
    by_value = _attribute(task.scenario).kind is AttributeKind.VALUE
    written = not options or (by_value and task.prompts.name != "structured")
    if not written:
        [found] = yield from read_labels([prompt], letters(len(options)))
        return _Steered(
            named_option(task.scenario, found.probabilities),
            most_likely(found.probabilities),
            found.probabilities,
            found.mass,
        )
    completion = (yield from task.written(prompt, table["max_tokens"], table["temperature"])).completion
    choice = read_label(completion.text, letters(len(options))) if options else None
    return _Steered(completion.text, choice, finish_reason=completion.finish_reason)


def _attribute(scenario: Scenario) -> Attribute:
    assert scenario.attribute is not None, "check() refuses steerable scenarios without an attribute"
    return scenario.attribute


def _steering(table: Mapping[str, Any], step: str, attribute: Attribute) -> str:
    return str(table[f"{step}_{'value' if attribute.kind is AttributeKind.VALUE else 'group'}"])
