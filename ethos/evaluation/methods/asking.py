"""Shared by the methods: send questions to a model, read its replies, count the cost.

Knows prompts, calls and predictions; knows no method.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ethos.answer import Comment, Outcome, cautions
from ethos.errors import EthosError, ModelError
from ethos.evaluation.tasks.prediction import Prediction
from ethos.llm import LanguageModel, Request, user
from ethos.llm.calls import AnyCall, Call, Query, ReadingRequest, Stage, apart, ask, derived_seed
from ethos.pipeline.modes import STAGE
from ethos.prompts import aggregation_prompts, baseline_prompts, fill
from ethos.scenario import AttributeKind, Mode, Scenario
from ethos.text.option_letters import LETTERS, letters, read_label


@dataclass
class Bill:
    """What one scenario has cost so far, as if it had been asked alone: a call that others share counts in full."""

    calls: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=lambda: Counter({"prompt": 0, "completion": 0}))
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: Stage, calls: Sequence[AnyCall], seconds: float) -> None:
        """Note calls, and their share of the time."""
        self.calls[stage] += len(calls)
        for call in calls:
            if isinstance(call, Call):
                self.tokens["prompt"] += call.completion.prompt_tokens
                self.tokens["completion"] += call.completion.completion_tokens
            else:
                self.tokens["prompt"] += call.reading.prompt_tokens
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def ask_each(
    model: LanguageModel, stage: Stage, wanted: Mapping[int, Sequence[Query]], bills: Sequence[Bill]
) -> dict[int, Sequence[AnyCall] | ModelError]:
    """Put the queries of several scenarios, by their places, to a model at once; equal queries are asked once.

    Returns:
        By place, a call a query, in order, or the error that this scenario alone would have met.

    Raises:
        ModelError: Several failed for a cause that lies in none of them.
    """

    def work(some: Sequence[Sequence[Query]]) -> list[Sequence[AnyCall]]:
        distinct = list(dict.fromkeys(query for queries in some for query in queries))
        made = dict(zip(distinct, ask(model, stage, distinct), strict=True))
        return [[made[query] for query in queries] for queries in some]

    if not wanted:
        return {}
    began = time.perf_counter()
    answered = dict(zip(wanted, apart(list(wanted.values()), work), strict=True))
    share = (time.perf_counter() - began) / len(wanted)
    for place, calls in answered.items():
        bills[place].add(stage, () if isinstance(calls, ModelError) else calls, share)
    return answered


def question_of(scenario: Scenario, mode: Mode) -> str:
    """The bare question, as VITAL writes it where it does."""
    if scenario.options:
        return scenario.question
    if mode is Mode.OVERTON:
        return fill(baseline_prompts().answer["situation"], situation=scenario.situation)
    return fill(aggregation_prompts().steerable["situation"], subject=scenario.situation)


def worded(table: Mapping[str, str], scenario: Scenario, mode: Mode) -> str:
    """The question inside the template for its mode and attribute."""
    attribute = scenario.attribute
    which = "overton" if mode is Mode.OVERTON else str(attribute.kind) if attribute else "choice"
    name, category = (attribute.name, attribute.category) if attribute else ("", "")
    return fill(table[which], question=question_of(scenario, mode), name=name, category=category)


def conclude_prompts(
    model: LanguageModel, prompts: Mapping[int, str], scenarios: Sequence[Scenario], mode: Mode, seed: int,
    bills: Sequence[Bill],
) -> dict[int, Outcome | EthosError]:  # fmt: skip
    """Ask the main model one prompt a scenario: the answer is its text, or the probabilities of the options.

    Args:
        model: The main model.
        prompts: By place.
        scenarios: All of them.
        mode: Their mode.
        seed: The run's.
        bills: What is charged.
    """
    wanted = {place: [_query(prompt, scenarios[place], mode, seed)] for place, prompt in prompts.items()}
    found: dict[int, Outcome | EthosError] = {}
    for place, calls in ask_each(model, STAGE, wanted, bills).items():
        try:
            found[place] = calls if isinstance(calls, ModelError) else _outcome(calls[0], scenarios[place], mode)
        except ModelError as error:
            found[place] = error
    return found


def _query(prompt: str, scenario: Scenario, mode: Mode, seed: int) -> Query:
    table, asks_letter = baseline_prompts().answer, mode is not Mode.OVERTON and scenario.options
    # ValueKaleidoscope's value situations are a generation task (design.md section 5), the other questions are not.
    if asks_letter and not (scenario.attribute and scenario.attribute.kind is AttributeKind.VALUE):
        return ReadingRequest(user(prompt), letters(len(scenario.options)))
    tokens = table["max_tokens_letter" if asks_letter else "max_tokens"]
    return Request(user(prompt), tokens, table["temperature"], derived_seed(seed, STAGE, prompt))


def _outcome(call: AnyCall, scenario: Scenario, mode: Mode) -> Outcome:
    if not isinstance(call, Call):
        probabilities, mass = call.reading.probabilities, call.reading.mass
        best = int(np.argmax(probabilities))
        said = f"{LETTERS[best]}. {scenario.options[best]}"
        return Outcome(said, (), "", (), LETTERS[best], probabilities, label_mass=mass)
    completion = call.completion
    if not any(character.isalnum() for character in completion.text):
        raise ModelError(f"{call.identity.name} wrote an empty answer", "try another --seed or a larger --model")
    if mode is Mode.OVERTON or not scenario.options:
        return Outcome(completion.text, (), "", (), finish_reason=completion.finish_reason)
    # Cut as a rule: the letter stands at the beginning, and few tokens are asked for.
    return Outcome(completion.text, (), "", (), read_label(completion.text, letters(len(scenario.options))))


def prediction_of(
    outcome: Outcome, bill: Bill, comments: Sequence[Comment] = (), speakers: Sequence[Mapping[str, str]] = ()
) -> Prediction:
    """What a method without a record says of an item."""
    seconds = {**bill.seconds, "total": sum(bill.seconds.values())}
    return Prediction(
        output=outcome.output,
        distribution=outcome.distribution or (),
        choice=None if outcome.choice is None else LETTERS.index(outcome.choice),
        comments=tuple(comment.text for comment in comments),
        speakers=tuple(speakers),
        calls=dict(bill.calls),
        tokens=dict(bill.tokens),
        seconds={stage: round(spent, 6) for stage, spent in seconds.items()},
        warnings=tuple(cautions(comments, outcome)),
    )
