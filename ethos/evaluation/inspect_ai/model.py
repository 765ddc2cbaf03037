"""inspect_ai's model behind Ethos' protocol, so that a panel can be asked of whatever model an evaluation names.

The pipeline is synchronous and runs in a worker thread of inspect's event loop; each call goes back to that loop, where
a batch's requests run side by side under inspect's own limits, retries and log. Used outside such a thread it fails.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from anyio import from_thread
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Logprobs,
    Model,
    ModelOutput,
    ResponseSchema,
)
from inspect_ai.util import JSONSchema, collect

from ethos.errors import ModelError
from ethos.llm import Completion, FinishReason, Message, ModelIdentity, OptionReading, Request, plain_schema
from ethos.text.option_letters import gather

TOP_LOGPROBS = 20  # the most that OpenAI allows
_ROLES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
_CUT = ("max_tokens", "model_length")


class InspectModel:
    """A model of inspect's. What it raises itself, such as a limit that is reached, goes through unmapped.

    Args:
        model: As inspect's `get_model` gives it.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def identity(self) -> ModelIdentity:
        """As inspect names it: ``inspect:mockllm/model``. Which weights answer it does not tell."""
        return ModelIdentity(f"inspect:{self._model}")

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Write the requests side by side; whether a schema binds the model is up to its provider.

        Raises:
            ModelError: A reply was withheld.
        """
        outputs = self._all([(request.messages, _config(request)) for request in requests])
        return [self._completion(output) for output in outputs]

    def option_probabilities(
        self, prompts: Sequence[tuple[Message, ...]], labels: Sequence[str]
    ) -> list[OptionReading]:
        """Read labels from the likeliest next tokens, of which providers tell 20 at most; others count as 0.

        Raises:
            UnreadableReply: After some prompt no label is among those tokens.
            ModelError: The provider reports no probabilities.
        """
        config = GenerateConfig(max_tokens=1, logprobs=True, top_logprobs=TOP_LOGPROBS)
        readings = []
        for output in self._all([(prompt, config) for prompt in prompts]):
            told = next_tokens(output)
            if not told:
                raise ModelError(
                    f"{self.identity.name} reports no token probabilities",
                    "name a model whose provider does, or one of Ethos' own: -S model=transformers:NAME",
                    reply=output.completion,
                )
            probabilities, mass = gather(told, labels)
            readings.append(OptionReading(probabilities, min(mass, 1.0), _usage(output)[0], output.time or 0.0))
        return readings

    def _all(self, asked: Sequence[tuple[Sequence[Message], GenerateConfig]]) -> list[ModelOutput]:
        async def ask() -> list[ModelOutput]:
            return list(await collect(*(self._model.generate(_chat(said), config=config) for said, config in asked)))

        outputs: list[ModelOutput] = from_thread.run(ask)
        return outputs

    def _completion(self, output: ModelOutput) -> Completion:
        if output.stop_reason == "content_filter" or output.error:
            raise ModelError(f"the reply of {self.identity.name} was withheld: {output.error or 'content filter'}")
        reason: FinishReason = "length" if output.stop_reason in _CUT else "stop"
        return Completion(output.completion.strip(), reason, *_usage(output), output.time or 0.0)


def next_tokens(output: ModelOutput) -> dict[str, float]:
    """Probabilities of the first token's likeliest texts; none where the provider does not tell."""
    logprobs: Logprobs | None = output.choices[0].logprobs if output.choices else None
    if logprobs is None or not logprobs.content:
        return {}
    found: dict[str, float] = {}
    for token in logprobs.content[0].top_logprobs or ():
        found[token.token] = found.get(token.token, 0.0) + math.exp(min(token.logprob, 0.0))
    return found


def _config(request: Request) -> GenerateConfig:
    fields: dict[str, Any] = {}
    if request.schema is not None:
        schema = JSONSchema.model_validate(plain_schema(json.loads(request.schema)))
        fields["response_schema"] = ResponseSchema(name="reply", json_schema=schema, strict=True)
    return GenerateConfig(max_tokens=request.max_tokens, temperature=request.temperature, seed=request.seed, **fields)


def _chat(messages: Sequence[Message]) -> list[ChatMessage]:
    return [_ROLES[message.role](content=message.content) for message in messages]


def _usage(output: ModelOutput) -> tuple[int, int]:
    """Tokens read and written; zeros where the provider does not tell."""
    return (output.usage.input_tokens, output.usage.output_tokens) if output.usage else (0, 0)
