"""Model calls as they are recorded: request, stage, weights, and reply.

Plain values and the one place where stages meet models, so that no call goes unrecorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ethos.errors import ModelError
from ethos.llm import Completion, LanguageModel, Message, ModelIdentity, OptionReading, Request, StreamingModel
from ethos.llm.telemetry import calling
from ethos.text.cleaning import digest

Stage = str
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class ReadingRequest:
    """One prompt after which the probabilities of labels are to be read."""

    messages: tuple[Message, ...]
    labels: tuple[str, ...]

    def key(self, identity: ModelIdentity) -> str:
        """Content address of model, prompt and labels."""
        return digest(identity.id, _as_text(self.messages), list(self.labels))


Query = Request | ReadingRequest


@dataclass(frozen=True, slots=True)
class Call:
    """One completion that a model wrote for a stage."""

    stage: Stage
    identity: ModelIdentity
    request: Request
    completion: Completion

    @property
    def key(self) -> str:
        """Content address of model and request: equal keys may share one completion."""
        return self.request.key(self.identity)

    @property
    def prompt_text(self) -> str:
        """The prompt as sent."""
        return _as_text(self.request.messages)

    @property
    def parameters(self) -> dict[str, object]:
        """What was asked beside the prompt."""
        r = self.request
        return {"max_tokens": r.max_tokens, "temperature": r.temperature, "seed": r.seed, "schema": r.schema}


@dataclass(frozen=True, slots=True)
class ReadingCall:
    """One prompt after which the probabilities of labels were read."""

    stage: Stage
    identity: ModelIdentity
    messages: tuple[Message, ...]
    labels: tuple[str, ...]
    reading: OptionReading

    @property
    def key(self) -> str:
        """Content address of model, prompt and labels: equal keys may share one reading."""
        return ReadingRequest(self.messages, self.labels).key(self.identity)

    @property
    def prompt_text(self) -> str:
        """The prompt as sent."""
        return _as_text(self.messages)

    @property
    def parameters(self) -> dict[str, object]:
        """What was asked beside the prompt."""
        return {"labels": list(self.labels)}


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that could not be used, kept with its reason.

    Attributes:
        stage: Which stage asked.
        attempt: 1-based.
        reason: Why the reply was refused.
        reply: The text that caused it.
    """

    stage: Stage
    attempt: int
    reason: str
    reply: str


AnyCall = Call | ReadingCall


def _as_text(messages: tuple[Message, ...]) -> str:
    """A chat as stored: JSON, so that it can be sent again exactly."""
    return json.dumps([{"role": m.role, "content": m.content} for m in messages], ensure_ascii=False)


def run(
    model: LanguageModel, stage: Stage, requests: Sequence[Request], on_text: Callable[[str], None] | None = None
) -> list[Call]:
    """Send one batch and pair each request with its completion.

    Args:
        model: Writes them.
        stage: Which stage asks.
        requests: What is asked.
        on_text: Told the text of a single request while it is written, where the model can.

    Raises:
        ModelError: As the model raises it.
    """
    with calling(stage, model.identity, requests) as replies:
        if on_text and len(requests) == 1 and isinstance(model, StreamingModel):
            completions = [model.stream(requests[0], on_text)]
        else:
            completions = model.generate(requests) if requests else []
        replies += completions
    return [Call(stage, model.identity, r, c) for r, c in zip(requests, completions, strict=True)]


def ask(
    model: LanguageModel, stage: Stage, queries: Sequence[Query], on_text: Callable[[str], None] | None = None
) -> list[AnyCall]:
    """Send distinct queries, one batch for all completions and one for each set of labels; calls in their order.

    Args:
        model: Answers them.
        stage: Which stage asks.
        queries: What is asked.
        on_text: As in `run`.

    Raises:
        ModelError: As the model raises it.
    """
    written = [query for query in queries if isinstance(query, Request)]
    made: dict[Query, AnyCall] = {call.request: call for call in run(model, stage, written, on_text)}
    by_labels: dict[tuple[str, ...], list[ReadingRequest]] = {}
    for query in queries:
        if isinstance(query, ReadingRequest):
            by_labels.setdefault(query.labels, []).append(query)
    for labels, group in by_labels.items():
        with calling(stage, model.identity, group) as replies:
            readings = model.option_probabilities([query.messages for query in group], labels)
            replies += readings
        for query, reading in zip(group, readings, strict=True):
            made[query] = ReadingCall(stage, model.identity, query.messages, labels, reading)
    return [made[query] for query in queries]


def recalled(stage: Stage, identity: ModelIdentity, query: Query, reply: Completion | OptionReading) -> AnyCall:
    """A call as it was when it was made."""
    if isinstance(query, Request):
        assert isinstance(reply, Completion), "a request's key is never a reading's"
        return Call(stage, identity, query, reply)
    assert isinstance(reply, OptionReading), "a reading's key is never a request's"
    return ReadingCall(stage, identity, query.messages, query.labels, reply)


def apart(items: Sequence[T], work: Callable[[Sequence[T]], Sequence[U]]) -> list[U | ModelError]:
    """Work on items together; where the model fails on them, on each alone, so that none fails for another.

    Returns:
        One result or error an item, in order.

    Raises:
        ModelError: Several items failed for a cause that lies in none of them, such as a server that is down.
    """
    try:
        return list(work(items))
    except ModelError as error:
        if len(items) == 1:
            return [error]
        if error.retryable:
            raise
        return [result for item in items for result in apart([item], work)]


def derived_seed(seed: int, *parts: object) -> int:
    """A 31-bit seed that depends on nothing but its arguments; equal in every process and on every machine."""
    text = json.dumps([seed, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
