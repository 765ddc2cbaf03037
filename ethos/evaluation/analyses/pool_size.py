"""How much a pool serves as it grows: size against coverage and hit rate, without any language model.

Pseudo-personas are made of the gold values of situations, put into a real pool, and panels are retrieved from it for
situations that it has never seen, as `ethos answer` would. The gold of the unseen situations says how much they cover.
Knows Overton items and a pool; knows no method.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ethos.answer import Decision
from ethos.encoders.embedder import Embedder
from ethos.errors import InputError
from ethos.evaluation.metrics.intervals import Estimate, mean_interval
from ethos.evaluation.tasks.task import Item
from ethos.persona import OriginKind, Persona
from ethos.pool.curation.statistics import statistics
from ethos.pool.pool import Pool
from ethos.pool.retrieval.selection import COVERED
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

SIZES = (25, 50, 100, 200, 400, 800)
_RIGHTS = ("right", "duty")


@dataclass(frozen=True, slots=True)
class Size:
    """A pool of one size.

    Attributes:
        scenarios: Situations that the pool knows.
        personas: In it.
        hit_rate: Share of unseen situations for which it has a whole panel of near enough personas.
        partial_rate: Share for which it has a part of one.
        coverage: Share of an unseen situation's gold values whose cosine to a core value or right/duty of the panel
            reaches 0.7; what the pool could not give covers nothing.
    """

    scenarios: int
    personas: int
    hit_rate: Estimate
    partial_rate: Estimate
    coverage: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Size:
        """From what `as_dict` gave.

        Raises:
            KeyError, TypeError: It is something else.
        """
        rates = (Estimate(**row[name]) for name in ("hit_rate", "partial_rate", "coverage"))
        return cls(int(row["scenarios"]), int(row["personas"]), *rates)


def grow(
    folder: Path,
    items: Sequence[Item],
    embedder: Embedder,
    k: int,
    sizes: Sequence[int],
    asked: int,
    seed: int,
    progress: Callable[[str], None],
) -> Iterator[Size]:
    """Measure a pool while it grows.

    Args:
        folder: Where the pool is made; must be empty, and is the caller's to delete.
        items: Overton items; a situation is on one side only, the pool's or the unseen.
        embedder: The pool's encoder.
        k: Personas in a panel.
        sizes: Situations that the pool shall know; those beyond what there is are left out.
        asked: Unseen situations.
        seed: Of who is on which side.
        progress: Told what is being done.

    Raises:
        InputError: There are no sizes that leave `asked` situations unseen.
    """
    known = [item for item in random.Random(seed).sample(list(items), len(items)) if item.values]
    unseen, rest = known[:asked], known[asked:]
    reached = [size for size in sorted(set(sizes)) if size <= len(rest)]
    if not unseen or not reached:
        raise InputError(
            f"{len(known)} situations with gold are too few: {asked} stay unseen, and the smallest pool needs "
            f"{min(sizes, default=0)}",
            "ask fewer, or name smaller sizes",
        )
    texts = sorted({value.name for item in unseen for value in item.values})
    gold = dict(zip(texts, embedder.encode(texts), strict=True))
    pool, filled = Pool(folder, embedder), 0
    try:
        for size in reached:
            progress(f"a pool of {size} situations")
            for item in rest[filled:size]:
                pool.add(Scenario(item.scenario.situation), pseudo_personas(item), _ORIGIN)
            filled = size
            yield _measure(pool, size, unseen, gold, k)
    finally:
        pool.close()


_ORIGIN = Origin(OriginKind.CURATED, source="gold values of an evaluation task")


def pseudo_personas(item: Item) -> list[Persona]:
    """Personas of a situation's gold: each value with a right or duty, in the file's order.

    Their other attributes are nobody else's, so that only values decide. None of a situation without both sorts.
    """
    names = list(dict.fromkeys(value.name for value in item.values))
    rights = [name for name in names if name.casefold().startswith(_RIGHTS)]
    values = [name for name in names if name not in rights]
    if not rights or not values:
        return []
    pairs = ((values[i % len(values)], rights[i % len(rights)]) for i in range(max(len(values), len(rights))))
    return [
        Persona(
            f"Voice {item.id}-{i}", value, f"view {item.id}-{i}", right, f"mood {item.id}-{i}", f"role {item.id}-{i}"
        )
        for i, (value, right) in enumerate(pairs)
    ]


def _measure(pool: Pool, size: int, unseen: Sequence[Item], gold: dict[str, Any], k: int) -> Size:
    hits, partial, coverages = [], [], []
    for item in unseen:
        found = pool.retrieve(Scenario(item.scenario.situation), k)
        hits.append(float(found.gate.decision is Decision.HIT))
        partial.append(float(found.gate.decision is Decision.PARTIAL))
        spoken = [text for m in found.members for text in (m.persona.core_value, m.persona.right_duty)]
        coverages.append(_covered(item, spoken, gold, pool))
    stats = statistics(pool.database)
    personas = stats["personas"]
    assert isinstance(personas, int)
    return Size(size, personas, mean_interval(hits), mean_interval(partial), mean_interval(coverages))


def _covered(item: Item, spoken: Sequence[str], gold: dict[str, Any], pool: Pool) -> float:
    if not spoken:
        return 0.0
    held = pool.vectors(spoken)
    wanted = np.stack([gold[name] for name in dict.fromkeys(value.name for value in item.values)])
    alike = wanted @ np.stack([held[text] for text in spoken]).T
    return float((alike.max(axis=1) >= COVERED).mean())
