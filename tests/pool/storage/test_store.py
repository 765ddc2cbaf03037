"""Personas, origins, panels and vectors in SQL, and the index that follows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethos.encoders.embedder import Embedder, Vectors, open_embedder
from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import InputError
from ethos.llm import ModelIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.curation.statistics import statistics
from ethos.pool.retrieval.index import ScenarioIndex
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.storage.database import Database
from ethos.pool.storage.personas import Store
from ethos.pool.storage.values import Change, Origin, Placed
from ethos.scenario import Scenario

VACCINE = Scenario("Getting a flu vaccine every winter")
ORGANS = Scenario("Donating a kidney to a stranger")
CURATED = Origin(OriginKind.CURATED)
GENERATED = Origin(OriginKind.GENERATED, ModelIdentity("scripted:m", "r1", "float32"), "paper-1", 7)

NURSE = Persona("Ward Nurse", "Compassion", "Care ethics", "Duty to protect the frail", "Concern", "Nurse")
RANCHER = Persona("Free Rancher", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Rancher")
STEWARD = Persona("Health Steward", "Collective wellbeing", "Utilitarianism", "Duty to reduce harm", "Hope", "Official")


class ThreeNumbers:
    """An encoder of three dimensions, whose vectors depend on the text's length alone."""

    identity = EmbedderIdentity("three numbers", "1")

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.array([[len(text), 1.0, 2.0] for text in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "pool")
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def placed(*personas: Persona) -> list[Placed]:
    return [Placed(persona, 1.0 - rank / 8) for rank, persona in enumerate(personas)]


@pytest.fixture
def vectors(database: Database) -> VectorStore:
    return VectorStore(database)


def index_of(database: Database, embedder: Embedder) -> ScenarioIndex:
    return ScenarioIndex(Store(database), VectorStore(database), embedder)


def retire(database: Database, persona: Persona) -> None:
    mark(database, [persona.id], Status.RETIRED, "a test")


def found_by(index: ScenarioIndex, situation: str) -> set[str]:
    names = {persona.id: persona.name for persona in (NURSE, RANCHER, STEWARD)}
    return {names[persona_id.decode()] for persona_id in index.nearest(situation).persona_ids}


def test_the_same_persona_for_two_scenarios_is_one_row_with_two_origins(store: Store) -> None:
    assert store.add(VACCINE, [NURSE, RANCHER], CURATED) == 2
    again = Persona("  Ward Nurse ", "Compassion", "Care ethics", "Duty to protect the frail", "Concern", "Nurse")
    assert store.add(ORGANS, [again], GENERATED) == 0
    assert {persona for persona, _ in store.personas()} == {NURSE, RANCHER}
    assert {origin["situation"]: (origin["kind"], origin["model"]) for origin in store.origins(NURSE.id)} == {
        VACCINE.situation: ("curated", None),
        ORGANS.situation: ("generated", "scripted:m"),
    }


def test_an_origin_is_read_back_with_all_that_made_it(store: Store) -> None:
    store.add(VACCINE, [NURSE], GENERATED)
    [origin] = store.origins(NURSE.id)
    assert str(origin.pop("created_at")).endswith("+00:00")
    assert origin == {
        "kind": "generated",
        "model": "scripted:m",
        "prompt_set": "paper-1",
        "seed": 7,
        "source": None,
        "licence": None,
        "situation": VACCINE.situation,
    }


def test_adding_the_very_same_again_changes_nothing(store: Store) -> None:
    store.add(VACCINE, [NURSE], GENERATED)
    before = store.history(0).now.change
    assert store.add(VACCINE, [NURSE], GENERATED) == 0
    assert len(store.origins(NURSE.id)) == 1
    assert store.history(0).now.change == before


def test_a_panel_is_stored_once_and_read_in_its_order(store: Store) -> None:
    first = placed(STEWARD, NURSE, RANCHER)
    store.add(VACCINE, [NURSE, RANCHER, STEWARD], GENERATED, first)
    store.add(VACCINE, [], GENERATED, placed(RANCHER, STEWARD, NURSE))
    assert store.panel(VACCINE.key, 3) == first


def test_panels_of_different_sizes_and_scenarios_are_kept_apart(store: Store) -> None:
    store.add(VACCINE, [NURSE, RANCHER, STEWARD], GENERATED, placed(NURSE, RANCHER))
    assert store.panel(VACCINE.key, 2) == placed(NURSE, RANCHER)
    assert store.panel(VACCINE.key, 3) == []
    assert store.panel(VACCINE.key, 1) == []
    assert store.panel(ORGANS.key, 2) == []


def test_a_panel_with_a_retired_member_is_not_given(database: Database, store: Store) -> None:
    store.add(VACCINE, [NURSE, RANCHER], GENERATED, placed(NURSE, RANCHER))
    retire(database, RANCHER)
    assert store.panel(VACCINE.key, 2) == []


@pytest.mark.parametrize("retired", [[NURSE], [NURSE, RANCHER]], ids=["one", "all"])
def test_a_panel_with_retired_members_can_be_replaced(database: Database, store: Store, retired: list[Persona]) -> None:
    store.add(VACCINE, [NURSE, RANCHER], GENERATED, placed(NURSE, RANCHER))
    for persona in retired:
        retire(database, persona)
    other = Persona("Teacher", "Fairness", "Egalitarianism", "Right to equal care", "Resolve", "School teacher")
    store.add(VACCINE, [STEWARD, other], GENERATED, placed(STEWARD, other))
    assert store.panel(VACCINE.key, 2) == placed(STEWARD, other)


def test_a_retired_persona_is_in_no_links_and_not_in_the_index(
    database: Database, store: Store, embedder: Embedder
) -> None:
    store.add(VACCINE, [NURSE, RANCHER], CURATED)
    retire(database, NURSE)
    assert [link.persona for link in store.links()] == [RANCHER]
    assert found_by(index_of(database, embedder), VACCINE.situation) == {"Free Rancher"}


def test_changes_above_a_mark_are_those_that_came_later(store: Store) -> None:
    store.add(VACCINE, [NURSE], CURATED)
    before = store.history(0).now.change
    store.add(ORGANS, [NURSE, RANCHER], CURATED)
    news = store.news(before, personas={NURSE.id}, scenarios={VACCINE.key})
    assert news.changes == [Change(True, NURSE.id, ORGANS.key), Change(True, RANCHER.id, ORGANS.key)]
    assert (news.personas, news.situations) == ({RANCHER.id: RANCHER.texts()}, {ORGANS.key: ORGANS.situation})
    assert news.position == store.history(0).now
    assert news.position.change == 3


def test_vectors_come_back_bit_for_bit(store: Store, vectors: VectorStore) -> None:
    made = dict(zip("abc", ThreeNumbers().encode(["a", "bb", "ccc"]), strict=True))
    vectors.put(ThreeNumbers.identity, made)
    found = vectors.get(ThreeNumbers.identity, ["a", "b", "c", "unknown"])
    assert {text: vector.tobytes() for text, vector in found.items()} == {t: v.tobytes() for t, v in made.items()}
    assert all(vector.dtype == np.float32 for vector in found.values())


def test_more_vectors_than_one_statement_takes_come_back(store: Store, vectors: VectorStore) -> None:
    texts = [f"text {number}" for number in range(1200)]
    vectors.put(ThreeNumbers.identity, dict(zip(texts, ThreeNumbers().encode(texts), strict=True)))
    assert set(vectors.get(ThreeNumbers.identity, texts)) == set(texts)


@pytest.mark.parametrize("row", [[np.nan, 0.0, 1.0], [np.inf, 0.0, 0.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
def test_what_is_no_unit_vector_is_refused_and_nothing_of_its_batch_is_stored(
    store: Store, row: list[float], vectors: VectorStore
) -> None:
    good, bad = np.array([1.0, 0.0, 0.0], dtype=np.float32), np.array(row, dtype=np.float32)
    with pytest.raises(InputError, match="the embedder three numbers gave no unit vector for 'bad'"):
        vectors.put(ThreeNumbers.identity, {"good": good, "bad": bad})
    assert vectors.get(ThreeNumbers.identity, ["good", "bad"]) == {}


def test_the_statistics_count_what_is_there(store: Store, database: Database) -> None:
    store.add(VACCINE, [NURSE, RANCHER], GENERATED, placed(NURSE, RANCHER))
    store.add(ORGANS, [NURSE], CURATED)
    stats = statistics(database)
    assert (stats["personas"], stats["scenarios"], stats["origins"], stats["scenarios_with_panel"]) == (2, 2, 3, 1)
    assert (stats["status"], stats["origin_kinds"]) == ({"active": 2}, {"generated": 2, "curated": 1})
    assert stats["distinct"] == dict.fromkeys(NURSE.as_dict(), 2)


def many_personas() -> list[Persona]:
    """One more than there are hexadecimal digits: two ids begin with the same one."""
    return [Persona(f"N{i}", f"V{i}", f"F{i}", f"R{i}", f"E{i}", f"S{i}") for i in range(17)]


def test_a_persona_is_found_by_its_id_and_by_a_start_that_fits_it_alone(store: Store) -> None:
    personas = many_personas()
    store.add(VACCINE, personas, CURATED)
    for persona in personas:
        assert store.find(persona.id) == persona.id
        assert store.find(persona.id[:12]) == persona.id


def test_a_start_that_fits_several_is_refused(store: Store) -> None:
    personas = many_personas()
    store.add(VACCINE, personas, CURATED)
    digits = [persona.id[0] for persona in personas]
    shared = max(digits, key=digits.count)
    with pytest.raises(InputError, match=f"'{shared}' fits more than one persona id") as caught:
        store.find(shared)
    assert caught.value.hint == "see `ethos pool list`"


@pytest.mark.parametrize("identifier", ["", "x", "%", "_", "0" * 32, "'; DROP TABLE personas; --"])
def test_the_start_of_no_persona_is_refused(store: Store, identifier: str) -> None:
    store.add(VACCINE, [NURSE], CURATED)
    with pytest.raises(InputError, match="is the start of no persona id"):
        store.find(identifier)


def test_an_empty_pool_has_no_candidates(database: Database, store: Store, embedder: Embedder) -> None:
    around = index_of(database, embedder).nearest(VACCINE.situation)
    assert (len(around.candidates), len(around.vectors)) == (0, 0)


def test_a_candidate_carries_its_nearest_scenario_and_its_values(
    database: Database, store: Store, embedder: Embedder
) -> None:
    store.add(VACCINE, [NURSE], CURATED)
    store.add(ORGANS, [NURSE, RANCHER], CURATED)
    around = index_of(database, embedder).nearest("Having the yearly flu shot")
    assert around.persona_ids.tolist() == [NURSE.id.encode(), RANCHER.id.encode()]
    assert around.scenario_ids.tolist() == [VACCINE.key.encode(), ORGANS.key.encode()]
    assert around.candidates.relevance[0] > 0.6 > around.candidates.relevance[1]
    assert np.allclose(
        around.vectors[around.candidates.values[1]], embedder.encode(["Liberty", "Right to refuse"]), atol=1e-5
    )


def test_a_scenario_is_nearest_to_itself(database: Database, store: Store, embedder: Embedder) -> None:
    store.add(VACCINE, [NURSE], CURATED)
    [relevance] = index_of(database, embedder).nearest(VACCINE.situation).candidates.relevance
    assert relevance == pytest.approx(1.0, abs=1e-5)
    assert relevance <= 1.0


def test_what_another_store_adds_is_found_at_once(tmp_path: Path, store: Store, embedder: Embedder) -> None:
    elsewhere = Database(tmp_path / "pool")
    index = index_of(elsewhere, embedder)
    assert found_by(index, VACCINE.situation) == set()
    store.add(VACCINE, [NURSE], CURATED)
    assert found_by(index, VACCINE.situation) == {"Ward Nurse"}
    store.add(VACCINE, [RANCHER], CURATED)  # a scenario that the index has already
    store.add(ORGANS, [STEWARD], CURATED)
    assert found_by(index, VACCINE.situation) == {"Ward Nurse", "Free Rancher", "Health Steward"}
    elsewhere.close()


def test_a_second_index_reads_vectors_instead_of_making_them(
    database: Database, store: Store, embedder: Embedder
) -> None:
    class Forgetful(ThreeNumbers):
        identity = embedder.identity

        def encode(self, texts: Sequence[str]) -> Vectors:
            raise AssertionError(f"encoded again: {texts}")

    store.add(VACCINE, [NURSE], CURATED)
    # As a scenario of the pool, it has a vector there.
    first = index_of(database, embedder).nearest(VACCINE.situation)
    second = index_of(database, Forgetful()).nearest(VACCINE.situation)
    assert np.array_equal(first.stakes, second.stakes)


def test_vectors_of_two_embedders_never_mix(
    database: Database, store: Store, embedder: Embedder, vectors: VectorStore
) -> None:
    store.add(VACCINE, [NURSE], CURATED)
    real, small = index_of(database, embedder), index_of(database, ThreeNumbers())
    for _ in range(2):  # the second time from what is stored
        assert [around.vectors.shape for around in (real.nearest("A flu shot"), small.nearest("A flu shot"))] == [
            (2, 384),
            (2, 3),
        ]
        store.add(ORGANS, [NURSE], CURATED)
    with database.read() as connection:
        known: list[Any] = connection.exec_driver_sql("SELECT name, dimensions FROM embedders ORDER BY 2").all()
    assert [tuple(row) for row in known] == [("three numbers", 3), (embedder.identity.name, 384)]
    assert vectors.get(embedder.identity, ["A flu shot"]) == {}, "what is only asked is not stored"
    assert len(vectors.get(ThreeNumbers.identity, ["Liberty", VACCINE.situation])[VACCINE.situation]) == 3
