"""Rows that go on from stems they share: a stem's keys and values are held, and attended to, once for all its rows.

What the rows of a stem ask for next is one product with its keys; with a copy of the stem for each row it is many, and
each reads its own from memory. Knows tensors; knows neither text nor requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicLayer

from ethos.llm.engine.cache import ROOM, RoomyLayer

_OVERHEAD = 7_500  # as many keys less to attend to make good for the operators that sharing takes; on a processor


class Places:
    """Where rows stand beside each other: each at a place of its stem, all stems with as many places.

    Where a stem has fewer rows than another, its first row stands at the places left over as well.

    Args:
        owners: (rows,); the stem of each row. Rows of one stem are neighbours, and every stem has one.
    """

    def __init__(self, owners: torch.Tensor) -> None:
        counts, rows = owners.bincount(), torch.arange(len(owners))
        first = counts.cumsum(0) - counts
        self.owners = owners
        self._width = int(counts.max())
        self._place_of = owners * self._width + rows - first[owners]
        self._row_at = first.repeat_interleave(self._width)
        self._row_at[self._place_of] = rows
        self._even = len(self._row_at) == len(rows)

    def kept(self, rows: torch.Tensor) -> tuple[torch.Tensor, Places]:
        """The stems of these rows, in ascending order, and the rows' places there."""
        owners = self.owners[rows]
        has_rows = owners.bincount() > 0
        return has_rows.nonzero().flatten(), Places((has_rows.cumsum(0) - 1)[owners])

    def beside(self, states: torch.Tensor) -> torch.Tensor:
        """(rows, heads, groups, size) to (stems x heads, places x groups, size)."""
        placed = states if self._even else states[self._row_at]
        _, heads, groups, size = placed.shape
        placed = placed.reshape(-1, self._width, heads, groups, size).transpose(1, 2)
        return placed.reshape(-1, self._width * groups, size)

    def apart(self, states: torch.Tensor, heads: int) -> torch.Tensor:
        """The way back from `beside`."""
        groups, size = states.shape[1] // self._width, states.shape[2]
        placed = states.view(-1, heads, self._width, groups, size).transpose(1, 2).reshape(-1, heads, groups, size)
        return placed if self._even else placed[self._place_of]


def stems_pay(owners: Sequence[int], stem: int, heads: int) -> bool:
    """Whether a step is faster where rows share their stems than where each has a copy of its own.

    Args:
        owners: The stem of each row.
        stem: Tokens of a stem.
        heads: Keys of a token.
    """
    saved = (len(owners) - len(set(owners))) * stem - len(owners) * ROOM // 2
    return saved * heads > _OVERHEAD


class StemCache(Cache):
    """Keys and values of rows that share stems; to a model they are rows, each with its stem.

    Args:
        stems: The stems' own; read, and not empty.
        owners: The stem of each row, as `Places` has them.
    """

    def __init__(self, stems: Cache, owners: Sequence[int]) -> None:
        self._places = Places(torch.tensor(owners))
        super().__init__(layers=[StemLayer(layer.keys, layer.values, self._places) for layer in stems.layers])

    def attend(self, number: int, *states: Any) -> torch.Tensor:
        """`StemLayer.attend` of the layer with this number."""
        layer = self.layers[number]
        assert isinstance(layer, StemLayer)
        return layer.attend(*states)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Go on with these rows, in their order; a stem without any is given up."""
        stems, self._places = self._places.kept(indices)
        for layer in self.layers:
            assert isinstance(layer, StemLayer)
            layer.keep(indices, stems, self._places)


class StemLayer(DynamicLayer):
    """One layer of a `StemCache`.

    Args:
        keys: (stems, heads, tokens, dimensions).
        values: As the keys.
        places: The rows.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, places: Places) -> None:
        super().__init__()
        self._stems = keys.contiguous(), values.contiguous()
        self._places = places
        self._own = RoomyLayer()

    def get_seq_length(self) -> int:
        """How many tokens of a row are read, its stem's included."""
        return int(self._stems[0].shape[-2] + self._own.get_seq_length())

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new states, (rows, heads, tokens, dimensions); returns all, with a copy of its stem for each row."""
        owners, own = self._places.owners, self._own.update(key_states, value_states)
        keys, values = (torch.cat((stem[owners], part), dim=-2) for stem, part in zip(self._stems, own, strict=True))
        return keys, values

    def attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None,
        scale: float,
    ) -> torch.Tensor:
        """Append one token of each row and attend to all that it has read, of which no row has a copy.

        Args:
            queries: (rows, heads of keys, groups, dimensions).
            keys: (rows, heads of keys, 1, dimensions).
            values: As the keys.
            mask: (rows, 1, 1, tokens); false where padding is.
            scale: Of the scores.

        Returns:
            What each query found, shaped as the queries.
        """
        # Whole blocks, since a product with a part of one copies that part; what is only room is hidden below.
        own_keys, own_values = (block.flatten(0, 1) for block in self._own.append(keys, values))
        stem_keys, stem_values = (stem.flatten(0, 1) for stem in self._stems)
        heads, stem, read = keys.shape[1], stem_keys.shape[1], self.get_seq_length()
        queries = queries * scale
        of_stem = self._places.apart(torch.bmm(self._places.beside(queries), stem_keys.transpose(1, 2)), heads)
        of_own = torch.bmm(queries.flatten(0, 1), own_keys.transpose(1, 2)).view(*queries.shape[:3], -1)
        scores = torch.cat((of_stem, of_own), dim=-1)
        if mask is None:
            scores[..., read:] = -torch.inf
        else:
            scores.masked_fill_(functional.pad(~mask, (0, scores.shape[-1] - read), value=True), -torch.inf)
        weights = torch.softmax(scores, dim=-1)
        in_stem = torch.bmm(self._places.beside(weights[..., :stem]), stem_values)
        in_own = torch.bmm(weights[..., stem:].flatten(0, 1), own_values).view_as(queries)
        return self._places.apart(in_stem, heads) + in_own

    def keep(self, rows: torch.Tensor, stems: torch.Tensor, places: Places) -> None:
        """Go on with these rows of these stems, at their new places."""
        keys, values = (stem[stems] for stem in self._stems)
        self._stems = keys, values
        self._places = places
        self._own.batch_select_indices(rows)
