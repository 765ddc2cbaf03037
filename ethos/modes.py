"""The three modes (paper section 3.3): how comments become one answer.

Each mode is a function from a task to an outcome and the calls it made. Knows prompts and models; knows neither the
pool nor the database. Nothing is ever substituted: what cannot be read is an error with the text that caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ethos.answer import Comment, Outcome
from ethos.calls import AnyCall, Call, derived_seed, read, run
from ethos.embedding import Embedder
from ethos.errors import InputError, ModelError
from ethos.influence import LEAVE_ONE_OUT, SELECTION, SENTENCES, leave_one_out, sentence_shares, weighted_mean
from ethos.llm import LanguageModel, Message, Request, user
from ethos.options import letters, read_label
from ethos.prompts import PromptSet, aggregation_prompts, fill, numbered
from ethos.scenario import Attribute, AttributeKind, Mode, Scenario

STAGE = "main"


@dataclass(frozen=True, slots=True)
class Task:
    """What a mode works on.

    Attributes:
        scenario: What is asked.
        comments: What the panel said, in panel order.
        weights: Priors over the panel, summing to 1; they weigh distributional answers.
        prompts: The prompt set, since the paper reads some answers as text where ours reads probabilities.
        seed: The request's seed.
    """

    scenario: Scenario
    comments: Sequence[Comment]
    weights: tuple[float, ...]
    prompts: PromptSet
    seed: int

    def written(self, model: LanguageModel, prompt: str, max_tokens: int, temperature: float) -> Call:
        """One written reply of the main model.

        Raises:
            ModelError: The reply is empty.
        """
        request = Request(user(prompt), max_tokens, temperature, derived_seed(self.seed, STAGE, self.scenario.key))
        [call] = run(model, STAGE, [request])
        if not any(character.isalnum() for character in call.completion.text):
            raise ModelError(f"{model.identity.name} wrote an empty answer", "try another --seed or a larger --model")
        return call


Result = tuple[Outcome, list[AnyCall]]
ModeFunction = Callable[[Task, LanguageModel, Embedder], Result]


def check(mode: Mode, scenario: Scenario, k: int) -> None:
    """Refuse, before any work, a scenario that the mode cannot answer.

    Raises:
        InputError: Steerable without an attribute or with more than 9 personas, distributional without options or
            for a value.
    """
    attribute = scenario.attribute
    if mode is Mode.STEERABLE and k > 9:
        raise InputError(f"steerable mode reads the chosen comment's number as one digit, k is {k}", "lower --k to 9")
    if mode is Mode.OVERTON and attribute is not None:
        raise InputError("overton mode carries all views, so it takes no attribute", "use --mode steerable")
    if mode is Mode.STEERABLE and attribute is None:
        raise InputError("steerable mode needs a value or group to reflect", 'give one with --attribute "Autonomy"')
    if mode is Mode.DISTRIBUTIONAL and not scenario.options:
        raise InputError("distributional mode needs a question with options", 'repeat --option "Yes" --option "No"')
    if mode is Mode.DISTRIBUTIONAL and attribute is not None and attribute.kind is AttributeKind.VALUE:
        raise InputError("distributional mode answers for a country or group, not a value", "use --mode steerable")


def overton(task: Task, model: LanguageModel, embedder: Embedder) -> Result:
    """One answer that carries all views: the main model summarises all comments.

    For a question, the options' probabilities after all passages are read as well.
    """
    table = aggregation_prompts().overton
    texts = [comment.text for comment in task.comments]
    passages = numbered("Passage", texts)
    prompt = fill(table["summary"], subject=task.scenario.subject, passages=passages)
    call = task.written(model, prompt, table["max_tokens"], table["temperature"])
    calls: list[AnyCall] = [call]
    distribution, mass = None, None
    if task.scenario.options:
        question = fill(table["question"], passages=passages, question=task.scenario.question)
        [reading] = read(model, STAGE, [user(question)], letters(len(task.scenario.options)))
        calls.append(reading)
        distribution, mass = reading.reading.probabilities, reading.reading.mass
    completion = call.completion
    outcome = Outcome(
        output=completion.text,
        influences=sentence_shares(embedder, completion.text, texts),
        influence_method=SENTENCES,
        weights=task.weights,
        choice=_choice(distribution),
        distribution=distribution,
        label_mass=mass,
        finish_reason=completion.finish_reason,
    )
    return outcome, calls


def steerable(task: Task, model: LanguageModel, embedder: Embedder) -> Result:
    """Answer as one value or group would: the main model selects one comment, then answers with its help."""
    table, attribute = aggregation_prompts().steerable, _attribute(task.scenario)
    select = _steering(table, "select", attribute)
    comments = numbered("Comment", [comment.text for comment in task.comments])
    labels = tuple(str(number) for number in range(1, len(task.comments) + 1))
    prompt = fill(select, name=attribute.name, category=_category(attribute), comments=comments, k=len(labels))
    [selection] = read(model, STAGE, [user(prompt)], labels)
    selected = int(np.argmax(selection.reading.probabilities))
    question = task.scenario.question
    if not task.scenario.options:
        question = fill(table["situation"], subject=task.scenario.situation)
    answer = fill(
        _steering(table, "answer", attribute),
        name=attribute.name,
        category=_category(attribute),
        comment=task.comments[selected].text,
        question=question,
    )
    final, made = _steered_answer(task, model, answer, table)
    outcome = Outcome(
        output=final.output,
        influences=selection.reading.probabilities,
        influence_method=SELECTION,
        weights=task.weights,
        choice=final.choice,
        distribution=final.distribution,
        selection=selection.reading.probabilities,
        label_mass=min(selection.reading.mass, 1.0 if final.mass is None else final.mass),
        finish_reason=final.finish_reason,
    )
    return outcome, [selection, *made]


@dataclass(frozen=True, slots=True)
class _Steered:
    output: str
    choice: str | None = None
    distribution: tuple[float, ...] | None = None
    mass: float | None = None
    finish_reason: str = "stop"


def _steered_answer(
    task: Task, model: LanguageModel, prompt: str, table: Mapping[str, Any]
) -> tuple[_Steered, list[AnyCall]]:
    options = task.scenario.options
    # The paper's value situations are a generation task: the letter is read in the written reply.
    by_value = _attribute(task.scenario).kind is AttributeKind.VALUE
    written = not options or (by_value and task.prompts.name != "structured")
    if not written:
        [reading] = read(model, STAGE, [user(prompt)], letters(len(options)))
        found = reading.reading
        return _Steered(
            _named(task.scenario, found.probabilities),
            _choice(found.probabilities),
            found.probabilities,
            found.mass,
        ), [reading]
    call = task.written(model, prompt, table["max_tokens"], table["temperature"])
    completion = call.completion
    choice = read_label(completion.text, letters(len(options))) if options else None
    return _Steered(completion.text, choice, finish_reason=completion.finish_reason), [call]


def distributional(task: Task, model: LanguageModel, embedder: Embedder) -> Result:
    """Match a population: option probabilities with each comment's help, then their mean weighted by the priors."""
    table, attribute = aggregation_prompts().distributional, task.scenario.attribute
    template = table["choice"]
    if attribute is not None:
        template = table["poll"] if attribute.kind is AttributeKind.COUNTRY else table["group"]
    name, category = (attribute.name, _category(attribute)) if attribute else ("", "")
    prompts: list[tuple[Message, ...]] = [
        user(fill(template, comment=c.text, question=task.scenario.question, name=name, category=category))
        for c in task.comments
    ]
    calls = read(model, STAGE, prompts, letters(len(task.scenario.options)))
    distributions = tuple(call.reading.probabilities for call in calls)
    distribution = weighted_mean(distributions, task.weights)
    outcome = Outcome(
        output=_named(task.scenario, distribution),
        influences=leave_one_out(distributions, task.weights),
        influence_method=LEAVE_ONE_OUT,
        weights=task.weights,
        choice=_choice(distribution),
        distribution=distribution,
        distributions=distributions,
        label_mass=min(call.reading.mass for call in calls),
    )
    return outcome, list(calls)


MODES: dict[Mode, ModeFunction] = {
    Mode.OVERTON: overton,
    Mode.STEERABLE: steerable,
    Mode.DISTRIBUTIONAL: distributional,
}


def _choice(distribution: Sequence[float] | None) -> str | None:
    """The letter of the most likely option; of equals the first."""
    return None if distribution is None else letters(len(distribution))[int(np.argmax(distribution))]


def _named(scenario: Scenario, distribution: Sequence[float]) -> str:
    best = int(np.argmax(distribution))
    return f"{letters(len(distribution))[best]}. {scenario.options[best]}"


def _attribute(scenario: Scenario) -> Attribute:
    assert scenario.attribute is not None, "check() refuses steerable scenarios without an attribute"
    return scenario.attribute


def _category(attribute: Attribute) -> str:
    return attribute.category or "country"


def _steering(table: Mapping[str, Any], step: str, attribute: Attribute) -> str:
    return str(table[f"{step}_{'value' if attribute.kind is AttributeKind.VALUE else 'group'}"])
