"""Nearest neighbours among unit vectors that only ever grow in number: FAISS, of a kind that fits their number.

Knows FAISS; knows nothing of what the vectors stand for. Up to `FLAT` vectors every one is compared with, in half
precision; above, clusters are searched, as many as it takes to find `RECALL` of what a full search finds, measured on
the vectors themselves (notes/performance.md, section 2). Similarities are always those of the full vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ethos.embedding import Vectors
from ethos.pool.growing import Growing

FLAT = 30_000
RECALL = 0.985
PROBED = 200  # vectors that the recall is measured with, and neighbours that each looks for
_TRAINING = 64  # vectors a cluster
_REGROWN = 4  # clusters are made anew when the vectors have become this many times as many


class Nearest:
    """Unit vectors, searched by cosine.

    Attributes:
        clusters_searched: How many are, of the clustered kind; 0 while every vector is compared with.
    """

    def __init__(self) -> None:
        self._vectors: Growing | None = None
        self._faiss: Any = None
        self._clustered_at = 0
        self.clusters_searched = 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All there is, for a snapshot."""
        import faiss

        if self._faiss is None:
            return {"vectors": self.vectors}
        counts = np.array([self._clustered_at, self.clusters_searched])
        return {"vectors": self.vectors, "index": faiss.serialize_index(self._faiss), "counts": counts}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> Nearest:
        """From `arrays`, which must be one's own: FAISS does not survive forged ones."""
        import faiss

        made = cls()
        if "index" in arrays:
            made._vectors = Growing(arrays["vectors"].shape[1:], np.float32)
            made._vectors.extend(arrays["vectors"])
            made._faiss = faiss.deserialize_index(arrays["index"])
            made._clustered_at, made.clusters_searched = arrays["counts"].tolist()
        return made

    def __len__(self) -> int:
        return 0 if self._vectors is None else len(self._vectors)

    @property
    def vectors(self) -> Vectors:
        """All rows, float32, (vectors, dimensions), in the order they were added."""
        return np.empty((0, 0), dtype=np.float32) if self._vectors is None else self._vectors.rows

    def add(self, vectors: Vectors) -> None:
        """Take in unit rows, float32, (vectors, dimensions)."""
        import faiss  # late: a stored panel needs no index

        if self._vectors is None:
            self._vectors = Growing(vectors.shape[1:], np.float32)
            flat = faiss.ScalarQuantizer.QT_fp16
            self._faiss = faiss.IndexScalarQuantizer(vectors.shape[1], flat, faiss.METRIC_INNER_PRODUCT)
        self._vectors.extend(vectors)
        if len(self) > FLAT and len(self) >= _REGROWN * self._clustered_at:
            self._cluster()
        else:
            self._faiss.add(vectors)

    def search(self, query: Vectors, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The rows nearest to a unit vector, and their cosines, in no order.

        Args:
            query: float32, (dimensions,).
            count: How many are wanted; fewer come where there are fewer.
        """
        import faiss

        if not len(self):
            return np.empty(0, dtype=np.int64), np.empty(0)
        faiss.omp_set_num_threads(1)  # waking another thread for one query costs more than it helps
        _, [found] = self._faiss.search(query[None, :], min(count, len(self)))
        rows = found[found >= 0]
        return rows, np.minimum(self.vectors[rows] @ query, 1.0).astype(np.float64)

    def _cluster(self) -> None:
        import faiss

        vectors = self.vectors
        clusters = 1 << round(np.log2(4 * np.sqrt(len(vectors))))
        coarse = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFScalarQuantizer(
            coarse, vectors.shape[1], clusters, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        rng = np.random.default_rng(0)
        drawn = rng.choice(len(vectors), min(len(vectors), _TRAINING * clusters), replace=False)
        faiss.omp_set_num_threads(faiss.omp_get_max_threads())
        index.train(vectors[np.sort(drawn)])
        index.add(vectors)
        self._faiss, self._clustered_at = index, len(vectors)
        self.clusters_searched = index.nprobe = self._probes(index, vectors[drawn[:PROBED]], clusters)

    def _probes(self, index: Any, queries: Vectors, clusters: int) -> int:
        """The fewest clusters, a power of two, in which `RECALL` of the true neighbours is found."""
        true = np.argpartition(-(queries @ self.vectors.T), PROBED, axis=1)[:, :PROBED]
        probes = 8
        while probes < clusters:
            index.nprobe = probes
            _, found = index.search(queries, PROBED)
            hits = sum(len(np.intersect1d(a, b)) for a, b in zip(true, found, strict=True))
            if hits >= RECALL * true.size:
                return probes
            probes *= 2
        return clusters
