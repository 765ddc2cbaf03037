"""The models of a run: each is opened once and released when its work is done."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection

from ethos.llm import LanguageModel

OpenModel = Callable[[str], LanguageModel]


class OpenedModels:
    """Opened models by name.

    Args:
        open_model: Opens one.
    """

    def __init__(self, open_model: OpenModel) -> None:
        self._open = open_model
        self._opened: dict[str, LanguageModel] = {}

    def __call__(self, name: str) -> LanguageModel:
        """The model of this name; its weights load at the first request."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def release(self, name: str, needed: Collection[str]) -> None:
        """Let a model go that is not among those still needed, so that the next one finds room."""
        if name not in needed:
            self._opened.pop(name, None)
            gc.collect()
