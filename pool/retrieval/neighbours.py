"""Nearest neighbours among a growing set of unit vectors: FAISS, with an index that fits their number.

Knows FAISS; knows nothing of what the vectors stand for. Few vectors are all compared with, in half precision; more of
them as products of four bits a pair of dimensions, of which the best are compared again in full; and above that only
the clusters near the query are looked at (measured: benchmarks/scale.py). Similarities are always those of the full
vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.embedder import Vectors
from ethos.pool.retrieval.growing_array import Growing
from ethos.pool.retrieval.threads import one_faiss_thread

FLAT = 30_000  # vectors up to which all are compared with, in half precision
PRODUCTS = 400_000  # vectors up to which all are compared with, as products
RECALL = 0.985  # of what a full search finds, that searching clusters must find
_FETCHED = {"PQ": 4, "IVF": 2}  # by kind: times as many as are wanted, for the full comparison
_PROBED = 200  # vectors that the recall is measured with, and neighbours that each looks for
_CLUSTER = 64  # vectors a cluster is made of
_PRODUCT_SAMPLE = 8_192  # vectors that the products are made of
_REGROWN = 4  # an index is trained anew when the vectors have become this many times as many
_BLOCK = 256  # vectors compared in full at once, which fit the processor's cache


class Nearest:
    """Unit vectors, searched by cosine.

    Attributes:
        kind: How the index was made, as FAISS writes it; empty for no vectors.
    """

    def __init__(self) -> None:
        self._vectors: Growing | None = None
        self._faiss: Any = None
        self._trained_at = 0
        self.kind = ""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All there is, for a snapshot."""
        import faiss  # late: a stored panel needs no index

        if self._faiss is None:
            return {"vectors": self.vectors}
        index = faiss.serialize_index(self._faiss)
        return {
            "vectors": self.vectors,
            "index": index,
            "kind": np.array(self.kind),
            "trained": np.array(self._trained_at),
        }

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> Nearest:
        """From `arrays`, which must be one's own: FAISS does not survive forged ones."""
        import faiss

        made = cls()
        if "index" in arrays:
            made._vectors = Growing(arrays["vectors"].shape[1:], np.float32)
            made._vectors.extend(arrays["vectors"])
            made._faiss = faiss.deserialize_index(arrays["index"])
            made._trained_at, made.kind = int(arrays["trained"]), str(arrays["kind"])
        return made

    def __len__(self) -> int:
        return 0 if self._vectors is None else len(self._vectors)

    @property
    def vectors(self) -> Vectors:
        """All rows, float32, (vectors, dimensions), in the order they were added."""
        return np.empty((0, 0), dtype=np.float32) if self._vectors is None else self._vectors.rows

    def add(self, vectors: Vectors) -> None:
        """Take in unit rows, float32, (vectors, dimensions)."""
        if self._vectors is None:
            self._vectors = Growing(vectors.shape[1:], np.float32)
        self._vectors.extend(vectors)
        kind = _kind(*self.vectors.shape)
        if kind.partition(",")[0] == self.kind.partition(",")[0] and len(self) < _REGROWN * self._trained_at:
            self._faiss.add(vectors)
        else:
            self._make(kind)

    def search(self, query: Vectors, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The rows nearest to a unit vector, and their cosines, in no order.

        Args:
            query: float32, (dimensions,).
            count: How many are wanted; fewer come where there are fewer.
        """
        if not len(self):
            return np.empty(0, dtype=np.int64), np.empty(0)
        fetched = count * next((times for kind, times in _FETCHED.items() if self.kind.startswith(kind)), 1)
        with one_faiss_thread():
            _, [found] = self._faiss.search(query[None, :], min(fetched, len(self)))
        rows = found[found >= 0]
        cosines = np.concatenate([self.vectors[rows[i : i + _BLOCK]] @ query for i in range(0, len(rows), _BLOCK)])
        if len(rows) > count:
            best = np.argpartition(-cosines, count - 1)[:count]
            rows, cosines = rows[best], cosines[best]
        return rows, np.minimum(cosines, 1.0).astype(np.float64)

    def _make(self, kind: str) -> None:
        """Make the index of this kind, of all vectors."""
        import faiss

        vectors = self.vectors
        count, dimensions = vectors.shape
        index: Any = faiss.index_factory(dimensions, kind, faiss.METRIC_INNER_PRODUCT)
        if kind != _HALF:
            wanted = _PRODUCT_SAMPLE if kind.startswith("PQ") else _CLUSTER * index.nlist
            drawn = np.random.default_rng(0).choice(count, min(count, wanted), replace=False)
            index.train(vectors[np.sort(drawn)])
        index.add(vectors)
        self._faiss, self.kind, self._trained_at = index, kind, count
        if kind.startswith("IVF"):
            self._choose_probes(index)

    def _choose_probes(self, index: Any) -> None:
        """Look at the fewest clusters, in steps of four, in which `RECALL` of the true neighbours is found."""
        import faiss

        queries = self.vectors[np.random.default_rng(1).choice(len(self), _PROBED, replace=False)]
        wanted = min(_PROBED, len(self))
        _, true = faiss.knn(queries, self.vectors, wanted, metric=faiss.METRIC_INNER_PRODUCT)
        index.nprobe = 8
        while index.nprobe < index.nlist:
            _, found = index.search(queries, wanted)
            if sum(len(np.intersect1d(a, b)) for a, b in zip(true, found, strict=True)) >= RECALL * true.size:
                return
            index.nprobe += 4


_HALF = "SQfp16"


def _kind(count: int, dimensions: int) -> str:
    """The index for so many vectors."""
    if count <= FLAT:
        return _HALF
    if count <= PRODUCTS and not dimensions % 2:
        return f"PQ{dimensions // 2}x4fs"
    return f"IVF{1 << round(np.log2(4 * np.sqrt(count)))},SQ8"
