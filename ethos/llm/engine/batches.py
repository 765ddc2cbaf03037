"""Group prompts into batches: common prefixes together, and similar lengths.

A pure function of token ids, so that the same requests are always computed together. Knows neither tensors nor text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Row = Sequence[int]


@dataclass(frozen=True, slots=True)
class Family:
    """Prompts that begin alike.

    Attributes:
        members: Positions of the prompts.
        shared: How many tokens at their start are read once for all: those that are the same, as `shared_prefix`
            counts them; of a lone prompt none, or what `levelled` makes of it.
    """

    members: tuple[int, ...]
    shared: int


def batches(rows: Sequence[Row], most: int) -> Iterator[tuple[Family, ...]]:
    """Batches of at most `most` prompts, longest prompts first, so that a batch pads little.

    A family is kept whole, and never exceeds a batch.
    """
    batch: list[Family] = []
    for family in sorted(families(rows, most), key=lambda family: -max(len(rows[i]) for i in family.members)):
        if batch and sum(len(other.members) for other in batch) + len(family.members) > most:
            yield tuple(batch)
            batch = []
        batch.append(family)
    if batch:
        yield tuple(batch)


def families(rows: Sequence[Row], most: int) -> list[Family]:
    """Divide prompts into families of at most `most` such that as few tokens as possible are read.

    What all prompts share is no reason for a family: it is read once anyway.
    """
    order = sorted(range(len(rows)), key=lambda i: tuple(rows[i]))
    common = shared_prefix(rows)
    # In this order prompts that begin alike are neighbours, and what several share is the least that neighbours do.
    neighbours = [shared_prefix([rows[i], rows[j]]) for i, j in pairwise(order)]
    saved, begins = (
        [0],
        [0],
    )  # the most tokens saved by the first n prompts, and where the last of their families begins
    for end in range(1, len(order) + 1):
        best, begin, shared = saved[end - 1], end - 1, len(rows[order[end - 1]])
        for start in range(end - 2, max(end - most, 0) - 1, -1):
            shared = min(shared, neighbours[start])
            if shared <= common:
                break
            if (saving := saved[start] + (end - start - 1) * (shared - common)) > best:
                best, begin = saving, start
        saved.append(best)
        begins.append(begin)
    found = []
    while order:
        members = order[begins[len(order)] :]
        del order[-len(members) :]
        found.append(Family(tuple(sorted(members)), shared_prefix([rows[i] for i in members])))
    return found[::-1]


def levelled(rows: Sequence[Row], batch: Sequence[Family]) -> list[Family]:
    """The families of a batch, without the prompts that go on much longer than others after what they share.

    What is read at once has one width, and all else is padding: for one long prompt a padded rest for every row. Where
    fewer tokens are computed so, such a prompt is a family of its own, of which only an end as long as the others' is
    left to read with them, and of which `ahead` is read before.
    """
    common = shared_prefix([rows[i] for family in batch for i in family.members])
    rests = {i: len(rows[i]) - max(common, family.shared) for family in batch for i in family.members}

    def cut(width: int) -> list[Family]:
        found = []
        for family in batch:
            if short := tuple(i for i in family.members if rests[i] <= width):
                found.append(Family(short, family.shared))
            found += [Family((i,), len(rows[i]) - width) for i in family.members if rests[i] > width]
        return found

    def computed(found: list[Family]) -> int:
        first = ahead(found, common)
        stem = max(max(common, family.shared) - common - more for family, more in zip(found, first, strict=True))
        rest = max(len(rows[i]) - max(common, family.shared) for family in found for i in family.members)
        return sum(map(bool, first)) * max(first) + len(found) * stem + len(rests) * rest

    return min(map(cut, sorted(set(rests.values()), reverse=True)), key=computed)


def ahead(families: Sequence[Family], common: int) -> list[int]:
    """How many tokens of each family's, from where all families part, are more than any of several prompts share."""
    usual = max((family.shared for family in families if len(family.members) > 1), default=common)
    return [max(0, family.shared - max(usual, common)) for family in families]


def shared_prefix(rows: Sequence[Row]) -> int:
    """How many leading tokens all rows share, leaving at least one of each to read alone; 0 of a lone row."""
    if len(rows) == 1:
        return 0
    most = min(map(len, rows)) - 1
    return next((i for i, tokens in enumerate(zip(*rows, strict=False)) if i == most or len(set(tokens)) > 1), most)
