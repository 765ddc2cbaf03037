"""Finds personas with the failures of the paper's Table 14, and texts that a small model has spoilt.

Knows which rules find which kind of failure, and runs them; the rules are in `lint_words` and `lint_vectors`. That two
personas contradict each other is no fault, since a panel is there to disagree. Knows links and a lookup of vectors;
knows no database, encoder or language model, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ethos.pool.curation.lint_vectors import Lookup, Spotted, misplaced_values, thematic_overlap
from ethos.pool.curation.lint_words import (
    abstract_role,
    copied_scenario,
    cut_off,
    empty_value,
    excluded_by_framework,
    groundless_entitlement,
    misfiled_text,
    negating_prefixes,
    opposed_concepts,
    opposed_verbs,
    repeated_attribute,
    repeated_words,
    rival_schools,
    sentence,
    worked_example,
)
from ethos.pool.storage.values import Link


class Kind(StrEnum):
    """What is wrong; the first four are Table 14's."""

    CONTRADICTION = "contradiction"
    ABSTRACT_STAKEHOLDER = "abstract stakeholder"
    OVEREXTENDED_VALUE = "overextended value"
    THEMATIC_OVERLAP = "thematic overlap"
    TEXT_FAULT = "text fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong in a pool.

    Attributes:
        persona_ids: Full ids of whom it concerns; several for an overlap, else one.
        kind: What is wrong.
        message: What exactly, with the texts.
        situation: The scenario they were made for.
    """

    persona_ids: tuple[str, ...]
    kind: Kind
    message: str
    situation: str

    @property
    def fix(self) -> str:
        """The command that repairs it; of personas that overlap the first may stay."""
        gone = self.persona_ids[1:] if self.kind is Kind.THEMATIC_OVERLAP else self.persona_ids
        return " ".join(("ethos pool retire", *(persona_id[:12] for persona_id in gone)))


_ON_WORDS: dict[Kind, tuple[Callable[[Link], Iterator[str]], ...]] = {
    Kind.CONTRADICTION: (opposed_concepts, negating_prefixes, opposed_verbs, excluded_by_framework, rival_schools),
    Kind.ABSTRACT_STAKEHOLDER: (abstract_role,),
    Kind.OVEREXTENDED_VALUE: (empty_value, groundless_entitlement),
    Kind.TEXT_FAULT: (
        misfiled_text, sentence, cut_off, repeated_words, repeated_attribute, copied_scenario, worked_example
    ),
}  # fmt: skip
_ON_VECTORS: dict[Kind, Callable[[Sequence[Link], Lookup], Iterator[Spotted]]] = {
    Kind.OVEREXTENDED_VALUE: misplaced_values,
    Kind.THEMATIC_OVERLAP: thematic_overlap,
}


def lint(links: Sequence[Link], vectors: Lookup) -> list[Finding]:
    """What is wrong with the personas of a pool.

    Args:
        links: Every active persona with every scenario it was made for.
        vectors: Gives the unit vectors of situations, core values and rights/duties.

    Returns:
        By kind, in the order of `Kind`, then by scenario. A fault of the words alone comes once a persona.
    """
    found = [
        Finding((link.persona.id,), kind, message, link.situation)
        for link in links
        for kind, rules in _ON_WORDS.items()
        for rule in rules
        for message in rule(link)
    ]
    found += [
        Finding(tuple(link.persona.id for link in concerned), kind, message, concerned[0].situation)
        for kind, rule in _ON_VECTORS.items()
        for concerned, message in rule(links, vectors)
    ]
    once = {(finding.persona_ids, finding.kind, finding.message): finding for finding in reversed(found)}
    order = list(Kind)
    return sorted(once.values(), key=lambda f: (order.index(f.kind), f.situation, f.persona_ids, f.message))
