"""How well panels cover the values at stake, without any language model: ``python benchmarks/panel.py DIR [--json]``.

DIR holds a VITAL-shaped ``vital_overton_valuekaleidoscope.json``. Pseudo-personas are made of the gold values of four
fifths of its situations, panels are chosen for the other fifth, five times over, so that no situation is ever on both
sides. Coverage is the share of a situation's gold values, rights and duties whose cosine to some chosen core value or
right/duty reaches 0.7 (design.md section 6). "ours" is `ethos.pool.selection.choose`, as the pool uses it.
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

from ethos.embedding import SentenceEmbedder, Vectors
from ethos.persona import Persona
from ethos.pool.demand import values_at_stake
from ethos.pool.index import NEIGHBOURS
from ethos.pool.selection import Candidate, choose

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
        texts: The value texts.
    """

    situations: Vectors
    values: Vectors
    gold: list[Any]
    personas: Any
    texts: list[str]


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


def load(folder: Path) -> Data:
    """Read and encode; a value or right/duty is paired with the next of its situation, in the file's order."""
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    texts = sorted({value for row in rows for value in row["vrd"]})
    row_of = {text: i for i, text in enumerate(texts)}
    personas: set[tuple[int, int, int]] = set()
    for number, row in enumerate(rows):
        duties = [row_of[v] for v in row["vrd"] if v.lower().startswith(("right", "duty"))]
        values = [row_of[v] for v in row["vrd"] if not v.lower().startswith(("right", "duty"))]
        for i in range(max(len(duties), len(values)) if duties and values else 0):
            personas.add((number, values[i % len(values)], duties[i % len(duties)]))
    embedder = SentenceEmbedder()
    gold = [np.array([row_of[v] for v in row["vrd"]]) for row in rows]
    situations = embedder.encode([row["situation"] for row in rows])
    return Data(situations, embedder.encode(texts), gold, np.array(sorted(personas)), texts)


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
    candidates = [
        Candidate(_persona(query.data, query.candidates[row], row), float(query.relevance[row]), "", (int(a), int(b)))
        for row, (a, b) in zip(rows, pairs, strict=True)
    ]
    position = {candidate.persona.name: int(row) for candidate, row in zip(candidates, rows, strict=True)}
    values = query.data.values[owned]
    held = [pairs[query.candidates[rows, 0] == situation].ravel() for situation in situations]
    stakes = values_at_stake(query.situation, query.data.situations[situations], held, values)
    return [position[c.candidate.persona.name] for c in choose(candidates, values, stakes, K)]


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


def _persona(data: Data, row: Any, number: int) -> Persona:
    """A persona of two real texts; the others are unlike anybody's, so that only the real ones can clash."""
    return Persona(f"n{number}", data.texts[row[1]], f"f{number}", data.texts[row[2]], f"e{number}", f"s{number}")


def queries(data: Data, seed: int) -> list[Query]:
    """Every situation once, against the personas of the other folds, nearest first."""
    rng = np.random.default_rng(seed)
    found = []
    for fold in np.array_split(rng.permutation(len(data.gold)), FOLDS):
        pool = data.personas[~np.isin(data.personas[:, 0], fold)]
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
    best_cosine, vendi, milliseconds = [], [], []
    for query in asked:
        started = time.perf_counter()
        chosen = METHODS[name](query)
        milliseconds.append(1000 * (time.perf_counter() - started))
        values = query.data.values[np.unique(query.candidates[chosen, 1:])]
        best = (query.data.values[query.gold] @ values.T).max(axis=1)
        best_cosine.append(float(best.mean()))
        for level in LEVELS:
            coverage[level].append(float((best >= level).mean()))
        vendi.append(_vendi(query.vectors(len(query.candidates))[chosen]))
    mean = float(np.mean(coverage[0.7]))
    half = float(stats.t.ppf(0.975, len(asked) - 1) * stats.sem(coverage[0.7]))
    return {
        "method": name,
        "coverage_07": mean,
        "ci95": [mean - half, mean + half],
        "coverage_06": float(np.mean(coverage[0.6])),
        "best_cosine": float(np.mean(best_cosine)),
        "vendi": float(np.mean(vendi)),
        "ms": float(np.median(milliseconds)),
    }


def _vendi(vectors: Any) -> float:
    """The effective number of different personas, 1..k (Vendi score, Friedman and Dieng 2023)."""
    weights = np.linalg.eigvalsh(vectors @ vectors.T / len(vectors)).clip(1e-12)
    return float(np.exp(-(weights * np.log(weights)).sum()))


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the folds and of the random row.")
@click.option("--limit", default=None, type=int, help="Only the first N queries.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(folder: Path, seed: int, limit: int | None, as_json: bool) -> None:
    """Measure panels on DIR's Overton situations."""
    asked = queries(load(folder), seed)[:limit]
    rows = [measure(name, asked) for name in METHODS]
    by_name = {row["method"]: row["coverage_07"] for row in rows}
    ratio = by_name["ours"] / by_name["nearest"]
    if as_json:
        click.echo(
            json.dumps({"rows": rows, "ours_over_nearest": ratio, "queries": len(asked), "seed": seed}, indent=2)
        )
        return
    table = Table(*("method", "coverage@6 (0.7)", "95%", "(0.6)", "best cosine", "Vendi", "ms"))
    for row in rows:
        low, high = row["ci95"]
        numbers = (row["coverage_06"], row["best_cosine"], row["vendi"], row["ms"])
        shown = (f"{row['coverage_07']:.3f}", f"{low:.3f} to {high:.3f}", *(f"{number:.3f}" for number in numbers))
        table.add_row(row["method"], *shown)
    Console().print(table)
    click.echo(f"{len(asked)} queries, seed {seed}. ours / nearest = {ratio:.3f}")


if __name__ == "__main__":
    main()
