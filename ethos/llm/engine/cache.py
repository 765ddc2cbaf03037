"""Keys and values of what a model has read, in blocks that grow. Knows tensors; knows neither text nor requests."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

ROOM = 64  # tokens that a layer's block grows by


class RoomyLayer(DynamicLayer):
    """A layer's keys and values in a block with room to grow: its parent copies all of them for each new token."""

    keys: torch.Tensor
    values: torch.Tensor
    _blocks: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new states, (rows, heads, tokens, dimensions); returns all of them."""
        self.append(key_states, value_states)
        return self.keys, self.values

    def append(self, key_states: torch.Tensor, value_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Append as `update` does; returns the blocks whole, with zeros where there is room."""
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
        return keys, values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Rows by number, repeated or left out, in a block of their own."""
        super().batch_select_indices(indices)
        self._blocks = None


def _block(held: torch.Tensor, new: torch.Tensor, read: int, length: int) -> torch.Tensor:
    block = new.new_zeros(*new.shape[:2], length, new.shape[-1])
    if read:
        block[:, :, :read] = held
    return block
