"""Time from scenario to panel by pool size: ``python -m benchmarks.scale [--sizes 1000,10000,100000] [--json]``.

Asks questions no pool has seen of synthetic pools (`benchmarks.pools`) through `Pool.retrieve`, as an answer does: SQL,
encoding, search, values at stake, selection, gate. The encoding of the question is told apart from the rest.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.pools import fill
from ethos.embedding import Embedder, open_embedder
from ethos.pool.retrieval import Pool
from ethos.pool.starter import starter_panels
from ethos.scenario import Scenario

K = 6


def measure(size: int, asked: int, seed: int, embedder: Embedder) -> dict[str, Any]:
    """One row: medians and 95th percentiles in milliseconds over the questions."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "pool", size, seed, embedder)
        pool = Pool(Path(folder) / "pool", embedder)
        started = time.perf_counter()
        pool.refresh()
        opened = time.perf_counter() - started
        panels = starter_panels()
        total, encoding, hits = [], [], 0
        for number in range(asked):
            question = Scenario(f"Is this right? {panels[number % len(panels)].scenario.situation} [{number}]")
            started = time.perf_counter()
            found = pool.retrieve(question, K)
            total.append(1000 * (time.perf_counter() - started))
            encoding.append(1000 * found.encoding_seconds)
            hits += len(found.members) == K
        pool.close()
    rest = np.subtract(total, encoding)
    return {
        "personas": size,
        "open_s": opened,
        "total_ms": float(np.median(total)),
        "encode_ms": float(np.median(encoding)),
        "rest_ms": float(np.median(rest)),
        "rest_p95_ms": float(np.percentile(rest, 95)),
        "hits": hits,
        "asked": asked,
    }


@click.command()
@click.option("--sizes", default="1000,10000,100000", show_default=True, help="Pool sizes, in personas.")
@click.option("--asked", default=100, show_default=True, help="Questions a size.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(sizes: str, asked: int, seed: int, as_json: bool) -> None:
    """Measure the time per query at several pool sizes."""
    embedder = open_embedder()
    rows = [measure(int(size), asked, seed, embedder) for size in sizes.split(",")]
    if as_json:
        click.echo(json.dumps({"rows": rows, "seed": seed}, indent=2))
        return
    table = Table(*("personas", "open s", "total ms", "encoding ms", "the rest ms", "its p95", "hits"))
    for row in rows:
        numbers = ("open_s", "total_ms", "encode_ms", "rest_ms", "rest_p95_ms")
        table.add_row(str(row["personas"]), *(f"{row[n]:.2f}" for n in numbers), f"{row['hits']} of {row['asked']}")
    Console(width=110).print(table)
    click.echo(f"Medians over {asked} unseen questions, panels of {K}, seed {seed}.")


if __name__ == "__main__":
    main()
