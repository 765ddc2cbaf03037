"""How well panels cover the values at stake, without any language model: ``python benchmarks/panel.py DIR [--json]``.

DIR holds a VITAL-shaped ``vital_overton_valuekaleidoscope.json``. Pseudo-personas are made of the gold values of four
fifths of its situations, panels are chosen for the other fifth, five times over, so that no situation is ever on both
sides; with ``--starter`` panels are chosen from the starter pool instead, which none of the situations went into.
Coverage is the share of a situation's gold values, rights and duties whose cosine to some chosen core value or
right/duty reaches 0.7 (design.md section 6). "ours" is `ethos.pool.retrieval.selection.choose`, as the pool uses it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from ethos.answer import DEFAULT_THRESHOLD
from ethos.encoders.embedder import Vectors, open_embedder
from ethos.persona import Persona
from ethos.pool.curation.diversity import vendi
from ethos.pool.retrieval.demand import values_at_stake
from ethos.pool.retrieval.index import NEIGHBOURS
from ethos.pool.retrieval.selection import Candidates, choose, slots
from ethos.pool.starter import starter_panels

FILE = "vital_overton_valuekaleidoscope.json"
FOLDS = 5
K = 6
LEVELS = (0.7, 0.6)


@dataclass(frozen=True)
class Data:
    """Situations with their gold values, encoded; and pseudo-personas made of them.

    Attributes:
        situations: Unit rows, (situations, dimensions).
        values: Unit rows of the distinct value texts, (values, dimensions).
        gold: For each situation the rows of its gold values.
        personas: (personas, 3): situation, core value, right/duty.
        slots: Of each the numbers of its attributes, as the pool would hold them.
        asked: How many of the situations, the first ones, are asked about; the others are the starter pool's.
    """

    situations: Vectors
    values: Vectors
    gold: list[Any]
    personas: Any
    slots: dict[tuple[int, int, int], Any]
    asked: int


@dataclass(frozen=True)
class Query:
    """One situation to choose a panel for, and the personas it may choose from, nearest first."""

    data: Data
    situation: Any
    gold: Any
    candidates: Any
    relevance: Any
    rng: np.random.Generator

    def vectors(self, count: int) -> Any:
        """Unit rows of the nearest personas: the mean of their two values."""
        pairs = self.data.values[self.candidates[:count, 1]] + self.data.values[self.candidates[:count, 2]]
        return pairs / np.linalg.norm(pairs, axis=1, keepdims=True)


def load(folder: Path, starter: bool = False) -> Data:
    """Read and encode; a value or right/duty is paired with the next of its situation, in the file's order."""
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    panels = starter_panels() if starter else ()
    held = {text for panel in panels for persona in panel.personas for text in (persona.core_value, persona.right_duty)}
    texts = sorted({value for row in rows for value in row["vrd"]} | held)
    row_of = {text: i for i, text in enumerate(texts)}
    personas: set[tuple[int, int, int]] = set()
    for number, row in enumerate(rows):
        duties = [row_of[v] for v in row["vrd"] if v.lower().startswith(("right", "duty"))]
        values = [row_of[v] for v in row["vrd"] if not v.lower().startswith(("right", "duty"))]
        for i in range(max(len(duties), len(values)) if duties and values else 0):
            personas.add((number, values[i % len(values)], duties[i % len(duties)]))
    for number, panel in enumerate(panels, start=len(rows)):
        personas |= {(number, row_of[p.core_value], row_of[p.right_duty]) for p in panel.personas}
    embedder = open_embedder()
    gold = [np.array([row_of[v] for v in row["vrd"]]) for row in rows]
    situations = [row["situation"] for row in rows] + [panel.scenario.situation for panel in panels]
    ordered = np.array(sorted(personas))
    encoded = embedder.encode(situations), embedder.encode(texts)
    return Data(*encoded, gold, ordered, _slots(ordered, texts), len(rows))


def random_choice(query: Query) -> list[int]:
    """Any six of the pool."""
    return list(query.rng.choice(len(query.candidates), K, replace=False))


def nearest(query: Query) -> list[int]:
    """The six made for the nearest situations."""
    return list(range(K))


def mmr(query: Query) -> list[int]:
    """Maximal marginal relevance over the 100 nearest, lambda 0.7."""
    vectors, relevance = query.vectors(100), query.relevance[:100]
    chosen: list[int] = [0]
    while len(chosen) < K:
        score = 0.7 * relevance - 0.3 * (vectors @ vectors[chosen].T).max(axis=1)
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
    return chosen


def facility_location(query: Query) -> list[int]:
    """Greedy facility location over the 100 nearest, weights exp(similarity / 0.1)."""
    vectors = query.vectors(100)
    alike, weights = vectors @ vectors.T, np.exp(query.relevance[:100] / 0.1)
    served = np.zeros(len(vectors))
    chosen: list[int] = []
    for _ in range(K):
        gains = np.maximum(alike - served, 0) @ weights
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
        served = np.maximum(served, alike[chosen[-1]])
    return chosen


def kdpp(query: Query) -> list[int]:
    """Greedy MAP of a k-DPP over the 100 nearest (Chen et al. 2018), quality exp(similarity / 0.2)."""
    vectors, quality = query.vectors(100), np.exp(query.relevance[:100] / 0.2)
    kernel = quality[:, None] * (vectors @ vectors.T) * quality[None, :]
    left, rows = kernel.diagonal().astype(float).copy(), np.zeros((K, len(kernel)))
    chosen: list[int] = []
    for step in range(K):
        best = int(left.argmax())
        rows[step] = (kernel[best] - rows[:step, best] @ rows[:step]) / np.sqrt(max(left[best], 1e-12))
        left -= rows[step] ** 2
        chosen.append(best)
        left[chosen] = -np.inf
    return chosen


def ours(query: Query) -> list[int]:
    """The pool's own selection, over the personas of as many neighbours as the pool looks at."""
    near = np.unique(query.candidates[:, 0], return_index=True)[1]
    situations = query.candidates[np.sort(near)[:NEIGHBOURS], 0]
    rows = np.flatnonzero(np.isin(query.candidates[:, 0], situations))
    owned, inverse = np.unique(query.candidates[rows, 1:], return_inverse=True)
    pairs = inverse.reshape(-1, 2)
    place = {situation: number for number, situation in enumerate(situations.tolist())}
    where = [place[situation] for situation in query.candidates[rows, 0].tolist()]
    found = np.zeros((len(situations), len(owned)), dtype=bool)
    found[np.array(where)[:, None], pairs] = True
    values = query.data.values[owned]
    stakes = values_at_stake(query.situation, query.data.situations[situations], found, values)
    people = np.stack([query.data.slots[tuple(row)] for row in query.candidates[rows].tolist()])
    chosen = choose(Candidates(query.relevance[rows], pairs, people), values, stakes, K)
    return [int(rows[one.row]) for one in chosen]


def oracle(query: Query) -> list[int]:
    """Greedy over the 200 nearest by someone who sees the gold values."""
    alike = query.data.values[query.gold] @ query.data.values.T >= LEVELS[0]
    covers = alike[:, query.candidates[:200, 1]] | alike[:, query.candidates[:200, 2]]
    left, chosen = np.ones(len(query.gold), dtype=bool), []
    for _ in range(K):
        gains = covers[left].sum(axis=0).astype(float)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        left &= ~covers[:, chosen[-1]]
    return chosen


METHODS: dict[str, Callable[[Query], list[int]]] = {
    "random": random_choice,
    "nearest": nearest,
    "mmr": mmr,
    "facility_location": facility_location,
    "kdpp": kdpp,
    "ours": ours,
    "oracle": oracle,
}


def _slots(personas: Any, texts: list[str]) -> dict[tuple[int, int, int], Any]:
    """Of personas of two real texts; the others are unlike anybody's, so that only the real ones can clash."""
    made = [
        Persona(f"n{n}", texts[value], f"f{n}", texts[duty], f"e{n}", f"s{n}")
        for n, (_, value, duty) in enumerate(personas.tolist())
    ]
    return dict(zip(map(tuple, personas.tolist()), slots(persona.texts() for persona in made), strict=True))


def queries(data: Data, seed: int) -> list[Query]:
    """Every situation once, against the personas of the other folds, or of the starter pool, nearest first."""
    rng = np.random.default_rng(seed)
    starter = data.personas[:, 0] >= data.asked
    found = []
    for fold in np.array_split(rng.permutation(data.asked), FOLDS):
        pool = data.personas[starter if starter.any() else ~np.isin(data.personas[:, 0], fold)]
        for situation in fold:
            similar = data.situations[pool[:, 0]] @ data.situations[situation]
            order = np.argsort(-similar, kind="stable")
            found.append(
                Query(data, data.situations[situation], data.gold[situation], pool[order], similar[order], rng)
            )
    return found


def measure(name: str, asked: list[Query]) -> dict[str, Any]:
    """One row of the table."""
    coverage: dict[float, list[float]] = {level: [] for level in LEVELS}
    best_cosine, effective, distinct, milliseconds = [], [], [], []
    for query in asked:
        started = time.perf_counter()
        chosen = METHODS[name](query)
        milliseconds.append(1000 * (time.perf_counter() - started))
        values = query.data.values[np.unique(query.candidates[chosen, 1:])]
        best = (query.data.values[query.gold] @ values.T).max(axis=1)
        best_cosine.append(float(best.mean()))
        for level in LEVELS:
            coverage[level].append(float((best >= level).mean()))
        effective.append(vendi(query.vectors(len(query.candidates))[chosen]))
        distinct.append(len(np.unique(query.candidates[chosen, 1:])))
    mean = float(np.mean(coverage[0.7]))
    half = float(stats.t.ppf(0.975, len(asked) - 1) * stats.sem(coverage[0.7]))
    return {
        "method": name,
        "coverage_07": mean,
        "ci95": [mean - half, mean + half],
        "coverage_06": float(np.mean(coverage[0.6])),
        "best_cosine": float(np.mean(best_cosine)),
        "vendi": float(np.mean(effective)),
        "distinct_values": float(np.mean(distinct)),
        "hit_rate": hit_rate(asked),
        "ms": float(np.median(milliseconds)),
    }


def hit_rate(asked: list[Query]) -> float:
    """Share of queries for which the pool has a full panel of near enough personas; the same for every method."""
    return float(np.mean([query.relevance[K - 1] >= DEFAULT_THRESHOLD for query in asked]))


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Coverage by method with its interval, and panel diversity beside it."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [row["method"].replace("_", " ") for row in rows]
    colours = ["#c2410c" if row["method"] == "ours" else "#94a3b8" for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    coverage = [row["coverage_07"] for row in rows]
    errors = [c - row["ci95"][0] for c, row in zip(coverage, rows, strict=True)]
    left.barh(names, coverage, xerr=errors, color=colours, capsize=3)
    for y, value in enumerate(coverage):
        left.text(0.02, y, f"{value:.3f}", va="center", color="white", fontweight="bold")
    left.set(xlabel=f"value coverage@{K} at cosine 0.7, with 95% interval", xlim=(0, 1))
    left.invert_yaxis()
    right.barh(names, [row["vendi"] for row in rows], color=colours)
    right.set(xlabel=f"Vendi score of the panel, at most {K}", xlim=(0, K))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the folds and of the random row.")
@click.option("--limit", default=None, type=int, help="Only the first N queries.")
@click.option("--starter", is_flag=True, help="Choose from the starter pool.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw the rows into this file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(folder: Path, seed: int, limit: int | None, starter: bool, picture: Path | None, as_json: bool) -> None:
    """Measure panels on DIR's Overton situations."""
    asked = queries(load(folder, starter), seed)[:limit]
    rows = [measure(name, asked) for name in METHODS]
    by_name = {row["method"]: row["coverage_07"] for row in rows}
    ratio = by_name["ours"] / by_name["nearest"]
    if picture:
        plot(rows, picture)
    if as_json:
        click.echo(
            json.dumps({"rows": rows, "ours_over_nearest": ratio, "queries": len(asked), "seed": seed}, indent=2)
        )
        return
    table = Table(*("method", "coverage@6 (0.7)", "95%", "(0.6)", "best cosine", "Vendi", "distinct values", "ms"))
    for row in rows:
        low, high = row["ci95"]
        numbers = (row["coverage_06"], row["best_cosine"], row["vendi"], row["distinct_values"], row["ms"])
        shown = (f"{row['coverage_07']:.3f}", f"{low:.3f} to {high:.3f}", *(f"{number:.3f}" for number in numbers))
        table.add_row(row["method"], *shown)
    Console(width=110).print(table)
    click.echo(f"{len(asked)} queries, seed {seed}, {rows[0]['hit_rate']:.1%} of them hits at {DEFAULT_THRESHOLD}.")
    click.echo(f"ours / nearest = {ratio:.3f}")


if __name__ == "__main__":
    main()
