"""Explain a selection in words: each member's reasons, and the outcome of the other candidates.

Knows what was chosen from and the texts behind it; chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ethos.answer import Added, Candidate, Displaced, Member, Source
from ethos.persona import ATTRIBUTES, LABELS, Persona
from ethos.pool.retrieval.index import Neighbourhood
from ethos.pool.retrieval.selection import Chosen
from ethos.pool.storage.personas import Store

MOST_EXPLAINED = 24  # candidates whose outcome is reported
_CORE_VALUE, _RIGHT_DUTY = ATTRIBUTES.index("core_value"), ATTRIBUTES.index("right_duty")


class Explanation:
    """Puts a choice into words: all texts it needs are read at once.

    Args:
        store: The personas' texts.
        around: What was chosen from.
        chosen: Who was.
        values: Rows of values that will be asked for.
    """

    def __init__(self, store: Store, around: Neighbourhood, chosen: Sequence[Chosen], values: Sequence[int]) -> None:
        self._around = around
        # A value is said in the words of who was chosen for it, where it can be: those are read anyway.
        self._said = {
            value: (around.persona_ids[one.row], duty)
            for one in chosen
            for duty, value in enumerate(around.candidates.values[one.row].tolist())
        }
        rows = {one.row for one in chosen} | {one.displaced for one in chosen if one.displaced is not None}
        shown = {*values, *(row for one in chosen for row, _ in one.adds)}
        people = {around.persona_ids[row] for row in rows} | {self._holder(row)[0] for row in shown}
        made_for = {around.scenario_ids[one.row] for one in chosen}
        self._texts, self._situations = store.texts(decoded(people), decoded(made_for))

    def value(self, row: int) -> str:
        """The text of a value."""
        holder, duty = self._holder(row)
        return self._texts[holder.decode()][_RIGHT_DUTY if duty else _CORE_VALUE]

    def _holder(self, row: int) -> tuple[bytes, int]:
        """Somebody whose text a value is, and whether it is their right/duty."""
        return self._said.get(row) or (self._around.holders[row], self._around.duties[row])

    def member(self, rank: int, chosen: Chosen) -> Member:
        """One of the chosen, and why."""
        texts, relevance = self._who(chosen.row)
        persona = Persona.stored(self._around.persona_ids[chosen.row].decode(), texts)
        situation = self._situations[self._around.scenario_ids[chosen.row].decode()]
        reason = (
            f"covers {chosen.gain:.0%} of the values at stake ({persona.core_value}; {persona.right_duty}), "
            f"made for “{situation[:80]}”"
        )
        adds = tuple(Added(self.value(row), round(share, 6)) for row, share in chosen.adds)
        return Member(persona, Source.POOL, rank, relevance, reason, adds, self._displaced(chosen))

    def _displaced(self, chosen: Chosen) -> Displaced | None:
        if chosen.displaced is None:
            return None
        texts, relevance = self._who(chosen.displaced)
        if chosen.clash:
            repeated = texts[ATTRIBUTES.index(chosen.clash)]
            cause = f"repeats the {LABELS[chosen.clash].lower()} of one chosen before: {repeated}"
        else:
            cause = "would have added less of the values at stake"
        name = texts[ATTRIBUTES.index("name")]
        return Displaced(self._around.persona_ids[chosen.displaced].decode(), name, relevance, cause)

    def _who(self, row: int) -> tuple[tuple[str, ...], float]:
        relevance = float(self._around.candidates.relevance[row])
        return self._texts[self._around.persona_ids[row].decode()], round(relevance, 6)


def fates(
    around: Neighbourhood, chosen: Sequence[Chosen], stay: Sequence[Chosen], threshold: float
) -> tuple[Candidate, ...]:
    """What became of the most relevant candidates, and of all who were chosen.

    Args:
        around: All candidates.
        chosen: Who was, before the gate.
        stay: Those of them whom the gate let through, in order.
        threshold: Relevance from which a candidate may be chosen.
    """
    ranks = {one.row: rank for rank, one in enumerate(stay, start=1)}
    rows = sorted({*range(min(MOST_EXPLAINED, len(around.candidates))), *(one.row for one in chosen)})
    weak = {one.row for one in chosen} - ranks.keys()
    slots = around.candidates.slots
    repeats = (slots[rows][:, None] == slots[list(ranks)]).any(axis=1).tolist()  # (rows, attributes)
    ids, relevances = around.persona_ids[rows].tolist(), around.candidates.relevance[rows].tolist()
    found = []
    for row, identifier, relevance, repeated in zip(rows, ids, relevances, repeats, strict=True):
        if row in ranks:
            fate = f"chosen, rank {ranks[row]}"
        elif row in weak:
            fate = "chosen at first, but it covers too little for the calibrated gate"
        elif relevance < threshold:
            fate = f"below the threshold of {threshold:.2f}"
        elif any(repeated):
            attributes = (LABELS[name].lower() for name, same in zip(ATTRIBUTES, repeated, strict=True) if same)
            fate = f"repeats the {' and the '.join(attributes)} of one that was chosen"
        else:
            fate = "would have added less of the values at stake"
        found.append(Candidate(identifier.decode(), round(relevance, 6), fate))
    return tuple(found)


def decoded(ids: Iterable[bytes]) -> list[str]:
    """Ids as texts."""
    return [one.decode() for one in ids]
