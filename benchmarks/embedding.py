"""The packaged encoder against sentence-transformers: ``python -m benchmarks.embedding DIR [--json]``.

DIR holds a VITAL-shaped ``vital_overton_valuekaleidoscope.json``. Both encode the same situations one at a time in the
same process, in turn; then each encodes batches of the file's values and explanations; then each makes the first
vector of a fresh process, timed from its start. Run it on an otherwise idle machine: torch's threads wait by spinning,
which on a busy one would flatter us. OMP_NUM_THREADS=1 keeps torch, and torch alone, to one thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.panel import FILE
from ethos.encoders.embedder import Embedder, SentenceEmbedder, open_embedder

STARTS = 3
FIRST_VECTOR = (
    "from ethos.encoders.embedder import *; {}().encode(['Should a hospital tell a dying patient the truth?'])"
)


def one_at_a_time(embedders: dict[str, Embedder], texts: Sequence[str]) -> tuple[dict[str, Any], float]:
    """Seconds per text of each encoder, and the least cosine of the vectors of one text."""
    for embedder in embedders.values():
        embedder.encode(texts[:3])  # loads it
    seconds: dict[str, list[float]] = {name: [] for name in embedders}
    least = 1.0
    for text in texts:
        rows = []
        for name, embedder in embedders.items():
            started = time.perf_counter()
            rows.append(embedder.encode([text])[0])
            seconds[name].append(time.perf_counter() - started)
        least = min(least, float(rows[0] @ rows[1]))
    return seconds, least


def batch(embedder: Embedder, texts: Sequence[str]) -> float:
    """Texts per second, all at once."""
    started = time.perf_counter()
    embedder.encode(texts)
    return len(texts) / (time.perf_counter() - started)


def first_vector(opener: str) -> float:
    """Seconds from the start of a process to the end of one that made a vector; the median of a few."""
    taken = []
    for _ in range(STARTS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", FIRST_VECTOR.format(opener)], check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def measure(folder: Path, asked: int, batched: int, seed: int) -> dict[str, Any]:
    """One row per encoder, and how alike their vectors are."""
    rng = np.random.default_rng(seed)
    held = json.loads((folder / FILE).read_text(encoding="utf-8"))
    situations = [held[i]["situation"] for i in rng.permutation(len(held))[:asked]]
    values = sorted({value for row in held for value in row["vrd"]})
    explanations = sorted({text for row in held for text in row["explanation"]})
    short = [values[i] for i in rng.permutation(len(values))[:batched]]
    long = [explanations[i] for i in rng.permutation(len(explanations))[:batched]]
    embedders: dict[str, Embedder] = {"SentenceEmbedder": SentenceEmbedder(), "open_embedder": open_embedder()}
    seconds, least = one_at_a_time(embedders, situations)
    rows = [
        {
            "encoder": name,
            "median_ms": 1000 * float(np.median(seconds[name])),
            "p95_ms": 1000 * float(np.percentile(seconds[name], 95)),
            "values_per_s": batch(embedder, short),
            "explanations_per_s": batch(embedder, long),
            "first_vector_s": first_vector(name),
        }
        for name, embedder in embedders.items()
    ]
    return {"rows": rows, "least_cosine": least, "asked": len(situations), "batched": len(short), "seed": seed}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--asked", default=200, show_default=True, help="Situations, one at a time.")
@click.option("--batched", default=512, show_default=True, help="Texts of a batch.")
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(folder: Path, asked: int, batched: int, seed: int, as_json: bool) -> None:
    """Measure what the packaged encoder saves."""
    found = measure(folder, asked, batched, seed)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(*("", "one text ms", "its p95", "values /s", "explanations /s", "first vector s"))
    numbers = ("median_ms", "p95_ms", "values_per_s", "explanations_per_s", "first_vector_s")
    theirs, ours = found["rows"]
    for label, row in (("sentence-transformers", theirs), ("packaged", ours)):
        table.add_row(label, *(f"{row[n]:.2f}" for n in numbers))
    gains = [ours[n] / theirs[n] if n.endswith("per_s") else theirs[n] / ours[n] for n in numbers]
    table.add_row("times faster", *(f"{gain:.2f}" for gain in gains))
    Console(width=110).print(table)
    click.echo(
        f"Medians over {found['asked']} situations, batches of {found['batched']} texts, seed {seed}; "
        f"the least cosine of two vectors of a text is {found['least_cosine']:.7f}."
    )


if __name__ == "__main__":
    main()
