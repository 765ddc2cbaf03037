"""A language model that replies by a function, for tests that must force a path a real model cannot be made to take.

Shipped so that users can test their own code against Ethos without weights. It checks what it is asked like a real
backend: its replies are counted, cut at the token limit (a token is a word here), and its probabilities are read
through the same label spelling rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ethos.llm import Completion, Message, ModelIdentity, OptionReading, Request
from ethos.llm.streaming import OnText
from ethos.text.option_letters import gather

Reply = Callable[[Request], str]
NextTokens = Callable[[tuple[Message, ...]], Mapping[str, float]]


def _no_tokens(_: tuple[Message, ...]) -> Mapping[str, float]:
    return {}


@dataclass
class ScriptedModel:
    """Replies by `reply`; reads labels from the token probabilities that `next_tokens` gives.

    Attributes:
        reply: From a request to the text of its completion; may raise to play a failing backend.
        next_tokens: From a prompt to token probabilities; none by default, which makes a reading fail.
        batches: The requests of every `generate` call so far, for assertions.
    """

    reply: Reply
    next_tokens: NextTokens = _no_tokens
    name: str = "scripted"
    batches: list[list[Request]] = field(default_factory=list)

    @property
    def identity(self) -> ModelIdentity:
        """Named as given."""
        return ModelIdentity(f"scripted:{self.name}")

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One reply a request, cut after `max_tokens` words."""
        self.batches.append(list(requests))
        return [self._complete(request) for request in requests]

    def stream(self, request: Request, on_text: OnText) -> Completion:
        """Stream one reply word by word."""
        [completion] = self.generate([request])
        for piece in re.findall(r"\s*\S+|\s+$", completion.text):
            on_text(piece)
        return completion

    def _complete(self, request: Request) -> Completion:
        text = self.reply(request)
        words = text.split(" ")
        cut = len(words) > request.max_tokens
        read = sum(len(message.content.split()) for message in request.messages)
        written = min(len(words), request.max_tokens)
        return Completion(" ".join(words[: request.max_tokens]), "length" if cut else "stop", read, written, 0.0)

    def option_probabilities(
        self, prompts: Sequence[tuple[Message, ...]], labels: Sequence[str]
    ) -> list[OptionReading]:
        """Label probabilities by the script's token probabilities."""
        readings = []
        for prompt in prompts:
            probabilities, mass = gather(self.next_tokens(prompt), labels)
            read = sum(len(message.content.split()) for message in prompt)
            readings.append(OptionReading(probabilities, mass, read, 0.0))
        return readings
