"""Any sequence of what users do to a pool leaves what a dictionary says it means, in every index that looks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ethos.encoders.embedder import Vectors
from ethos.encoders.identity import EmbedderIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.curation.duplicates import Pair, merge, undo
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.pool import Pool
from ethos.pool.retrieval import index
from ethos.pool.storage.database import Database
from ethos.pool.storage.ledger import faults
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

SCENARIOS, PEOPLE = 5, 6
NAMES = ("name", "value", "ethics", "right", "emotion", "role")


class Numbered:
    """An encoder that needs no weights: each text has a direction of its own."""

    identity = EmbedderIdentity("numbered", "1")

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.stack([np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


ASKED = [Scenario(f"Situation {number}") for number in range(SCENARIOS)]
PERSONAS = [Persona(*(f"{name} {number}" for name in NAMES)) for number in range(PEOPLE)]
BY_ID = {persona.id: number for number, persona in enumerate(PERSONAS)}


class Uses(RuleBasedStateMachine):
    """The model: who was made for what, who is active, and who stands for whom."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.folder = self.home / "0"
        self.pool = self.open()
        self.other = self.open()  # as another process has it
        self.made: dict[int, set[int]] = {}
        self.out: set[int] = set()
        self.stands: dict[int, int] = {}
        self.copies = 0

    def open(self) -> Pool:
        return Pool(self.folder, Numbered(), threshold=-1.0)

    def links(self) -> dict[int, set[int]]:
        """Who is to be found at which scenario."""
        found: dict[int, set[int]] = {}
        for person, places in self.made.items():
            serving = self.stands.get(person, person)
            if serving not in self.out and serving not in self.stands:
                for place in places:
                    found.setdefault(place, set()).add(serving)
        return found

    @rule(person=st.integers(0, PEOPLE - 1), place=st.integers(0, SCENARIOS - 1), by_other=st.booleans())
    def add(self, person: int, place: int, by_other: bool) -> None:
        pool = self.other if by_other else self.pool
        pool.add(ASKED[place], [PERSONAS[person]], Origin(OriginKind.CURATED))
        self.made.setdefault(person, set()).add(place)

    @rule(person=st.integers(0, PEOPLE - 1), status=st.sampled_from(Status))
    def change(self, person: int, status: Status) -> None:
        if person not in self.made or person in self.stands:
            return
        mark(self.pool.database, [PERSONAS[person].id], status, "a test")
        (self.out.discard if status is Status.ACTIVE else self.out.add)(person)

    @rule(kept=st.integers(0, PEOPLE - 1), gone=st.integers(0, PEOPLE - 1))
    def merge(self, kept: int, gone: int) -> None:
        if kept == gone or not {kept, gone} <= self.made.keys():
            return
        pair = Pair(PERSONAS[kept], PERSONAS[gone], 1.0, 1.0)
        if merge(self.other.database, [pair]):
            assert not {kept, gone} & (self.out | self.stands.keys())
            assert gone not in self.stands.values()
            self.stands[gone] = kept

    @rule(person=st.integers(0, PEOPLE - 1))
    def undo(self, person: int) -> None:
        if person in self.stands:
            undo(self.pool.database, PERSONAS[person].id)
            del self.stands[person]

    @rule()
    def reopen(self) -> None:
        self.pool.close()
        self.pool = self.open()

    @rule()
    def crash(self) -> None:
        """Go on with the files as they lie there, with a log that nobody folded in."""
        self.copies += 1
        copy = self.home / str(self.copies)
        shutil.copytree(self.folder, copy)
        self.pool.close()
        self.other.close()
        self.folder = copy
        self.pool, self.other = self.open(), self.open()

    @invariant()
    def every_index_finds_who_is_there_and_nobody_else(self) -> None:
        expected = self.links()
        fresh = self.open()
        for pool in (self.pool, self.other, fresh):
            for place, scenario in enumerate(ASKED):
                found = pool.search(scenario.situation, PEOPLE)
                there = {BY_ID[one.persona.id] for one in found if one.relevance > 1.0 - 1e-6}
                assert there == expected.get(place, set())
                assert {BY_ID[one.persona.id] for one in found} == set().union(*expected.values())
        fresh.close()

    def teardown(self) -> None:
        self.pool.close()
        self.other.close()
        database = Database(self.folder)
        with database.read() as connection:
            assert faults(connection) == []
        database.close()
        shutil.rmtree(self.home)


@pytest.fixture(autouse=True, scope="module")
def tiny_snapshots() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "SNAPSHOT", 3)
        yield


TestUses = Uses.TestCase
TestUses.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)


@pytest.mark.stress
class TestManyUses(Uses.TestCase):  # type: ignore[name-defined, misc]
    """The same, two hundred times."""

    settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
