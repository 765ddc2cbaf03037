"""From a local model's logits to the next token: grammar, exclusions, sampling.

Each row of a batch has its own grammar, its own excluded texts, its own temperature and its own random stream, so a
request gives the same text whatever shares its batch. Knows tokens; knows nothing of personas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
import xgrammar
from torch.nn import functional
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

from ethos.llm import DISTINCT, Request, plain_schema, schema_text
from ethos.text.cleaning import fold

_BLOCK = 256  # tokens that are drawn as one first

# A JSON object cut off inside the string value of a property.
_OPEN_VALUE = re.compile(r'"(?P<name>\w+)"\s*:\s*"(?P<value>[^"]*)$')
_CLOSED_VALUE = re.compile(r':\s*"([^"]*)"')


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

        What grammars cannot express, being context-free, is taken out first; `Exclusions` does it.
        """
        plain = schema_text(plain_schema(json.loads(schema)))
        return xgrammar.GrammarMatcher(self._compiler.compile_json_schema(plain, any_whitespace=False))


class Exclusions:
    """The texts that one row's string values must differ from: the schema's ``not``, and each other if `DISTINCT`."""

    def __init__(self, schema: str) -> None:
        parsed = json.loads(schema)
        self._distinct = bool(parsed.get(DISTINCT))
        self._taken = {
            name: {fold(text) for text in spec["not"]["enum"]}
            for name, spec in parsed.get("properties", {}).items()
            if "not" in spec
        }

    def forbids_closing(self, written: str) -> bool:
        """Whether ending the string value that is being written would repeat an excluded text."""
        if not (open_value := _OPEN_VALUE.search(written)):
            return False
        value = fold(open_value["value"])
        if value in self._taken.get(open_value["name"], ()):
            return True
        return self._distinct and value in map(fold, _CLOSED_VALUE.findall(written))


class Steering(LogitsProcessor):
    """Masks what a row's grammar and exclusions forbid, then draws the row's next token from its own stream.

    The draw is put back as the only finite score, so that `generate` runs greedily and knows nothing of sampling.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        tokenizer: PreTrainedTokenizerBase,
        grammars: Grammars,
        start: int,
        vocabulary: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._grammars = grammars
        self._start = start
        self._matchers = [grammars.matcher(r.schema) if r.schema else None for r in requests]
        self._exclusions = [Exclusions(r.schema) if r.schema else None for r in requests]
        self._temperatures = torch.tensor([r.temperature for r in requests])[:, None]
        self._streams = [torch.Generator().manual_seed(r.seed) for r in requests]
        self._noise = torch.empty(len(requests), -(-vocabulary // _BLOCK) + _BLOCK)
        self._bitmask = xgrammar.allocate_token_bitmask(len(requests), vocabulary)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self._matchers = [self._matchers[row] for row in rows]
        self._exclusions = [self._exclusions[row] for row in rows]
        self._temperatures = self._temperatures[list(rows)]
        self._streams = [self._streams[row] for row in rows]
        self._noise = self._noise[: len(rows)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Steer one step; `scores` is (rows, vocabulary)."""
        tokens = self.next_tokens(input_ids, scores)
        return torch.full_like(scores, -torch.inf, dtype=torch.float32).scatter_(1, tokens[:, None], 0.0)

    def next_tokens(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """What each row goes on with; asked once for each token, in their order.

        Args:
            input_ids: (rows, tokens); what there is.
            scores: (rows, vocabulary); the logits after it.
        """
        steered = scores.float()
        if masked := [row for row in range(len(steered)) if self._restricts(row, input_ids[row])]:
            xgrammar.apply_token_bitmask_inplace(
                steered, self._bitmask[: len(steered)].to(scores.device), indices=masked
            )
        for row in range(len(steered)):
            self._exclude(row, input_ids[row], steered[row])
        return self._draw(steered) if self._temperatures.any() else steered.argmax(dim=-1)

    def _draw(self, scores: torch.Tensor) -> torch.Tensor:
        """One token a row, greedily at temperature 0.

        The largest of probability / exponential noise is an exact draw, and unlike inverting the cumulative
        distribution it does not flip when rounding moves the probabilities a little: so a request's text survives
        another batch around it. A block of tokens is drawn first, then a token of it, since noise for the whole
        vocabulary takes longer than all else that is done here.
        """
        temperatures = self._temperatures.to(scores.device)
        probabilities = torch.softmax(scores / temperatures.clamp(min=1e-6), dim=-1)
        if past := -scores.shape[1] % _BLOCK:
            probabilities = functional.pad(probabilities, (0, past))
        blocks = probabilities.view(len(probabilities), -1, _BLOCK)
        for stream, noise in zip(self._streams, self._noise, strict=True):
            noise.exponential_(generator=stream)
        noise = self._noise.to(scores.device)
        block = (blocks.sum(dim=2) / noise[:, :-_BLOCK]).argmax(dim=1)
        token = (blocks[torch.arange(len(block), device=block.device), block] / noise[:, -_BLOCK:]).argmax(dim=1)
        drawn = _BLOCK * block + token
        return drawn if temperatures.all() else torch.where(temperatures[:, 0] > 0, drawn, scores.argmax(dim=1))

    def _restricts(self, row: int, ids: torch.Tensor) -> bool:
        """Take in a row's last token; whether its grammar forbids any as the next, noted in the bitmask."""
        matcher = self._matchers[row]
        if matcher is None or matcher.is_terminated():
            return False
        if len(ids) > self._start and not matcher.accept_token(int(ids[-1])):
            # Left the grammar, which the mask should make impossible: end the row rather than let it ramble on.
            # The caller finds the reply cut, and refuses it.
            self._matchers[row] = None
            self._bitmask[row] = 0
            end = int(self._tokenizer.eos_token_id)
            self._bitmask[row, end // 32] = torch.tensor(1 << end % 32).int()  # the sign is a bit like the others
            return True
        return not matcher.is_terminated() and matcher.fill_next_token_bitmask(self._bitmask, row)

    def _exclude(self, row: int, ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Keep a row from ending the text it writes, where that text is taken."""
        matcher, exclusions = self._matchers[row], self._exclusions[row]
        if matcher is None or exclusions is None or matcher.is_terminated():
            return
        if exclusions.forbids_closing(self._tokenizer.decode(ids[self._start :])):
            open_ended = scores.clone()
            open_ended[self._grammars.closing_quotes.to(scores.device)] = -torch.inf
            # At the length limit the grammar has nothing but the quote left: then it wins, and the caller refuses.
            if torch.isfinite(open_ended).any():
                scores.copy_(open_ended)


class Endings(StoppingCriteria):
    """Ends each row at its own token limit or where its text ends, and all when few are left.

    What has ended is computed on and on until all stop, so the caller goes on with the rows that are left.

    Args:
        limits: Width of `input_ids` at which each row ends.
        ends: Tokens that end a text.
        few: How many rows may be left unfinished.
    """

    def __init__(self, limits: Sequence[int], ends: Iterable[int], few: int) -> None:
        self._limits = torch.tensor(limits)
        self._ends = torch.tensor(sorted(ends))
        self._few = few
        self.ended = torch.zeros(len(limits), dtype=torch.bool)

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_: Any) -> torch.BoolTensor:
        """One flag a row."""
        self.ended |= (input_ids.shape[1] >= self._limits) | torch.isin(input_ids[:, -1].cpu(), self._ends)
        stop = self.ended if int((~self.ended).sum()) > self._few else torch.ones_like(self.ended)
        return stop.to(input_ids.device)  # type: ignore[return-value]
