"""The pool as the pipeline sees it: ask for a panel, add what was generated.

Ties the store, the index, the selection and the gate together; knows no language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ethos.answer import DEFAULT_THRESHOLD, Decision, Gate, Member, Source
from ethos.embedding import Embedder
from ethos.persona import Persona
from ethos.pool.database import Database
from ethos.pool.gate import decide, eligible
from ethos.pool.index import ScenarioIndex
from ethos.pool.selection import Candidate, Chosen, choose
from ethos.pool.store import Origin, Placed, Store
from ethos.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What the pool offers for a scenario.

    Attributes:
        members: Those it can give, in order of choice; fewer than asked for unless the gate says hit.
        gate: The decision.
        encoding_seconds: Time spent in the encoder.
    """

    members: tuple[Member, ...]
    gate: Gate
    encoding_seconds: float = 0.0


class Pool:
    """All personas of one folder.

    Args:
        folder: The pool folder; made if it does not exist.
        embedder: Encodes scenarios and values.
        threshold: Relevance from which a pool persona is kept, cosine.

    Raises:
        PoolError: The folder cannot be used, the database is damaged or newer than this version.
    """

    def __init__(self, folder: Path, embedder: Embedder, threshold: float = DEFAULT_THRESHOLD) -> None:
        self.database = Database(folder)
        self.store = Store(self.database)
        self.threshold = threshold
        self._index = ScenarioIndex(self.store, embedder)

    def retrieve(self, scenario: Scenario, k: int) -> Retrieval:
        """The panel the pool can give, complete or not.

        A panel that was generated for exactly this scenario is given as it is, without any encoding.
        """
        if stored := self.store.panel(scenario.key, k):
            members = tuple(
                Member(p.persona, Source.POOL, rank, p.relevance, "in the panel stored for exactly this scenario")
                for rank, p in enumerate(stored, start=1)
            )
            return Retrieval(members, Gate(Decision.HIT, 1.0, self.threshold))
        encoded = self._index.encoding_seconds
        around = self._index.nearest(scenario.situation)
        encoded = self._index.encoding_seconds - encoded
        chosen = choose(eligible(around.candidates, self.threshold), around.vectors, around.stakes, k)
        gate = decide(around.candidates, len(chosen), k, self.threshold)
        return Retrieval(tuple(_member(rank, c) for rank, c in enumerate(chosen, start=1)), gate, encoded)

    def search(self, text: str, k: int) -> list[Candidate]:
        """The k personas whose scenarios are nearest to a text, whatever the gate would say."""
        return sorted(self._index.nearest(text).candidates, key=lambda c: (-c.relevance, c.persona.id))[:k]

    def add(self, scenario: Scenario, personas: Sequence[Persona], origin: Origin, panel: Sequence[Placed] = ()) -> int:
        """Store personas made for a scenario; see `Store.add`."""
        return self.store.add(scenario, personas, origin, panel)

    def refresh(self) -> None:
        """Encode what is new, so that the next question does not have to wait for it."""
        self._index.catch_up()

    def close(self) -> None:
        """Release the database."""
        self.database.close()


def _member(rank: int, chosen: Chosen) -> Member:
    candidate = chosen.candidate
    reason = (
        f"covers {chosen.gain:.0%} of the values at stake ({candidate.persona.core_value}; "
        f"{candidate.persona.right_duty}), made for “{candidate.situation[:80]}”"
    )
    return Member(candidate.persona, Source.POOL, rank, round(candidate.relevance, 6), reason)
