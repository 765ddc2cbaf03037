"""How varied comments are, by their n-grams (the paper's Table 6, which does not define its statistic).

An n-gram is n words in a row within one comment; a word is a run of letters, digits and apostrophes, case ignored.
Knows texts; knows no task or model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ethos.errors import InputError

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


@dataclass(frozen=True, slots=True)
class Diversity:
    """How varied the comments of many items are. Means over items, but `per_text`, which is over all comments.

    Attributes:
        n: Words in an n-gram.
        items: How many sets of comments.
        texts: How many comments in all.
        words: Words in a comment; all counts below grow with it, so no two rows of unlike length can be compared.
        per_text: Distinct n-grams of one comment.
        over_set: Distinct n-grams of all comments of an item together. The paper's figures are of this size.
        share: Distinct n-grams of a set over all its n-grams, 0..1 (distinct-n; Li et al., NAACL 2016).
        overlap: Of the n-grams of an item's comments, the share that some other comment of the item has too, 0..1:
            what a set of comments says more than once. 0 where an item has one comment only.
    """

    n: int
    items: int
    texts: int
    words: float
    per_text: float
    over_set: float
    share: float
    overlap: float

    def as_dict(self) -> dict[str, float]:
        """Plain values, for JSON."""
        return asdict(self)


def words(text: str) -> list[str]:
    """The words of a text in order, case folded."""
    return _WORD.findall(text.casefold())


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """All n-grams of a text in order, repeated ones too; none of a text with fewer words."""
    found = words(text)
    return list(zip(*(found[start:] for start in range(n)), strict=False))


def diversity(sets: Sequence[Sequence[str]], n: int) -> Diversity:
    """Measure sets of comments, one set an item.

    Raises:
        InputError: There is no comment, or none has n words.
    """
    held = [[ngrams(text, n) for text in texts] for texts in sets if texts]
    if not any(grams for texts in held for grams in texts):
        raise InputError(f"no comment has {n} words, so there are no {n}-grams to count")
    distinct = [[set(grams) for grams in texts] for texts in held]
    unions = [set().union(*texts) for texts in distinct]
    counts = [sum(map(len, texts)) for texts in held]
    texts = sum(map(len, held))
    return Diversity(
        n,
        len(held),
        texts,
        sum(len(words(text)) for one in sets for text in one) / texts,
        sum(len(grams) for one in distinct for grams in one) / texts,
        _mean([len(union) for union in unions]),
        _mean([len(union) / count for union, count in zip(unions, counts, strict=True) if count]),
        _mean([_overlap(one, union) for one, union in zip(distinct, unions, strict=True) if union]),
    )


def _overlap(distinct: Sequence[set[tuple[str, ...]]], union: set[tuple[str, ...]]) -> float:
    return sum(sum(gram in grams for grams in distinct) > 1 for gram in union) / len(union)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
