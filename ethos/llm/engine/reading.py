"""What a model has read already, as a tree of prompts: rows branch off what they share, which is read once.

Knows tensors; knows neither text nor requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
from transformers.cache_utils import Cache

from ethos.llm.engine.cache import RoomyLayer
from ethos.llm.engine.shared_prefix import StemCache


class Reading:
    """Rows of token ids, of which the model has read a part.

    Attributes:
        ids: (rows, width); what is left of a row's segment is padding.
        mask: (rows, width); 1 where a token is, 0 where padding is.
        cache: Keys and values of the columns that are read.
    """

    def __init__(self, device: torch.device, pad: int) -> None:
        self._pad = pad
        self.ids = torch.empty((1, 0), dtype=torch.long, device=device)
        self.mask = torch.empty_like(self.ids)
        self.cache: Cache = Cache(layer_class_to_replicate=RoomyLayer)

    def branch(self, parents: Sequence[int], segments: Sequence[Sequence[int]]) -> None:
        """Replace the rows: row i goes on from the row ``parents[i]`` with ``segments[i]``, as yet unread."""
        self.select(parents)
        self._lay_out(segments)

    def share(self, parents: Sequence[int], segments: Sequence[Sequence[int]]) -> None:
        """Branch as `branch` does, without copying what is read: for layers that know a `StemCache`.

        Rows of one parent are neighbours, every parent has one, and something is read.
        """
        self.cache = StemCache(self.cache, parents)
        self.ids, self.mask = self.ids[list(parents)], self.mask[list(parents)]
        self._lay_out(segments)

    def _lay_out(self, segments: Sequence[Sequence[int]]) -> None:
        width = max(map(len, segments))
        ids = [[self._pad] * (width - len(segment)) + list(segment) for segment in segments]
        mask = [[0] * (width - len(segment)) + [1] * len(segment) for segment in segments]
        self.ids = torch.cat([self.ids, self.ids.new_tensor(ids)], dim=1)
        self.mask = torch.cat([self.mask, self.mask.new_tensor(mask)], dim=1)

    def drop(self, columns: int) -> None:
        """Take back the last columns, read or not."""
        if columns:
            kept = self.ids.shape[1] - columns
            self.ids, self.mask = self.ids[:, :kept], self.mask[:, :kept]
            self.cache.crop(min(0, kept - self.cache.get_seq_length()))

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may be repeated."""
        if list(rows) == list(range(len(self.ids))):
            return
        chosen = torch.tensor(rows, device=self.ids.device)
        self.ids, self.mask = self.ids[chosen], self.mask[chosen]
        if self.cache.get_seq_length():
            self.cache.batch_select_indices(chosen)

    @property
    def unread_rows(self) -> list[int]:
        """The rows of which a token is unread."""
        unread = self.mask[:, self.cache.get_seq_length() :].any(dim=1)
        return [int(row) for row in unread.nonzero().flatten()]

    def part(self, rows: Sequence[int]) -> Reading:
        """A copy of these rows alone."""
        part = copy(self)
        part.cache = copy(self.cache)
        part.cache.layers = [copy(layer) for layer in self.cache.layers]
        part.select(rows)
        return part

    def join(self, part: Reading, rows: Sequence[int]) -> None:
        """Take over what a part has read of its rows since; of the others it is padding."""
        read = self.cache.get_seq_length()
        for number, layer in enumerate(part.cache.layers):
            states = []
            for found in (layer.keys[:, :, read:], layer.values[:, :, read:]):
                padded = found.new_zeros(len(self.ids), *found.shape[1:])
                padded[rows] = found
                states.append(padded)
            self.cache.update(*states, number)

    def write(self, ids: torch.Tensor) -> None:
        """Take over rows that the model went on with; all that was added is text."""
        added = self.mask.new_ones(len(ids), ids.shape[1] - self.ids.shape[1])
        self.ids, self.mask = ids, torch.cat([self.mask, added], dim=1)

    @property
    def unread(self) -> int:
        """How many columns the model has not read."""
        return int(self.ids.shape[1] - self.cache.get_seq_length())

    @property
    def positions(self) -> torch.Tensor:
        """Where each token stands in its own row, padding left out."""
        return (self.mask.cumsum(dim=1) - 1).clamp_(min=0)
