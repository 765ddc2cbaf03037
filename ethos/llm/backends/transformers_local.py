"""A causal language model on this machine, through transformers, on CPU or GPU.

Loaded at the first call, not at construction: identity and configuration cost nothing. A call may hold any number of
requests: what several share is read once, and rows that have ended are computed no further; a lone one is written
several tokens at a time where it repeats itself. What a request does not say is not done: of a model's own generation
settings only those that end a text are kept. Knows chat templates and decoding; knows nothing of personas.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase

from ethos.errors import ConfigurationError, ModelError
from ethos.llm import Completion, FinishReason, Likelihood, Message, ModelIdentity, OptionReading, Request
from ethos.llm.chat import Chat
from ethos.llm.engine.fused import fuse
from ethos.llm.engine.lookup import Lookup
from ethos.llm.engine.packed import pack
from ethos.llm.engine.reader import Reader
from ethos.llm.engine.reading import Reading
from ethos.llm.library_output import quietly
from ethos.llm.steering import Endings, Grammars, Steering
from ethos.llm.streaming import OnText, Streamer
from ethos.llm.weights import Weights, language_model_weights
from ethos.text.option_letters import gather, label_of

Precision = Literal["auto", "float32", "bfloat16"]

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
        # Of a model's own habits only where it ends: a penalty on what repeats, say, would be in no request's record.
        model.generation_config = GenerationConfig(eos_token_id=model.generation_config.eos_token_id)
        fuse(model)
        pack(model)
        return model

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self._model, self._tokenizer.pad_token_id)

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
        """Write one request as `generate` does, streaming its text piece by piece; joined, they are the text.

        Raises:
            ModelError: As `generate`.
            ConfigurationError: As `generate`.
        """
        streamer = Streamer(on_text)
        [completion] = self._completions([request], lambda ids: streamer.grow(self._text(ids)))
        streamer.end(completion.text)
        return completion

    def _completions(self, requests: Sequence[Request], watch: _Watch | None) -> list[Completion]:
        started = time.perf_counter()
        rows = [self._encode(request.messages, request.max_tokens) for request in requests]
        written: dict[int, list[int]] = {}
        with quietly(), torch.inference_mode():
            for batch in self._reader.batches(rows, max((request.max_tokens for request in requests), default=0)):
                reading, order = self._reader.read(rows, batch, writing=True)
                self._reader.read_ahead(reading)
                together = [requests[i] for i in order]
                alone = len(together) == 1
                texts = [self._write_one(together[0], reading, watch)] if alone else self._write(together, reading)
                written |= dict(zip(order, texts, strict=True))
        seconds = time.perf_counter() - started
        return [
            self._completion(request, written[i], len(row), seconds)
            for i, (request, row) in enumerate(zip(requests, rows, strict=True))
        ]

    def _write_one(self, request: Request, reading: Reading, watch: _Watch | None) -> list[int]:
        """What the model writes after the only row.

        It reads a guess of what follows with each token, and writes on as far as the guess was what it writes.
        """
        steering, start = self._steering([request], reading), reading.ids.shape[1]
        lookup, written = Lookup(), list[int]()
        lookup.add(reading.ids[0].tolist())
        while len(written) < request.max_tokens and not self._end_ids.intersection(written[-1:]):
            guess = lookup.guess()[: request.max_tokens - len(written) - 1]
            reading.branch([0], [guess])
            logits = self._reader.logits(reading, len(guess) + 1)[0]
            for place, scores in enumerate(logits):
                token = int(steering.next_tokens(reading.ids[:, : start + len(written)], scores[None]))
                written.append(token)
                if guess[place : place + 1] != [token] or token in self._end_ids:
                    break
            reading.drop(len(guess) - place)
            reading.branch([0], [written[-1:]])
            lookup.add(written[-place - 1 :])
            if watch:
                watch(written)
        return written

    def _write(self, requests: Sequence[Request], reading: Reading) -> list[list[int]]:
        """What the model writes after each row; rows that have ended are left out from time to time."""
        start = reading.ids.shape[1]
        steering = self._steering(requests, reading)
        limits = [start + request.max_tokens for request in requests]
        written: list[list[int]] = [[] for _ in requests]
        going = list(range(len(requests)))
        while going:
            endings = Endings([limits[i] for i in going], self._end_ids, int(KEPT_ROWS * len(going)))
            ids = self._model.generate(
                input_ids=reading.ids,
                attention_mask=reading.mask,
                past_key_values=reading.cache,
                do_sample=False,
                max_new_tokens=max(limits[i] for i in going) - reading.ids.shape[1],
                pad_token_id=self._tokenizer.pad_token_id,
                logits_processor=[steering],
                stopping_criteria=[endings],
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

    def _steering(self, requests: Sequence[Request], reading: Reading) -> Steering:
        start, vocabulary = reading.ids.shape[1], self._model.config.vocab_size
        return Steering(requests, self._tokenizer, self._grammars, start, vocabulary)

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
            for batch in self._reader.batches(rows, 1):
                reading, order = self._reader.read(rows, batch)
                probabilities = torch.softmax(self._reader.advance(reading).float(), dim=-1)
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
            for batch in self._reader.batches(rows, max(map(len, texts), default=0), scored=True):
                reading, order = self._reader.read(rows, batch)
                scored = [texts[i] for i in order]
                # Laid out after the prompts are, so that no text is read as a part that prompts share.
                reading.branch(range(len(order)), scored)
                found |= dict(zip(order, self._scores(reading, scored), strict=True))
        return [Likelihood(found[i], len(text)) for i, text in enumerate(texts)]

    def _scores(self, reading: Reading, texts: Sequence[list[int]]) -> list[float]:
        """Log probability of the text at the end of each row."""
        width = max(map(len, texts))
        logits = self._reader.logits(reading, width + 1)
        scores = []
        for row, text in enumerate(texts):
            # The first token is foretold where the prompt ends; padding stands between that and a shorter text.
            places = [0, *range(width - len(text) + 1, width)][: len(text)]
            logs = torch.log_softmax(logits[row, places].float(), dim=-1)
            scores.append(float(logs.gather(1, torch.tensor(text, device=logs.device)[:, None]).sum()))
        return scores

    def _reading(
        self, spelled: Iterable[str], values: list[float], labels: Sequence[str], read: int, seconds: float
    ) -> OptionReading:
        by_label: Counter[str] = Counter()
        for label, value in zip(spelled, values, strict=True):
            by_label[label] += value  # type: ignore[assignment]  # a Counter adds floats as well
        probabilities, mass = gather(by_label, labels)
        return OptionReading(probabilities, mass, read, seconds)

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
