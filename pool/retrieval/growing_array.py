"""An array that grows by rows without being copied for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


class Growing:
    """Rows of one shape and type, appended in blocks.

    Args:
        shape: Of one row; ``()`` for single numbers.
        dtype: Of their numbers.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._room: Any = np.empty((0, *shape), dtype=dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Any:
        """All rows so far; a view, good until the next is appended."""
        return self._room[: self._count]

    def extend(self, rows: ArrayLike) -> None:
        """Append rows."""
        block = np.asarray(rows, dtype=self._room.dtype)
        needed = self._count + len(block)
        if needed > len(self._room):
            wider = np.empty((max(needed, self._count + self._count // 2), *self._room.shape[1:]), self._room.dtype)
            wider[: self._count] = self.rows
            self._room = wider
        self._room[self._count : needed] = block
        self._count = needed
