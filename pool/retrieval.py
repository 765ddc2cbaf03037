"""The pool as the pipeline sees it: ask for a panel, add what was generated.

Ties the store, the index, the selection and the gate together; knows no language model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ethos.answer import DEFAULT_THRESHOLD, Added, Decision, Displaced, Gate, Member, Source
from ethos.cleaning import digest
from ethos.embedding import Embedder, Vectors
from ethos.errors import InputError
from ethos.generation import Example
from ethos.persona import LABELS, OriginKind, Persona, clashes
from ethos.pool.calibration import Calibration, Target, Trial, calibration
from ethos.pool.database import Database
from ethos.pool.duplicates import Pair, find_duplicates
from ethos.pool.facts import Facts
from ethos.pool.gate import admit, decide, eligible
from ethos.pool.index import Neighbourhood, ScenarioIndex
from ethos.pool.selection import COVERED, Candidate, Chosen, choose, covered
from ethos.pool.store import Origin, Placed, Store, now
from ethos.pool.threads import one_thread
from ethos.pool.vectors import VectorStore
from ethos.scenario import Scenario

CALIBRATION = "calibration"
MOST_TRIALS = 2000  # scenarios that are held out; more would narrow the interval by little
EXAMPLES = 12  # that a model may be shown: two for each of six
SHOWN = 5  # values that a member is said to add


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What the pool offers for a scenario.

    Attributes:
        members: Those it can give, in order of choice; fewer than asked for unless the gate says hit.
        gate: The decision.
        uncovered: Values at stake that none of the members speaks for, the greatest first; only where some are kept
            and others missing.
        encoding_seconds: Time spent in the encoder.
    """

    members: tuple[Member, ...]
    gate: Gate
    uncovered: tuple[str, ...] = ()
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
        self.facts = Facts(self.database)
        self.threshold = threshold
        self._embedder = embedder
        self._index = ScenarioIndex(self.store, VectorStore(self.database), embedder)

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
        chosen, coverage = self._choose(around, k)
        required = self._required(k) if len(chosen) == k else 0.0
        stay = admit(chosen, coverage, required, k)
        return Retrieval(
            tuple(_member(rank, one, around) for rank, one in enumerate(stay, start=1)),
            decide(around.candidates, len(stay), k, self.threshold, coverage, required),
            _uncovered(around, stay, 2 * (k - len(stay))) if stay else (),
            encoded,
        )

    def search(self, text: str, k: int) -> list[Candidate]:
        """The k personas whose scenarios are nearest to a text, whatever the gate would say."""
        return sorted(self._index.nearest(text).candidates, key=lambda c: (-c.relevance, c.persona.id))[:k]

    def examples(self, scenario: Scenario) -> tuple[Example, ...]:
        """Personas to show a model that invents some for a scenario, nearest first, distinct in every attribute.

        Curated and imported ones only, since a model that is shown its own output drifts; none that were made for the
        scenario itself.
        """
        written = self.store.of_kind(OriginKind.CURATED, OriginKind.IMPORTED)
        if not written:
            return ()
        around = self._index.nearest(scenario.situation, without=scenario.situation)
        chosen: list[Candidate] = []
        for candidate in sorted(around.candidates, key=lambda c: (-c.relevance, c.persona.id)):
            if len(chosen) == EXAMPLES:
                break
            if candidate.persona.id in written and not clashes(candidate.persona, [c.persona for c in chosen]):
                chosen.append(candidate)
        return tuple(Example(candidate.situation, candidate.persona) for candidate in chosen)

    def add(self, scenario: Scenario, personas: Sequence[Persona], origin: Origin, panel: Sequence[Placed] = ()) -> int:
        """Store personas made for a scenario; see `Store.add`."""
        return self.store.add(scenario, personas, origin, panel)

    def vectors(self, texts: Iterable[str]) -> dict[str, Vectors]:
        """Unit vectors of texts, stored ones where there are any."""
        return self._index.vectors(texts)

    def refresh(self) -> None:
        """Encode what is new, so that the next question does not have to wait for it."""
        self._index.catch_up()

    def calibration(self, trials: Sequence[Trial], target: Target, k: int) -> Calibration:
        """What the gate would have to demand; nothing is stored.

        Args:
            trials: What `trials` found for panels of this size.
            target: What is to be guaranteed.
            k: Size of the panels the guarantee is for.
        """
        embedder = self._embedder.identity.id
        return calibration(trials, target, k=k, threshold=self.threshold, embedder=embedder, created_at=now())

    def calibrate(self, found: Calibration | None) -> None:
        """Let the gate demand what a calibration found, from now on; None takes back what it demanded before."""
        self.facts.put(CALIBRATION, found.as_dict() if found else None)

    def duplicates(self) -> list[Pair]:
        """The pairs of active personas that say the same in nearly the same words."""
        links = self.store.links()
        return find_duplicates(self.database, links, self.vectors(link.persona.line for link in links))

    def trials(self, k: int, progress: Callable[[int, int], None]) -> list[Trial]:
        """Ask each of the pool's scenarios as if the pool did not have it; at most `MOST_TRIALS`, drawn evenly.

        Args:
            k: Size of the panels.
            progress: Told how many of how many scenarios were tried.

        Raises:
            InputError: The pool has fewer than two scenarios.
        """
        scenarios = self._index.scenarios()
        if len(scenarios) < 2:
            raise InputError(
                f"the pool has {len(scenarios)} scenarios, which is too few to hold any out",
                "fill it with `ethos pool init` or `ethos pool build` first",
            )
        # By content address: an order that means nothing, and is the same each time.
        drawn = sorted(scenarios, key=lambda situation: digest("trial", situation))[:MOST_TRIALS]
        trials = []
        for number, situation in enumerate(drawn, start=1):
            around = self._index.nearest(situation, without=situation)
            chosen, estimate = self._choose(around, k)
            own = sorted({text for p in scenarios[situation] for text in (p.core_value, p.right_duty)})
            achieved = self._achieved(own, chosen, around)
            trials.append(Trial(estimate if len(chosen) == k else None, achieved))
            progress(number, len(drawn))
        return trials

    def calibrated(self) -> Calibration | None:
        """The stored calibration; None if there is none."""
        stored = self.facts.get(CALIBRATION)
        return None if stored is None else Calibration.of(stored)

    def close(self) -> None:
        """Release the database."""
        self.database.close()

    def _choose(self, around: Neighbourhood, k: int) -> tuple[list[Chosen], float]:
        """The best panel of those near enough, and the share of what is at stake that it covers."""
        with one_thread():
            chosen = choose(eligible(around.candidates, self.threshold), around.vectors, around.stakes, k)
            return chosen, covered([one.candidate for one in chosen], around.vectors, around.stakes)

    def _required(self, k: int) -> float:
        found = self.calibrated()
        return found.required if found and found.applies(k, self.threshold, self._embedder.identity.id) else 0.0

    def _achieved(self, own: Sequence[str], chosen: Sequence[Chosen], around: Neighbourhood) -> float:
        if not chosen:
            return 0.0
        vectors = self._index.vectors(own)
        held = around.vectors[[row for one in chosen for row in one.candidate.values]]
        return float(np.mean([(held @ vectors[text]).max() >= COVERED for text in own]))


def _member(rank: int, chosen: Chosen, around: Neighbourhood) -> Member:
    candidate = chosen.candidate
    reason = (
        f"covers {chosen.gain:.0%} of the values at stake ({candidate.persona.core_value}; "
        f"{candidate.persona.right_duty}), made for “{candidate.situation[:80]}”"
    )
    adds = tuple(Added(around.texts[row], round(share, 6)) for row, share in chosen.adds[:SHOWN])
    relevance = round(candidate.relevance, 6)
    return Member(candidate.persona, Source.POOL, rank, relevance, reason, adds, _displaced(chosen))


def _displaced(chosen: Chosen) -> Displaced | None:
    if chosen.displaced is None:
        return None
    persona, relevance = chosen.displaced.persona, round(chosen.displaced.relevance, 6)
    if chosen.clash:
        cause = f"repeats the {LABELS[chosen.clash].lower()} of one chosen before: {getattr(persona, chosen.clash)}"
    else:
        cause = "would have added less of the values at stake"
    return Displaced(persona.id, persona.name, relevance, cause)


def _uncovered(around: Neighbourhood, kept: Sequence[Chosen], count: int) -> tuple[str, ...]:
    """The values most at stake that none of the kept speaks for, unlike each other."""
    held = around.vectors[[row for one in kept for row in one.candidate.values]]
    found: list[int] = []
    for row in np.argsort(-around.stakes, kind="stable"):
        if len(found) == count:
            break
        if (np.concatenate([held, around.vectors[found]]) @ around.vectors[row]).max() < COVERED:
            found.append(int(row))
    return tuple(around.texts[row] for row in found)
