"""What the modes share: the task, questions to the main model, and reading option probabilities.

A mode is a generator: it yields its model requests, receives the calls, and returns an outcome, so that many tasks can
share one batch. Knows prompts; knows neither a model, nor the pool, nor the database.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from ethos.answer import Comment, Outcome
from ethos.encoders.embedder import Embedder
from ethos.errors import ModelError
from ethos.llm import OptionReading, Request, user
from ethos.llm.calls import AnyCall, Call, Query, ReadingCall, ReadingRequest, derived_seed
from ethos.prompts import PromptSet
from ethos.scenario import Attribute, Scenario
from ethos.text.option_letters import letters

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


class Aggregator(Protocol):
    """Turns the comments of a panel into an outcome: a mode, and the seam for another one in its place."""

    def __call__(self, task: Task, embedder: Embedder) -> Asking[Outcome]:
        """Yield model requests, receive their calls, and return the outcome."""


def read_labels(prompts: Sequence[str], labels: tuple[str, ...]) -> Asking[list[OptionReading]]:
    """Ask for the probabilities of labels after each prompt."""
    calls = yield [ReadingRequest(user(prompt), labels) for prompt in prompts]
    return [call.reading for call in calls if isinstance(call, ReadingCall)]


def most_likely(distribution: Sequence[float] | None) -> str | None:
    """The letter of the most likely option; of equals the first."""
    return None if distribution is None else letters(len(distribution))[int(np.argmax(distribution))]


def named_option(scenario: Scenario, distribution: Sequence[float]) -> str:
    """Return the most likely option with its letter, such as ``B. No``."""
    best = int(np.argmax(distribution))
    return f"{letters(len(distribution))[best]}. {scenario.options[best]}"


def category(attribute: Attribute) -> str:
    """Return the category that the prompts name for an attribute."""
    return attribute.category or "country"
