"""Texts to unit vectors, by sentence-transformers.

Knows encoders; knows nothing of personas or indexes. The identity of the encoder goes with every vector, so that
vectors of two encoders never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ethos.cleaning import digest
from ethos.errors import ConfigurationError
from ethos.llm.weights import MINILM, embedder_weights

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """Which encoder made a vector.

    Attributes:
        name: Hub name or folder.
        revision: Fingerprint of the weights and configuration.
    """

    name: str
    revision: str

    @property
    def id(self) -> str:
        """Content address of the identity."""
        return digest("embedder", self.name, self.revision)


class Embedder(Protocol):
    """Encodes texts."""

    @property
    def identity(self) -> EmbedderIdentity:
        """Which encoder."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, (texts, dimensions), in order."""


class SentenceEmbedder:
    """A sentence-transformers model, loaded at the first call.

    Args:
        name: Folder or hub name; all-MiniLM-L6-v2 comes from an installed package.

    Raises:
        ConfigurationError: The folder holds no model.
    """

    def __init__(self, name: str = MINILM) -> None:
        self._weights = embedder_weights(name)
        self.identity = EmbedderIdentity(name, self._weights.revision)

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import (
            SentenceTransformer,  # late: seconds, and a stored panel needs no encoder
        )

        from ethos.llm.quiet import quietly

        try:
            with quietly():
                return SentenceTransformer(self._weights.location, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the embedder {self.identity.name} cannot be loaded: {str(error).splitlines()[0]}",
                "name a folder on this machine or a model in the hub's cache with --embedder",
            ) from error

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, (texts, dimensions).

        Raises:
            ConfigurationError: The model cannot be loaded.
        """
        rows = self._model.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return np.ascontiguousarray(rows, dtype=np.float32)
