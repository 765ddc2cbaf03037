"""`Pool`: retrieve a panel, add generated personas.

Ties the store, the index, the selection and the gate together; knows no language model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ethos.answer import DEFAULT_THRESHOLD, Candidate, Decision, Gate, Member, Source
from ethos.encoders.embedder import Embedder, Vectors, open_embedder
from ethos.errors import InputError
from ethos.generation.drafts import Example
from ethos.persona import OriginKind, Persona, clashes
from ethos.pool.retrieval.calibration import Calibration, Target, Trial, calibration
from ethos.pool.retrieval.explanation import Explanation, decoded, fates
from ethos.pool.retrieval.gate import admit, decide, eligible
from ethos.pool.retrieval.index import Neighbourhood, ScenarioIndex
from ethos.pool.retrieval.selection import COVERED, Chosen, Selector, choose
from ethos.pool.retrieval.snapshot import Snapshots
from ethos.pool.retrieval.threads import one_thread
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.storage.database import Database
from ethos.pool.storage.facts import CALIBRATION, Facts, check_embedder, embedder_name
from ethos.pool.storage.personas import Store
from ethos.pool.storage.rows import now
from ethos.pool.storage.values import Origin, Placed
from ethos.scenario import Scenario

MOST_TRIALS = 2000  # scenarios that are held out; more would narrow the interval by little
EXAMPLES = 12  # that a model may be shown: two for each of six


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What the pool offers for a scenario.

    Attributes:
        members: Those it can give, in order of choice; fewer than asked for unless the gate says hit.
        gate: The decision.
        uncovered: Values at stake that none of the members speaks for, the greatest first; only where some are kept
            and others missing.
        encoding_seconds: Time spent in the encoder.
        candidates: Who was looked at, the most relevant first, and what became of them.
    """

    members: tuple[Member, ...]
    gate: Gate
    uncovered: tuple[str, ...] = ()
    encoding_seconds: float = 0.0
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A persona near a text.

    Attributes:
        persona: Who.
        relevance: Cosine between the text and the nearest scenario it was made for.
        situation: That scenario.
    """

    persona: Persona
    relevance: float
    situation: str


class Pool:
    """All personas of one folder.

    Args:
        folder: The pool folder; made if it does not exist.
        embedder: Encodes scenarios and values.
        threshold: Relevance from which a pool persona is kept, cosine.
        selector: Chooses the panel from the candidates near enough.

    Raises:
        PoolError: The folder cannot be used, the database is damaged or newer than this version.
        ConfigurationError: The pool is encoded with another embedder.
    """

    def __init__(
        self, folder: Path, embedder: Embedder, threshold: float = DEFAULT_THRESHOLD, selector: Selector = choose
    ) -> None:
        self.database = Database(folder)
        check_embedder(self.database, embedder.identity)
        self.store = Store(self.database)
        self.facts = Facts(self.database)
        self.threshold = threshold
        self._embedder = embedder
        self._select = selector
        self._calibrated: Calibration | None = None
        self._read_at = -1
        snapshots = Snapshots(folder, embedder.identity.id)
        self._index = ScenarioIndex(self.store, VectorStore(self.database), embedder, snapshots)

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
        missed = _uncovered(around, stay, 2 * (k - len(stay))) if stay else []
        explanation = Explanation(self.store, around, stay, missed)
        return Retrieval(
            tuple(explanation.member(rank, one) for rank, one in enumerate(stay, start=1)),
            decide(around.candidates, len(stay), k, self.threshold, coverage, required),
            tuple(explanation.value(row) for row in missed),
            encoded,
            fates(around, chosen, stay, self.threshold),
        )

    def search(self, text: str, k: int) -> list[Found]:
        """The k personas whose scenarios are nearest to a text, whatever the gate would say."""
        return self._found(self._index.nearest(text), k)

    def examples(self, scenario: Scenario) -> tuple[Example, ...]:
        """Personas to show a model that invents some for a scenario, nearest first, distinct in every attribute.

        Curated and imported ones only, since a model that is shown its own output drifts; none that were made for the
        scenario itself.
        """
        written = self.store.of_kind(OriginKind.CURATED, OriginKind.IMPORTED)
        if not written:
            return ()
        around = self._index.nearest(scenario.situation, without=scenario.situation)
        chosen: list[Found] = []
        for found in self._found(around, len(around.candidates)):
            if len(chosen) == EXAMPLES:
                break
            if found.persona.id in written and not clashes(found.persona, [c.persona for c in chosen]):
                chosen.append(found)
        return tuple(Example(found.situation, found.persona) for found in chosen)

    def add(
        self,
        scenario: Scenario,
        personas: Sequence[Persona],
        origin: Origin,
        panel: Sequence[Placed] = (),
        retrievable: bool = True,
    ) -> int:
        """Store personas made for a scenario; see `Store.add`."""
        return self.store.add(scenario, personas, origin, panel, retrievable)

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
        return calibration(
            trials,
            target,
            k=k,
            threshold=self.threshold,
            embedder=self._embedder.identity.id,
            neighbours=self._index.neighbours,
            created_at=now(),
        )

    def calibrate(self, found: Calibration | None) -> None:
        """Let the gate demand what a calibration found, from now on; None takes back what it demanded before."""
        self.facts.put(CALIBRATION, found.as_dict() if found else None)

    def trials(self, k: int, progress: Callable[[int, int], None]) -> list[Trial]:
        """Ask each of the pool's scenarios as if the pool did not have it; at most `MOST_TRIALS`, drawn evenly.

        Args:
            k: Size of the panels.
            progress: Told how many of how many scenarios were tried.

        Raises:
            InputError: The pool has fewer than two scenarios.
        """
        situations = self._index.situations()
        if len(situations) < 2:
            raise InputError(
                f"the pool has {len(situations)} scenarios, which is too few to hold any out",
                "fill it with `ethos pool init` or `ethos pool build` first",
            )
        drawn = situations[:MOST_TRIALS]
        trials = []
        for number, rows in enumerate(drawn, start=1):
            around, own = self._index.held_out(rows)
            chosen, estimate = self._choose(around, k)
            trials.append(Trial(estimate if len(chosen) == k else None, _achieved(own, chosen, around)))
            progress(number, len(drawn))
        return trials

    def calibrated(self) -> Calibration | None:
        """The stored calibration; None if there is none."""
        stored = self.facts.get(CALIBRATION)
        return None if stored is None else Calibration.of(stored)

    def holds(self, found: Calibration) -> bool:
        """Whether a calibration's guarantee is one for this pool as it is now, in panels of the calibration's size."""
        self._index.catch_up()
        return self._applies(found, found.k)

    def close(self) -> None:
        """Release the database."""
        self.database.close()

    def _found(self, around: Neighbourhood, k: int) -> list[Found]:
        """The first k of the candidates, with their texts."""
        people, made_for = decoded(around.persona_ids[:k]), decoded(around.scenario_ids[:k])
        texts, situations = self.store.texts(people, set(made_for))
        near = zip(people, around.candidates.relevance[:k].tolist(), made_for, strict=True)
        return [
            Found(Persona.stored(one, texts[one]), relevance, situations[scenario]) for one, relevance, scenario in near
        ]

    def _choose(self, around: Neighbourhood, k: int) -> tuple[list[Chosen], float]:
        """The best panel of those near enough, and the share of what is at stake that it covers."""
        with one_thread():
            chosen = list(self._select(eligible(around.candidates, self.threshold), around.vectors, around.stakes, k))
        return chosen, sum(one.gain for one in chosen)

    def _required(self, k: int) -> float:
        if self._read_at != self._index.note:  # a calibration is written, and so noted, like everything else
            self._calibrated, self._read_at = self.calibrated(), self._index.note
        found = self._calibrated
        return found.required if found and self._applies(found, k) else 0.0

    def _applies(self, found: Calibration, k: int) -> bool:
        return found.applies(k, self.threshold, self._embedder.identity.id, self._index.neighbours)


def _values(around: Neighbourhood, chosen: Sequence[Chosen]) -> list[int]:
    """Rows of the values that the chosen hold."""
    return [row for one in chosen for row in around.candidates.values[one.row].tolist()]


def _achieved(own: Vectors, chosen: Sequence[Chosen], around: Neighbourhood) -> float:
    """Share of a situation's own values that the chosen cover."""
    if not chosen:
        return 0.0
    return float(np.mean((own @ around.vectors[_values(around, chosen)].T).max(axis=1) >= COVERED))


def _uncovered(around: Neighbourhood, kept: Sequence[Chosen], count: int) -> list[int]:
    """The values most at stake that none of the kept speaks for, unlike each other."""
    if not count:
        return []
    nearest = (around.vectors @ around.vectors[_values(around, kept)].T).max(axis=1)
    found: list[int] = []
    for row in np.argsort(-around.stakes, kind="stable").tolist():
        if nearest[row] < COVERED:
            found.append(row)
            if len(found) == count:
                break
            np.maximum(nearest, around.vectors @ around.vectors[row], out=nearest)
    return found


@contextmanager
def open_pool(folder: Path, embedder: str = "") -> Iterator[Pool]:
    """Open a pool by its folder, without models or prompts, and close it at the end of the block.

    Args:
        folder: The pool folder.
        embedder: Name of the encoder; the pool's own when empty.

    Raises:
        PoolError: The pool cannot be opened.
        ConfigurationError: The pool is encoded with another embedder.
    """
    pool = Pool(folder, open_embedder(embedder or embedder_name(folder)))
    try:
        yield pool
    finally:
        pool.close()
