"""An embedder of your own: anything with `identity` and `encode`."""

from __future__ import annotations

import tempfile
import zlib

import numpy as np

from ethos import Ethos
from ethos.encoders.identity import EmbedderIdentity
from ethos.pool.starter import install


class HashedWords:
    """Bags of hashed words, 256 dimensions: no model, and no sense of meaning."""

    identity = EmbedderIdentity("example:hashed-words", "1")

    def encode(self, texts):
        """Return unit rows, float32, (texts, 256)."""
        rows = np.zeros((len(texts), 256), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[zlib.crc32(word.encode()) % 256] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


with tempfile.TemporaryDirectory() as folder, Ethos(folder, embedder=HashedWords()) as ethos:
    install(ethos.pool)
    found = ethos.pool.search("Should a hospital tell a dying patient the truth?", 3)
    print("\n".join(one.situation for one in found))
