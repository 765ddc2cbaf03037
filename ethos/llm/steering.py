"""What happens between a local model's logits and the next token: grammar, exclusions, sampling.

Each row of a batch has its own grammar, its own excluded texts, its own temperature and its own random stream, so a
request gives the same text whatever shares its batch. Knows tokens; knows nothing of personas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import xgrammar
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from ethos.cleaning import fold
from ethos.llm import Request, schema_text

# A JSON object cut off inside the string value of a property.
_OPEN_VALUE = re.compile(r'"(?P<name>\w+)"\s*:\s*"(?P<value>[^"]*)$')


class Grammars:
    """Compiles JSON schemas for one tokenizer; compiled grammars are kept."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary

    @cached_property
    def _compiler(self) -> Any:
        info = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocabulary)
        return xgrammar.GrammarCompiler(info)

    @cached_property
    def closing_quotes(self) -> torch.Tensor:
        """Ids of the tokens that start with a quote, the only ones that can end a JSON string as it stands."""
        return torch.tensor([i for token, i in self._tokenizer.get_vocab().items() if token.startswith('"')])

    def matcher(self, schema: str) -> Any:
        """A matcher at the start of the schema's grammar.

        ``not`` is taken out first: grammars are context-free and cannot express it; `Exclusions` does.
        """
        plain = schema_text(_without_not(json.loads(schema)))
        return xgrammar.GrammarMatcher(self._compiler.compile_json_schema(plain, any_whitespace=False))


def _without_not(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _without_not(value) for key, value in schema.items() if key != "not"}
    return [_without_not(item) for item in schema] if isinstance(schema, list) else schema


class Exclusions:
    """The texts that one row's string properties must differ from, read from the schema's ``not`` … ``enum``."""

    def __init__(self, schema: str) -> None:
        properties = json.loads(schema).get("properties", {})
        self._taken = {
            name: {fold(text) for text in spec["not"]["enum"]} for name, spec in properties.items() if "not" in spec
        }

    def forbids_closing(self, written: str) -> bool:
        """Whether ending the string value that is being written would repeat an excluded text."""
        if not self._taken:
            return False
        open_value = _OPEN_VALUE.search(written)
        return open_value is not None and fold(open_value["value"]) in self._taken.get(open_value["name"], ())


class Steering(LogitsProcessor):
    """Masks what a row's grammar and exclusions forbid, then adds the row's own Gumbel noise.

    Taking the maximum of logits / temperature + Gumbel noise draws exactly from the softmax at that temperature;
    so `generate` runs greedily and every row keeps its own seeded stream.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        tokenizer: PreTrainedTokenizerBase,
        grammars: Grammars,
        start: int,
        vocabulary: int,
    ) -> None:
        self._requests = requests
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._start = start
        self._matchers = [grammars.matcher(r.schema) if r.schema else None for r in requests]
        self._exclusions = [Exclusions(r.schema) if r.schema else None for r in requests]
        self._streams = [torch.Generator().manual_seed(r.seed) for r in requests]
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocabulary)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Steer one step; `scores` is (rows, vocabulary)."""
        steered = scores.float()
        for row, request in enumerate(self._requests):
            self._constrain(row, input_ids[row], steered[row : row + 1])
            if request.temperature > 0:
                uniform = torch.rand(steered.shape[1], generator=self._streams[row])
                noise = -torch.log(-torch.log(uniform.clamp_(1e-20, 1 - 1e-7)))
                steered[row] = steered[row] / request.temperature + noise.to(scores.device)
        return steered

    def _constrain(self, row: int, ids: torch.Tensor, scores: torch.Tensor) -> None:
        matcher, exclusions = self._matchers[row], self._exclusions[row]
        if matcher is None or exclusions is None or matcher.is_terminated():
            return
        if len(ids) > self._start and not matcher.accept_token(int(ids[-1])):
            # Left the grammar, which the mask should make impossible: end the row rather than let it ramble on.
            # The caller finds the reply cut, and refuses it.
            self._matchers[row] = None
            end = scores[0, self._tokenizer.eos_token_id].clone()
            scores.fill_(-torch.inf)
            scores[0, self._tokenizer.eos_token_id] = end
            return
        if matcher.is_terminated():
            return
        if matcher.fill_next_token_bitmask(self._bitmask):
            xgrammar.apply_token_bitmask_inplace(scores, self._bitmask.to(scores.device))
        if exclusions.forbids_closing(self._tokenizer.decode(ids[self._start :])):
            scores[0, self._grammars.closing_quotes.to(scores.device)] = -torch.inf


class RowLimits(StoppingCriteria):
    """Ends each row at its own token limit."""

    def __init__(self, requests: Sequence[Request], start: int) -> None:
        self._limits = torch.tensor([start + request.max_tokens for request in requests])

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        """One flag a row."""
        return (input_ids.shape[1] >= self._limits).to(input_ids.device)  # type: ignore[return-value]
