"""A causal language model on this machine, through transformers, on CPU or GPU.

Loaded at the first call, not at construction: identity and configuration cost nothing. A call may hold any number of
requests: what several share is read once, and rows that have ended are computed no further. Knows chat templates and
decoding; knows nothing of personas.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from ethos.errors import ConfigurationError, ModelError
from ethos.llm import Completion, FinishReason, Likelihood, Message, ModelIdentity, OptionReading, Request
from ethos.llm.batches import Family, batches, shared_prefix
from ethos.llm.cache import Reading
from ethos.llm.chat import Chat
from ethos.llm.fused import fuse
from ethos.llm.packed import pack
from ethos.llm.quiet import quietly
from ethos.llm.steering import Endings, Grammars, Steering, Watching
from ethos.llm.streaming import OnText, Telling
from ethos.llm.weights import Weights, language_model_weights
from ethos.options import gather, label_of

Precision = Literal["auto", "float32", "bfloat16"]


MOST_ROWS = 32  # of one batch; more make a processor little faster
CACHE_BYTES = 2 * 2**30  # what the keys and values of one batch may take
READ_AT_ONCE = 1024  # tokens; more of them are states that no longer fit a processor's cache
KEPT_ROWS = 0.75  # a batch goes on without its ended rows once no more than this share of it is left

_Watch = Callable[[list[int]], None]


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
    def _chat(self) -> Chat:
        return Chat(self._tokenizer)

    @cached_property
    def _model(self) -> Any:
        model = self._loaded().to(self._device).eval()
        fuse(model)
        pack(model)
        return model

    def _loaded(self) -> Any:
        return _load(AutoModelForCausalLM, self._weights.location, self._name, dtype=self._dtype)

    @cached_property
    def _grammars(self) -> Grammars:
        return Grammars(self._tokenizer, self._model.config.vocab_size)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Write all requests; give those of many scenarios in one call, and they share full batches.

        Raises:
            ModelError: A prompt and its reply are longer than the model's context.
            ConfigurationError: The model cannot be loaded.
        """
        return self._completions(requests, None)

    def stream(self, request: Request, on_text: OnText) -> Completion:
        """Write one request as `generate` does, telling its text piece by piece; joined, they are the text.

        Raises:
            ModelError: As `generate`.
            ConfigurationError: As `generate`.
        """
        telling = Telling(on_text)
        [completion] = self._completions([request], lambda ids: telling.grow(self._text(ids)))
        telling.end(completion.text)
        return completion

    def _completions(self, requests: Sequence[Request], watch: _Watch | None) -> list[Completion]:
        started = time.perf_counter()
        rows = [self._encode(request.messages, request.max_tokens) for request in requests]
        written: dict[int, list[int]] = {}
        with quietly(), torch.inference_mode():
            for batch in self._batches(rows, max((request.max_tokens for request in requests), default=0)):
                reading, order = self._read(rows, batch)
                self._read_ahead(reading)
                written |= dict(zip(order, self._write([requests[i] for i in order], reading, watch), strict=True))
        seconds = time.perf_counter() - started
        return [
            self._completion(request, written[i], len(row), seconds)
            for i, (request, row) in enumerate(zip(requests, rows, strict=True))
        ]

    def _write(self, requests: Sequence[Request], reading: Reading, watch: _Watch | None) -> list[list[int]]:
        """What the model writes after each row; rows that have ended are left out from time to time."""
        start = reading.ids.shape[1]
        steering = Steering(requests, self._tokenizer, self._grammars, start, self._model.config.vocab_size)
        limits = [start + request.max_tokens for request in requests]
        written: list[list[int]] = [[] for _ in requests]
        going = list(range(len(requests)))
        while going:
            few = 0 if watch else int(KEPT_ROWS * len(going))
            endings = Endings([limits[i] for i in going], self._end_ids, few)
            ids = self._model.generate(
                input_ids=reading.ids,
                attention_mask=reading.mask,
                past_key_values=reading.cache,
                do_sample=False,
                max_new_tokens=max(limits[i] for i in going) - reading.ids.shape[1],
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=[steering],
                stopping_criteria=[endings, *([Watching(start, watch)] if watch else [])],
            )
            for row, i in enumerate(going):
                written[i] = ids[row, start:].tolist()
            kept = torch.nonzero(~endings.ended).flatten().tolist()
            going = [going[row] for row in kept]
            if going:
                reading.write(ids)
                reading.select(kept)
                steering.select(kept)
        return written

    def _completion(self, request: Request, ids: list[int], read: int, seconds: float) -> Completion:
        ids = ids[: request.max_tokens]
        length = self._length(ids)
        reason: FinishReason = "stop" if length < len(ids) else "length"
        return Completion(self._text(ids).strip(), reason, read, length, seconds)

    def _text(self, ids: list[int]) -> str:
        """What the tokens before the text's end spell."""
        return str(self._tokenizer.decode(ids[: self._length(ids)], skip_special_tokens=True))

    def _length(self, ids: list[int]) -> int:
        """How many tokens the text has: those before the first that ends it, or all."""
        return next((position for position, token in enumerate(ids) if token in self._end_ids), len(ids))

    @cached_property
    def _end_ids(self) -> frozenset[int]:
        configured = self._model.generation_config.eos_token_id
        ends = configured if isinstance(configured, list) else [configured]
        return frozenset(token for token in (*ends, self._tokenizer.eos_token_id) if token is not None)

    def option_probabilities(
        self, prompts: Sequence[tuple[Message, ...]], labels: Sequence[str]
    ) -> list[OptionReading]:
        """Read the labels after all prompts, without writing; what prompts share is read once.

        Raises:
            UnreadableReply: No label is a token of this model.
            ModelError: A prompt is longer than the model's context.
            ConfigurationError: The model cannot be loaded.
        """
        started = time.perf_counter()
        rows = [self._encode(prompt, 1) for prompt in prompts]
        spellings = self._spellings(labels) if prompts else {}
        found: dict[int, list[float]] = {}
        with torch.inference_mode():
            for batch in self._batches(rows, 1):
                reading, order = self._read(rows, batch)
                probabilities = torch.softmax(self._advance(reading).float(), dim=-1)
                found |= dict(zip(order, probabilities[:, list(spellings)].tolist(), strict=True))
        seconds = time.perf_counter() - started
        return [self._reading(spellings.values(), found[i], labels, len(row), seconds) for i, row in enumerate(rows)]

    def log_likelihoods(self, pairs: Sequence[tuple[tuple[Message, ...], str]]) -> list[Likelihood]:
        """Read each text as the reply to its prompt, without writing; what prompts share is read once.

        Raises:
            ModelError: A prompt and its text are longer than the model's context.
            ConfigurationError: The model cannot be loaded.
        """
        texts = [list(self._tokenizer.encode(text, add_special_tokens=False)) for _, text in pairs]
        rows = [self._encode(prompt, len(text)) for (prompt, _), text in zip(pairs, texts, strict=True)]
        found: dict[int, float] = {}
        with torch.inference_mode():
            for batch in self._batches(rows, max(map(len, texts), default=0), scored=True):
                reading, order = self._read(rows, batch)
                scored = [texts[i] for i in order]
                # Laid out after the prompts are, so that no text is read as a part that prompts share.
                reading.branch(range(len(order)), scored)
                found |= dict(zip(order, self._scores(reading, scored), strict=True))
        return [Likelihood(found[i], len(text)) for i, text in enumerate(texts)]

    def _scores(self, reading: Reading, texts: Sequence[list[int]]) -> list[float]:
        """Log probability of the text at the end of each row."""
        width = max(map(len, texts))
        logits = self._logits(reading, width + 1)
        scores = []
        for row, text in enumerate(texts):
            # The first token is foretold where the prompt ends; padding stands between that and a shorter text.
            places = [0, *range(width - len(text) + 1, width)][: len(text)]
            told = torch.log_softmax(logits[row, places].float(), dim=-1)
            scores.append(float(told.gather(1, torch.tensor(text, device=told.device)[:, None]).sum()))
        return scores

    def _reading(
        self, spelled: Iterable[str], values: list[float], labels: Sequence[str], read: int, seconds: float
    ) -> OptionReading:
        by_label: Counter[str] = Counter()
        for label, value in zip(spelled, values, strict=True):
            by_label[label] += value  # type: ignore[assignment]  # a Counter adds floats as well
        probabilities, mass = gather(by_label, labels)
        return OptionReading(probabilities, mass, read, seconds)

    def _batches(self, rows: list[list[int]], room: int, scored: bool = False) -> list[tuple[Family, ...]]:
        """What is computed together: no more rows than the longest of them with `room` more tokens allow.

        Scored tokens take room for the scores of the whole vocabulary as well.
        """
        if not rows:
            return []
        needed = (max(map(len, rows)) + room) * self._token_bytes
        if scored:
            needed += (room + 1) * int(self._model.config.vocab_size) * self._dtype.itemsize
        return list(batches(rows, max(1, min(MOST_ROWS, CACHE_BYTES // needed))))

    @cached_property
    def _token_bytes(self) -> int:
        """What one token takes in the cache."""
        config = self._model.config.get_text_config(decoder=True)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * heads * size * self._dtype.itemsize)

    def _read(self, rows: list[list[int]], batch: tuple[Family, ...]) -> tuple[Reading, list[int]]:
        """Read what all rows of a batch share, then what each family shares; the rest of each row is laid out unread.

        Returns:
            The reading, and the position of each of its rows in `rows`.
        """
        order = [i for family in batch for i in family.members]
        owners = [number for number, family in enumerate(batch) for _ in family.members]
        common = shared_prefix([rows[i] for i in order])
        reading = Reading(self._device, self._tokenizer.pad_token_id)
        levels = [
            ([0], [rows[order[0]][:common]]),
            ([0] * len(batch), [rows[family.members[0]][common : family.shared] for family in batch]),
            (owners, [rows[i][max(common, batch[owner].shared) :] for i, owner in zip(order, owners, strict=True)]),
        ]
        for parents, segments in levels:
            if reading.unread:
                self._advance(reading)
            reading.branch(parents, segments)
        return reading, order

    def _advance(self, reading: Reading) -> torch.Tensor:
        """Read what is unread; returns the logits after each row, (rows, vocabulary)."""
        return self._logits(reading, 1)[:, -1]

    def _logits(self, reading: Reading, columns: int) -> torch.Tensor:
        """Read what is unread; returns the logits after each of the last columns, (rows, columns, vocabulary)."""
        self._read_ahead(reading, columns)
        return self._forward(reading, reading.unread, columns)

    def _read_ahead(self, reading: Reading, columns: int = 1) -> None:
        """Read so much that what is left, at least these columns, can be read at once."""
        if self._device.type == "cpu":
            step = max(1, READ_AT_ONCE // len(reading.ids))
            while reading.unread > max(step, columns):
                self._forward(reading, min(step, reading.unread - columns), 1)

    def _forward(self, reading: Reading, unread: int, columns: int) -> torch.Tensor:
        """Read so many columns; returns the logits after the last ones of them."""
        read = reading.cache.get_seq_length()
        end = read + unread
        output = self._model(
            input_ids=reading.ids[:, read:end],
            attention_mask=reading.mask[:, :end],
            position_ids=reading.positions[:, read:end],
            past_key_values=reading.cache,
            use_cache=True,
            logits_to_keep=columns,
        )
        return output.logits  # type: ignore[no-any-return]

    def _spellings(self, labels: Sequence[str]) -> dict[int, str]:
        """Token id to label, for every token of the vocabulary that spells one of the labels."""
        vocabulary = self._tokenizer.get_vocab().items()
        return {i: label for token, i in sorted(vocabulary) if (label := label_of(token, labels)) is not None}

    def _encode(self, messages: tuple[Message, ...], room: int) -> list[int]:
        ids = list(self._tokenizer.encode(self._chat.text(messages), add_special_tokens=False))
        context = getattr(self._model.config, "max_position_embeddings", None)
        if context is not None and len(ids) + room > context:
            raise ModelError(
                f"a prompt of {len(ids):,} tokens and {room} new ones exceed the {context:,} that {self._name} reads",
                "shorten the scenario, lower --k, or name a model with a longer context",
            )
        return ids


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
