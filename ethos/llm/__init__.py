"""Language models behind one small protocol: batches of requests in, completions out.

Knows requests and completions; knows nothing of personas, scenarios or the database. Backends live beside this
file: `local` (transformers), `endpoint` (any OpenAI-compatible server), `scripted` (for tests). `opening.open_model`
chooses one by name. Nothing here imports a backend, so that importing this costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ethos.errors import ConfigurationError
from ethos.text.cleaning import digest

# A keyword of ours, beside an object's properties: its string values must differ from each other, case ignored.
DISTINCT = "x-distinct"

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights answered.

    Attributes:
        name: As the user named it: ``transformers:HuggingFaceTB/SmolLM2-135M-Instruct``, ``openai:gpt-4o``.
        revision: Commit, weight hash or server-reported version; empty when the server does not report it.
        precision: ``float32``, ``bfloat16``; empty when unknown.
    """

    name: str
    revision: str = ""
    precision: str = ""

    @property
    def id(self) -> str:
        """Content address of the identity."""
        return digest("model", self.name, self.revision, self.precision)


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to be written.

    Attributes:
        messages: The chat so far.
        max_tokens: Most new tokens.
        temperature: 0 is greedy.
        seed: Sampling seed of this request alone; the same request gives the same text whatever shares its
            batch (exactly so in float32).
        schema: JSON schema as canonical text that the completion must satisfy; None for free text. A string
            property may carry ``{"not": {"enum": […]}}``: values it must differ from, case ignored. A model may be
            unable to keep to that, and to `DISTINCT`: check the reply.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    seed: int
    schema: str | None = None

    def key(self, identity: ModelIdentity) -> str:
        """Content address of this request to that model: equal keys may share one completion."""
        return digest(
            identity.id,
            [[m.role, m.content] for m in self.messages],
            self.max_tokens,
            self.temperature,
            self.seed,
            self.schema,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote.

    Attributes:
        text: The reply, without special tokens.
        finish_reason: ``stop``, or ``length`` when `max_tokens` cut it.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        seconds: Wall time of the call; rows of one batch share it.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OptionReading:
    """Next-token probabilities of labels after one prompt.

    Attributes:
        probabilities: One a label, in order, summing to 1; spellings of a label are added up.
        mass: What the labels held together before they were normalised, 0..1.
        prompt_tokens: Tokens read.
        seconds: Wall time of the call; rows of one batch share it.
    """

    probabilities: tuple[float, ...]
    mass: float
    prompt_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a model holds a text that it did not have to write.

    Attributes:
        log_probability: Natural logarithm of the text's probability after its prompt; 0 at most.
        tokens: How many tokens the text has, its end not counted.
    """

    log_probability: float
    tokens: int

    @property
    def per_token(self) -> float:
        """The mean over tokens, in nats."""
        return self.log_probability / self.tokens


@runtime_checkable
class LanguageModel(Protocol):
    """A chat model, batch first."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights answer."""

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Write one completion a request, in order, as one batch.

        Raises:
            ModelError: The model cannot be reached, or a reply breaks the contract.
        """

    def option_probabilities(
        self, prompts: Sequence[tuple[Message, ...]], labels: Sequence[str]
    ) -> list[OptionReading]:
        """Read the next-token probabilities of labels after each prompt; one batch, no sampling.

        Raises:
            UnreadableReply: After some prompt no label is among the tokens the model reports.
            ModelError: The model cannot be reached, or does not report probabilities.
        """


@runtime_checkable
class StreamingModel(LanguageModel, Protocol):
    """A chat model that can stream a reply."""

    def stream(self, request: Request, on_text: Callable[[str], None]) -> Completion:
        """Write one completion as `generate` does, passing its text on piece by piece; joined, they are the text.

        What `on_text` raises goes through, and ends the writing.

        Raises:
            ModelError: As `generate`; pieces may have been passed on by then.
        """


@runtime_checkable
class ScoringModel(LanguageModel, Protocol):
    """A chat model that can score the probability of a given text."""

    def log_likelihoods(self, pairs: Sequence[tuple[tuple[Message, ...], str]]) -> list[Likelihood]:
        """How likely each text is as the reply to its prompt; one batch, nothing is written.

        Raises:
            ModelError: A prompt and its text are longer than the model's context.
        """


def scoring(model: LanguageModel) -> ScoringModel:
    """Return the model as one that scores texts.

    Raises:
        ConfigurationError: It cannot: servers report probabilities only of what they write.
    """
    if isinstance(model, ScoringModel):
        return model
    raise ConfigurationError(
        f"{model.identity.name} cannot score the probability of a given text", "name a local model: transformers:NAME"
    )


def user(content: str, system: str = "") -> tuple[Message, ...]:
    """A chat of one user turn, after a system message when there is one."""
    head = (Message("system", system),) if system else ()
    return (*head, Message("user", content))


def plain_schema(schema: Any) -> Any:
    """A schema without what neither grammars nor servers understand: ``not`` with an ``enum``, and `DISTINCT`."""
    if isinstance(schema, list):
        return [plain_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {key: plain_schema(value) for key, value in schema.items() if key != DISTINCT and not _excludes(key, value)}


def _excludes(key: str, value: object) -> bool:
    return key == "not" and isinstance(value, Mapping) and list(value) == ["enum"]


def schema_text(schema: Mapping[str, Any]) -> str:
    """A JSON schema as canonical text; property order is kept, since decoding follows it."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
