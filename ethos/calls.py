"""Model calls as they are recorded: what was asked, by which stage, of which weights, and what came back.

Plain values and the one place where stages meet models, so that no call goes unrecorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ethos.cleaning import digest
from ethos.llm import Completion, LanguageModel, Message, ModelIdentity, OptionReading, Request

Stage = str


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
        """Content address of model, prompt and labels."""
        return digest(self.identity.id, self.prompt_text, list(self.labels))

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


def run(model: LanguageModel, stage: Stage, requests: Sequence[Request]) -> list[Call]:
    """Send one batch and pair each request with its completion.

    Raises:
        ModelError: As the model raises it.
    """
    completions = model.generate(requests) if requests else []
    return [Call(stage, model.identity, r, c) for r, c in zip(requests, completions, strict=True)]


def read(
    model: LanguageModel, stage: Stage, prompts: Sequence[tuple[Message, ...]], labels: tuple[str, ...]
) -> list[ReadingCall]:
    """Read label probabilities after each prompt, in one batch.

    Raises:
        ModelError: As the model raises it.
    """
    readings = model.option_probabilities(prompts, labels)
    return [ReadingCall(stage, model.identity, p, labels, r) for p, r in zip(prompts, readings, strict=True)]


def derived_seed(seed: int, *parts: object) -> int:
    """A 31-bit seed that depends on nothing but its arguments; equal in every process and on every machine."""
    text = json.dumps([seed, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
