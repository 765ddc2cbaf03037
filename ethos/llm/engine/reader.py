"""Read prompts with a model: shared prefixes once, the rest in one batch.

Knows tensors and token ids; knows neither text nor requests.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from ethos.llm.engine.batches import Family, ahead, levelled, shared_prefix
from ethos.llm.engine.batches import batches as in_batches
from ethos.llm.engine.fused import FusedLayer
from ethos.llm.engine.reading import Reading
from ethos.llm.engine.shared_prefix import stems_pay

MOST_ROWS = 64  # of one batch; more make a processor little faster
CACHE_BYTES = 2 * 2**30  # what the keys and values of one batch may take
READ_AT_ONCE = 1024  # tokens; more of them are states that no longer fit a processor's cache


class Reader:
    """One model's reading.

    Args:
        model: A causal language model of transformers.
        pad: What stands where a row has no token.
    """

    def __init__(self, model: Any, pad: int) -> None:
        self._model = model
        self._pad = pad
        self._config = model.config.get_text_config(decoder=True)
        # Whether its layers know rows that share stems.
        self._fused = any(isinstance(layer, FusedLayer) for layer in model.modules())

    def batches(self, rows: list[list[int]], room: int, scored: bool = False) -> list[tuple[Family, ...]]:
        """What is computed together: no more rows than the longest of them with `room` more tokens allow.

        Scored tokens take room for the scores of the whole vocabulary as well.
        """
        if not rows:
            return []
        needed = (max(map(len, rows)) + room) * self._token_bytes
        if scored:
            needed += (room + 1) * int(self._config.vocab_size) * self._model.dtype.itemsize
        return list(in_batches(rows, max(1, min(MOST_ROWS, CACHE_BYTES // needed))))

    def read(
        self, rows: list[list[int]], batch: tuple[Family, ...], writing: bool = False
    ) -> tuple[Reading, list[int]]:
        """Read what all rows of a batch share, then what each family shares; the rest of each row is laid out unread.

        Args:
            rows: Token ids of all prompts.
            batch: Which of them, and what they share.
            writing: Whether the model is to write after them, token by token.

        Returns:
            The reading, and the position of each of its rows in `rows`.
        """
        families = levelled(rows, batch)
        order = [i for family in families for i in family.members]
        owners = [number for number, family in enumerate(families) for _ in family.members]
        common = shared_prefix([rows[i] for i in order])
        reading = Reading(self._model.device, self._pad)
        stems = [rows[family.members[0]][common : family.shared] for family in families]
        first = ahead(families, common)
        levels = [
            ([0], [rows[order[0]][:common]]),
            ([0] * len(stems), [stem[:more] for stem, more in zip(stems, first, strict=True)]),
            (range(len(stems)), [stem[more:] for stem, more in zip(stems, first, strict=True)]),
        ]
        for parents, segments in levels:
            reading.branch(parents, segments)
            self._take_in(reading)
        rests = [rows[i][max(common, families[owner].shared) :] for i, owner in zip(order, owners, strict=True)]
        sharing = writing and self._fused and stems_pay(owners, reading.ids.shape[1], self._heads)
        (reading.share if sharing else reading.branch)(owners, rests)
        return reading, order

    def _take_in(self, reading: Reading) -> None:
        """Read what is unread, of the rows that have anything there."""
        rows = reading.unread_rows
        if len(rows) == len(reading.ids):
            self.advance(reading)
        elif rows:
            part = reading.part(rows)
            self.advance(part)
            reading.join(part, rows)

    def advance(self, reading: Reading) -> torch.Tensor:
        """Read what is unread; returns the logits after each row, (rows, vocabulary)."""
        return self.logits(reading, 1)[:, -1]

    def logits(self, reading: Reading, columns: int) -> torch.Tensor:
        """Read what is unread; returns the logits after each of the last columns, (rows, columns, vocabulary)."""
        self.read_ahead(reading, columns)
        return self._forward(reading, reading.unread, columns)

    def read_ahead(self, reading: Reading, columns: int = 1) -> None:
        """Read so much that what is left, at least these columns, can be read at once."""
        if self._model.device.type == "cpu":
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

    @cached_property
    def _token_bytes(self) -> int:
        """What one token takes in the cache."""
        config = self._config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(2 * config.num_hidden_layers * self._heads * size * self._model.dtype.itemsize)

    @cached_property
    def _heads(self) -> int:
        """Keys of a token, in each layer."""
        return int(getattr(self._config, "num_key_value_heads", None) or self._config.num_attention_heads)
