"""What a model has read already, as a tree of prompts: rows branch off what they share, which is read once.

Knows tensors; knows neither text nor requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 128  # tokens that a layer's block grows by


class RoomyLayer(DynamicLayer):
    """A layer's keys and values in a block with room to grow: its parent copies all of them for each new token."""

    keys: torch.Tensor
    values: torch.Tensor
    _blocks: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new states, (rows, heads, tokens, dimensions); returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        read = self.get_seq_length()
        length = read + key_states.shape[-2]
        if self._blocks is None or self._blocks[0].shape[-2] < length:
            self._blocks = (
                _block(self.keys, key_states, read, length + ROOM),
                _block(self.values, value_states, read, length + ROOM),
            )
        keys, values = self._blocks
        keys[:, :, read:length] = key_states
        values[:, :, read:length] = value_states
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Rows by number, repeated or left out, in a block of their own."""
        super().batch_select_indices(indices)
        self._blocks = None


def _block(held: torch.Tensor, new: torch.Tensor, read: int, length: int) -> torch.Tensor:
    block = new.new_empty(*new.shape[:2], length, new.shape[-1])
    if read:
        block[:, :, :read] = held
    return block


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
        self.cache = Cache(layer_class_to_replicate=RoomyLayer)

    def branch(self, parents: Sequence[int], segments: Sequence[Sequence[int]]) -> None:
        """Replace the rows: row i goes on from the row ``parents[i]`` with ``segments[i]``, as yet unread."""
        self.select(parents)
        width = max(map(len, segments))
        ids = [[self._pad] * (width - len(segment)) + list(segment) for segment in segments]
        mask = [[0] * (width - len(segment)) + [1] * len(segment) for segment in segments]
        self.ids = torch.cat([self.ids, self.ids.new_tensor(ids)], dim=1)
        self.mask = torch.cat([self.mask, self.mask.new_tensor(mask)], dim=1)

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may be repeated."""
        if list(rows) == list(range(len(self.ids))):
            return
        chosen = torch.tensor(rows, device=self.ids.device)
        self.ids, self.mask = self.ids[chosen], self.mask[chosen]
        if self.cache.get_seq_length():
            self.cache.batch_select_indices(chosen)

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
