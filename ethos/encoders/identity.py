"""The identity of an encoder, which is stored with every vector. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from ethos.text.cleaning import digest


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
