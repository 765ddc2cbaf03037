"""Search alone, from a thousand vectors to a million: ``python -m benchmarks.scale [--sizes 1000,10000] [--json]``.

Each size and kind of index runs in a process of its own, so that its memory is its own:
`ethos.pool.retrieval.neighbours.Nearest` beside FAISS's plain `IndexFlatIP`, over the vectors of
`benchmarks.pools.cloud`. Queries are vectors of the same kind that the index does not hold; recall is the share of the
true 200 nearest that it finds.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.pools import Cloud
from ethos.encoders.embedder import Vectors, open_embedder
from ethos.pool.retrieval.neighbours import Nearest

FOUND = 200  # neighbours a query asks for
KINDS = ("Nearest", "IndexFlatIP")
_MIB = 1 << 20


@dataclass(frozen=True)
class Files:
    """What a measuring process reads.

    Attributes:
        vectors: Unit rows to search in.
        queries: Unit rows to search for.
        true: For each query the rows nearest to it.
    """

    vectors: Path
    queries: Path
    true: Path


def prepare(folder: Path, size: int, asked: int, cloud: Cloud, seed: int) -> Files:
    """Write the vectors of one size, and what an exact search finds in them."""
    import faiss

    rng = np.random.default_rng(seed)
    files = Files(folder / "vectors.npy", folder / "queries.npy", folder / "true.npy")
    vectors, queries = cloud.draw(size, rng), cloud.draw(asked, rng)
    _, true = faiss.knn(queries, vectors, min(FOUND, size), metric=faiss.METRIC_INNER_PRODUCT)
    for file, array in ((files.vectors, vectors), (files.queries, queries), (files.true, true)):
        np.save(file, array)
    return files


def measure(kind: str, files: Files) -> dict[str, Any]:
    """One row of the table; to be called in a fresh process."""
    import faiss

    queries, true = np.load(files.queries), np.load(files.true)
    started = time.perf_counter()
    before = _resident()
    index = Nearest() if kind == "Nearest" else faiss.IndexFlatIP(queries.shape[1])
    index.add(np.load(files.vectors))
    built = time.perf_counter() - started
    search = _search_of(index, true.shape[1])
    search(queries[0])
    milliseconds, hits = [], 0
    for query, expected in zip(queries, true, strict=True):
        started = time.perf_counter()
        rows = search(query)
        milliseconds.append(1000 * (time.perf_counter() - started))
        hits += len(np.intersect1d(rows, expected))
    return {
        "kind": kind,
        "index": index.kind if isinstance(index, Nearest) else "IndexFlatIP",
        "build_s": built,
        "median_ms": float(np.median(milliseconds)),
        "p95_ms": float(np.percentile(milliseconds, 95)),
        "recall": hits / true.size,
        "rss_mib": _resident(),
        "own_rss_mib": _resident() - before,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _search_of(index: Any, count: int) -> Callable[[Vectors], NDArray[np.int64]]:
    import faiss

    if isinstance(index, Nearest):
        return lambda query: index.search(query, count)[0]
    faiss.omp_set_num_threads(1)  # as Nearest does
    return lambda query: index.search(query[None, :], count)[1][0]


def _resident() -> float:
    """Memory that this process holds now, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / _MIB


def rows(sizes: list[int], asked: int, seed: int) -> list[dict[str, Any]]:
    """The table, smallest size first."""
    cloud = Cloud(open_embedder())
    # Not forked: a fork would begin with this process's memory, and FAISS may hang in one.
    fresh = multiprocessing.get_context("spawn")
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            files = prepare(Path(folder), size, asked, cloud, seed)
            for kind in KINDS:
                with fresh.Pool(1) as pool:
                    found.append({"vectors": size, **pool.apply(measure, (kind, files))})
    return found


@click.command()
@click.option("--sizes", default="1000,10000,100000,1000000", show_default=True, help="Numbers of vectors.")
@click.option("--asked", default=200, show_default=True, help="Queries a size.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: str, asked: int, seed: int, as_json: bool) -> None:
    """Measure search alone by number of vectors."""
    found = rows([int(size) for size in sizes.split(",")], asked, seed)
    if as_json:
        click.echo(json.dumps({"rows": found, "asked": asked, "seed": seed}, indent=2))
        return
    table = Table(*("vectors", "by", "index", "build s", "ms", "95%", f"recall@{FOUND}", "memory MiB", "peak MiB"))
    for row in found:
        times = (f"{row[name]:.2f}" for name in ("build_s", "median_ms", "p95_ms"))
        memory = (f"{row[name]:,.0f}" for name in ("rss_mib", "peak_rss_mib"))
        table.add_row(f"{row['vectors']:,}", row["kind"], row["index"], *times, f"{row['recall']:.4f}", *memory)
    Console(width=110).print(table)
    click.echo(f"Medians over {asked} queries that the index does not hold, one thread, seed {seed}.")
    click.echo("Memory is the whole process's; the peak is while the index is built, from an array read into memory.")


if __name__ == "__main__":
    main()
