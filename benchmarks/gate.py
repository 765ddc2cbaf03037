"""Whether the calibrated gate keeps its promise: ``python benchmarks/gate.py DIR [--json]``.

DIR holds a VITAL-shaped ``vital_overton_valuekaleidoscope.json``. Four fifths of its situations go into a real pool
with pseudo-personas made of their gold values; the pool calibrates itself on them; then it is asked about the unseen
fifth, five times over. A hit is bad when its panel covers less of the situation's own values than the floor.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.panel import FILE, FOLDS, K
from ethos.answer import Decision
from ethos.encoders.embedder import Vectors, open_embedder
from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool
from ethos.pool.retrieval.calibration import Target, interval
from ethos.pool.retrieval.selection import COVERED
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

DELTAS = (0.05, 0.1, 0.2)


class Remembering:
    """The real encoder, which encodes each text once for all folds."""

    def __init__(self) -> None:
        self._embedder = open_embedder()
        self.identity = self._embedder.identity
        self._known: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows of the texts."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._embedder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def personas_of(row: dict[str, Any], number: int) -> list[Persona]:
    """Pseudo-personas of one situation: its values paired with its rights and duties in the file's order."""
    duties = [v for v in row["vrd"] if v.lower().startswith(("right", "duty"))]
    values = [v for v in row["vrd"] if not v.lower().startswith(("right", "duty"))]
    count = max(len(duties), len(values)) if duties and values else 0
    return [
        Persona(
            f"n{number}-{i}",
            values[i % len(values)],
            f"f{number}-{i}",
            duties[i % len(duties)],
            f"e{number}-{i}",
            f"s{number}-{i}",
        )
        for i in range(count)
    ]


def measure(rows: list[dict[str, Any]], floor: float, seed: int) -> list[dict[str, Any]]:
    """One row a delta, summed over the folds."""
    embedder = Remembering()
    results: dict[float, dict[str, Any]] = {
        delta: {"delta": delta, "asked": 0, "hits": 0, "bad": 0, "promised": [], "required": []} for delta in DELTAS
    }
    order = np.random.default_rng(seed).permutation(len(rows))
    for fold in np.array_split(order, FOLDS):
        with tempfile.TemporaryDirectory() as folder:
            pool = Pool(Path(folder) / "pool", embedder)
            for number in np.setdiff1d(order, fold):
                origin = Origin(OriginKind.IMPORTED, source=FILE)
                pool.add(Scenario.of(rows[number]["situation"]), personas_of(rows[number], number), origin)
            trials = pool.trials(K, lambda done, total: None)
            for delta in DELTAS:
                found = pool.calibration(trials, Target(delta, floor), K)
                pool.calibrate(found)
                result = results[delta]
                result["promised"].append(found.hit_rate)
                result["required"].append(found.required)
                for number in fold:
                    retrieved = pool.retrieve(Scenario.of(rows[number]["situation"]), K)
                    result["asked"] += 1
                    if retrieved.gate.decision is Decision.HIT:
                        held = [t for m in retrieved.members for t in (m.persona.core_value, m.persona.right_duty)]
                        best = (embedder.encode(rows[number]["vrd"]) @ embedder.encode(held).T).max(axis=1)
                        result["hits"] += 1
                        result["bad"] += int((best >= COVERED).mean() < floor)
            pool.close()
    return [_row(result) for result in results.values()]


def _row(result: dict[str, Any]) -> dict[str, Any]:
    hits, bad = result["hits"], result["bad"]
    return {
        "delta": result["delta"],
        "asked": result["asked"],
        "hits": hits,
        "hit_rate": hits / result["asked"],
        "expected_hit_rate": float(np.mean(result["promised"])),
        "bad": bad,
        "bad_share": bad / hits if hits else None,
        "ci95": list(interval(bad, hits, 0.95)),
        "required": result["required"],
    }


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--floor", default=0.5, show_default=True, help="Share of its own values that a good panel covers.")
@click.option("--seed", default=0, show_default=True, help="Of the folds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(folder: Path, floor: float, seed: int, as_json: bool) -> None:
    """Hold the gate's promise against unseen situations of DIR."""
    rows = measure(json.loads((folder / FILE).read_text(encoding="utf-8")), floor, seed)
    if as_json:
        click.echo(json.dumps({"rows": rows, "floor": floor, "confidence": 0.95, "seed": seed}, indent=2))
        return
    table = Table(*("bound δ", "unseen", "hits", "hit rate", "expected", "bad hits", "share", "95%", "kept"))
    for row in rows:
        share = "none" if row["bad_share"] is None else f"{row['bad_share']:.3f}"
        low, high = row["ci95"]
        kept = "yes" if row["bad_share"] is None or row["bad_share"] <= row["delta"] else "NO"
        counts = (f"{row['delta']:.2f}", str(row["asked"]), str(row["hits"]), f"{row['hit_rate']:.3f}")
        table.add_row(
            *counts, f"{row['expected_hit_rate']:.3f}", str(row["bad"]), share, f"{low:.3f} to {high:.3f}", kept
        )
    Console(width=110).print(table)
    click.echo(
        f"Bad: covers under {floor:.0%} of the situation's own values. Seed {seed}, {FOLDS} folds, 95% confidence."
    )


if __name__ == "__main__":
    main()
