"""A causal language model on this machine, through transformers, on CPU or GPU.

Loaded at the first call, not at construction: identity and configuration cost nothing. Knows tensors and chat
templates; knows nothing of personas.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, PreTrainedTokenizerBase

from ethos.errors import ConfigurationError, ModelError
from ethos.llm import Completion, Message, ModelIdentity, OptionReading, Request
from ethos.llm.quiet import quietly
from ethos.llm.steering import Grammars, RowLimits, Steering
from ethos.llm.weights import Weights, language_model_weights
from ethos.options import gather, label_of

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Prompts ready for the model: (rows, width) token ids and mask, and the cache of what was read already."""

    ids: torch.Tensor
    mask: torch.Tensor
    cache: DynamicCache


class LocalModel:
    """A transformers model behind the `LanguageModel` protocol.

    Args:
        name: Folder or hub name.
        precision: ``auto`` is bfloat16 where the processor computes in it, else float32. The same request gives the
            same text in both; only float32 promises it across different batches.

    Raises:
        ConfigurationError: The folder holds no model.
    """

    def __init__(self, name: str, precision: Precision = "auto") -> None:
        self._weights: Weights = language_model_weights(name)
        self._name = name
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = _dtype(precision, self._device)

    @property
    def identity(self) -> ModelIdentity:
        """Name, fingerprint of the weights, precision."""
        return ModelIdentity(
            f"transformers:{self._name}", self._weights.revision, str(self._dtype).removeprefix("torch.")
        )

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer = _load(AutoTokenizer, self._weights.location, self._name)
        tokenizer.padding_side = "left"  # generation continues on the right
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        return (
            _load(AutoModelForCausalLM, self._weights.location, self._name, dtype=self._dtype).to(self._device).eval()
        )

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._tokenizer, self._model.config.vocab_size)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Write all requests as one batch; the tokens that all prompts share are read once.

        Raises:
            ModelError: A prompt and its reply are longer than the model's context.
            ConfigurationError: The model cannot be loaded.
        """
        if not requests:
            return []
        started = time.perf_counter()
        rows = [self._encode(request.messages, request.max_tokens) for request in requests]
        with quietly(), torch.inference_mode():
            batch = self._shared(rows)
            start = batch.ids.shape[1]
            written = self._model.generate(
                input_ids=batch.ids,
                attention_mask=batch.mask,
                past_key_values=batch.cache,
                do_sample=False,
                max_new_tokens=max(request.max_tokens for request in requests),
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=[
                    Steering(requests, self._tokenizer, self._grammars, start, self._model.config.vocab_size)
                ],
                stopping_criteria=[RowLimits(requests, start)],
            )
        seconds = time.perf_counter() - started
        return [
            self._completion(request, ids[start:].tolist(), len(row), seconds)
            for request, ids, row in zip(requests, written, rows, strict=True)
        ]

    def _completion(self, request: Request, ids: list[int], read: int, seconds: float) -> Completion:
        ids = ids[: request.max_tokens]
        ends = self._end_ids
        length = next((position for position, token in enumerate(ids) if token in ends), None)
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True).strip()
        written = len(ids) if length is None else length
        return Completion(text, "length" if length is None else "stop", read, written, seconds)

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        configured = self._model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(token for token in (*ends, self._tokenizer.eos_token_id) if token is not None)

    def option_probabilities(
        self, prompts: Sequence[tuple[Message, ...]], labels: Sequence[str]
    ) -> list[OptionReading]:
        """One forward pass for all prompts, after one over the tokens that they share.

        Raises:
            UnreadableReply: No label is a token of this model.
            ModelError: A prompt is longer than the model's context.
            ConfigurationError: The model cannot be loaded.
        """
        if not prompts:
            return []
        started = time.perf_counter()
        rows = [self._encode(prompt, 1) for prompt in prompts]
        with torch.inference_mode():
            probabilities = torch.softmax(self._next_logits(self._shared(rows)).float(), dim=-1)
        seconds = time.perf_counter() - started
        spellings = self._spellings(labels)
        found = probabilities[:, list(spellings)].tolist()
        return [
            self._reading(spellings.values(), values, labels, len(row), seconds)
            for row, values in zip(rows, found, strict=True)
        ]

    def _reading(
        self, spelled: Iterable[str], values: list[float], labels: Sequence[str], read: int, seconds: float
    ) -> OptionReading:
        by_label: Counter[str] = Counter()
        for label, value in zip(spelled, values, strict=True):
            by_label[label] += value  # type: ignore[assignment]  # a Counter adds floats as well
        probabilities, mass = gather(by_label, labels)
        return OptionReading(probabilities, mass, read, seconds)

    def _shared(self, rows: list[list[int]]) -> _Batch:
        """Lay out prompts as prefix, padding, rest, with the prefix that all share read once into the cache."""
        # At least one token of each row is left to read, so that there are logits to start from.
        shared = min(_common_prefix(rows), min(map(len, rows)) - 1)
        cache = DynamicCache()
        if shared:
            prefix = torch.tensor([rows[0][:shared]], device=self._device)
            self._model(input_ids=prefix, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache.batch_repeat_interleave(len(rows))
        width, pad = max(map(len, rows)), self._tokenizer.pad_token_id
        gaps = [width - len(row) for row in rows]
        ids = [row[:shared] + [pad] * gap + row[shared:] for row, gap in zip(rows, gaps, strict=True)]
        mask = [[1] * shared + [0] * gap + [1] * (width - shared - gap) for gap in gaps]
        return _Batch(torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device), cache)

    def _next_logits(self, batch: _Batch) -> torch.Tensor:
        """Logits after each row, (rows, vocabulary)."""
        read = batch.cache.get_seq_length()
        positions = (batch.mask.cumsum(dim=1) - 1).clamp_(min=0)
        output = self._model(
            input_ids=batch.ids[:, read:],
            attention_mask=batch.mask,
            position_ids=positions[:, read:],
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]  # type: ignore[no-any-return]

    def _spellings(self, labels: Sequence[str]) -> dict[int, str]:
        """Token id to label, for every token of the vocabulary that spells one of the labels."""
        vocabulary = self._tokenizer.get_vocab().items()
        return {i: label for token, i in sorted(vocabulary) if (label := label_of(token, labels)) is not None}

    def _encode(self, messages: tuple[Message, ...], room: int) -> list[int]:
        ids = list(self._tokenizer.encode(self._prompt(messages), add_special_tokens=False))
        context = getattr(self._model.config, "max_position_embeddings", None)
        if context is not None and len(ids) + room > context:
            raise ModelError(
                f"a prompt of {len(ids):,} tokens and {room} new ones exceed the {context:,} that {self._name} reads",
                "shorten the scenario, lower --k, or name a model with a longer context",
            )
        return ids

    def _prompt(self, messages: tuple[Message, ...]) -> str:
        """The chat as the model's template writes it, up to where the reply begins."""
        if self._tokenizer.chat_template is None:
            return "\n\n".join(message.content for message in messages) + "\n"
        try:
            return self._templated(messages)
        except TemplateError:
            # Some templates (Gemma's) know no system role: it moves into the first user turn.
            system, first, *rest = messages
            return self._templated((Message("user", f"{system.content}\n\n{first.content}"), *rest))

    def _templated(self, messages: tuple[Message, ...]) -> str:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        return str(self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def _common_prefix(rows: list[list[int]]) -> int:
    """How many leading tokens all rows share."""
    shared = zip(*rows, strict=False)
    return next((i for i, tokens in enumerate(shared) if len(set(tokens)) > 1), min(map(len, rows)))


def _load(loader: Any, location: str, name: str, **options: Any) -> Any:
    try:
        with quietly():
            return loader.from_pretrained(location, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the model {name} cannot be loaded: {str(error).splitlines()[0]}",
            "name a folder on this machine, a model in the hub's cache, or an endpoint (openai:NAME)",
        ) from error


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capable = torch.cpu.get_capabilities()
    return (
        torch.bfloat16
        if capable.get("avx512_bf16") or capable.get("amx_bf16") or capable.get("bf16")
        else torch.float32
    )
