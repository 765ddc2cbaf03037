"""The three modes (paper section 3.3): how comments become one answer.

Each mode is a generator: it yields what it wants to ask the main model, is sent the calls, and returns an outcome, so
that many tasks can share one batch. Knows prompts; knows neither a model, nor the pool, nor the database. Nothing is
ever substituted: what cannot be read is an error with the text that caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ethos.answer import Comment, Outcome
from ethos.encoders.embedder import Embedder
from ethos.errors import InputError, ModelError
from ethos.influence import (
    LEAVE_ONE_OUT,
    SELECTION,
    SENTENCES,
    leave_one_out,
    nearest_shares,
    nearness,
    sentences,
    unheard,
    weighted_mean,
)
from ethos.llm import OptionReading, Request, user
from ethos.llm.calls import AnyCall, Call, Query, ReadingCall, ReadingRequest, derived_seed
from ethos.prompts import PromptSet, aggregation_prompts, fill, numbered
from ethos.scenario import Attribute, AttributeKind, Mode, Scenario
from ethos.text.option_letters import letters, read_label

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

    def written(self, prompt: str, max_tokens: int, temperature: float) -> Asking[Call]:
        """Ask for one written reply.

        Raises:
            ModelError: The reply is empty.
        """
        request = Request(user(prompt), max_tokens, temperature, derived_seed(self.seed, STAGE, self.scenario.key))
        [call] = yield [request]
        assert isinstance(call, Call), "a request is answered by a completion"
        if not any(character.isalnum() for character in call.completion.text):
            raise ModelError(f"{call.identity.name} wrote an empty answer", "try another --seed or a larger --model")
        return call


T = TypeVar("T")
Asking = Generator[Sequence[Query], Sequence[AnyCall], T]
ModeFunction = Callable[[Task, Embedder], Asking[Outcome]]
# From queries, by the place of the task that has them, to their calls or the error they met.
Ask = Callable[[Mapping[int, Sequence[Query]]], Mapping[int, Sequence[AnyCall] | ModelError]]


def conclude(tasks: Sequence[tuple[Mode, Task]], embedder: Embedder, ask: Ask) -> list[Outcome | ModelError]:
    """Bring tasks to their outcomes side by side; what they ask at the same time is asked at once.

    Returns:
        One outcome a task, in order, or the error that it alone would have raised.
    """
    running = {place: MODES[mode](task, embedder) for place, (mode, task) in enumerate(tasks)}
    ended: dict[int, Outcome | ModelError] = {}
    waiting: dict[int, Sequence[Query]] = {}

    def go_on(place: int, calls: Sequence[AnyCall] | None) -> None:
        try:
            # A generator that has not begun takes nothing but None.
            waiting[place] = running[place].send(calls) if calls is not None else next(running[place])
        except StopIteration as end:
            ended[place] = end.value
        except ModelError as error:
            ended[place] = error

    for place in running:
        go_on(place, None)
    while waiting:
        asked, waiting = waiting, {}
        for place, answered in ask(asked).items():
            if isinstance(answered, ModelError):
                ended[place] = answered
            else:
                go_on(place, answered)
    return [ended[place] for place in range(len(tasks))]


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


def overton(task: Task, embedder: Embedder) -> Asking[Outcome]:
    """One answer that carries all views: the main model summarises all comments.

    For a question, the options' probabilities after all passages are read as well.
    """
    table = aggregation_prompts().overton
    texts = [comment.text for comment in task.comments]
    passages = numbered("Passage", texts)
    prompt = fill(table["summary"], subject=task.scenario.subject, passages=passages)
    completion = (yield from task.written(prompt, table["max_tokens"], table["temperature"])).completion
    distribution, mass = None, None
    if task.scenario.options:
        question = fill(table["question"], passages=passages, question=task.scenario.question)
        [reading] = yield from _read([question], letters(len(task.scenario.options)))
        distribution, mass = reading.probabilities, reading.mass
    near = nearness(embedder, sentences(completion.text), texts)
    return Outcome(
        output=completion.text,
        influences=nearest_shares(near),
        influence_method=SENTENCES,
        weights=task.weights,
        choice=_choice(distribution),
        distribution=distribution,
        label_mass=mass,
        finish_reason=completion.finish_reason,
        unheard=unheard(near),
    )


def steerable(task: Task, embedder: Embedder) -> Asking[Outcome]:
    """Answer as one value or group would: the main model selects one comment, then answers with its help."""
    table, attribute = aggregation_prompts().steerable, _attribute(task.scenario)
    select = _steering(table, "select", attribute)
    comments = numbered("Comment", [comment.text for comment in task.comments])
    labels = tuple(str(number) for number in range(1, len(task.comments) + 1))
    prompt = fill(select, name=attribute.name, category=_category(attribute), comments=comments, k=len(labels))
    [selection] = yield from _read([prompt], labels)
    selected = int(np.argmax(selection.probabilities))
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
        [found] = yield from _read([prompt], letters(len(options)))
        return _Steered(
            _named(task.scenario, found.probabilities), _choice(found.probabilities), found.probabilities, found.mass
        )
    completion = (yield from task.written(prompt, table["max_tokens"], table["temperature"])).completion
    choice = read_label(completion.text, letters(len(options))) if options else None
    return _Steered(completion.text, choice, finish_reason=completion.finish_reason)


def _read(prompts: Sequence[str], labels: tuple[str, ...]) -> Asking[list[OptionReading]]:
    """Ask for the probabilities of labels after each prompt."""
    calls = yield [ReadingRequest(user(prompt), labels) for prompt in prompts]
    return [call.reading for call in calls if isinstance(call, ReadingCall)]


def distributional(task: Task, embedder: Embedder) -> Asking[Outcome]:
    """Match a population: option probabilities with each comment's help, then their mean weighted by the priors."""
    table, attribute = aggregation_prompts().distributional, task.scenario.attribute
    template = table["choice"]
    if attribute is not None:
        template = table["poll"] if attribute.kind is AttributeKind.COUNTRY else table["group"]
    name, category = (attribute.name, _category(attribute)) if attribute else ("", "")
    prompts = [
        fill(template, comment=c.text, question=task.scenario.question, name=name, category=category)
        for c in task.comments
    ]
    readings = yield from _read(prompts, letters(len(task.scenario.options)))
    distributions = tuple(reading.probabilities for reading in readings)
    distribution = weighted_mean(distributions, task.weights)
    return Outcome(
        output=_named(task.scenario, distribution),
        influences=leave_one_out(distributions, task.weights),
        influence_method=LEAVE_ONE_OUT,
        weights=task.weights,
        choice=_choice(distribution),
        distribution=distribution,
        distributions=distributions,
        label_mass=min(reading.mass for reading in readings),
    )


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
