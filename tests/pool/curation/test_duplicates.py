"""Near duplicates: which pairs are found, what a merge keeps, and that its undoing leaves no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from ethos.cli import main
from ethos.encoders.embedder import Embedder, Vectors, open_embedder
from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import InputError
from ethos.persona import OriginKind, Persona, clashes
from ethos.pool.curation.duplicates import COSINE, OVERLAP, find_duplicates, merge, merges, overlap, undo
from ethos.pool.curation.lifecycle import Status, history, mark
from ethos.pool.pool import Pool
from ethos.pool.retrieval.index import ScenarioIndex
from ethos.pool.retrieval.vectors import VectorStore
from ethos.pool.storage.values import Origin, Placed
from ethos.scenario import Scenario

CURATED = Origin(OriginKind.CURATED)
GENERATED = Origin(OriginKind.GENERATED)
VACCINE = Scenario("Getting a flu vaccine every winter")
ORGANS = Scenario("Donating a kidney to a stranger")
NEAR_ORGANS = Scenario("Giving a kidney to somebody I do not know")

NURSE = Persona(
    "Ward Nurse",
    "Compassion for the sick",
    "Care ethics",
    "Duty to protect the frail from harm",
    "Quiet concern",
    "Night nurse on a busy cancer ward in Manila",
)
AGAIN = replace(NURSE, stakeholder_role="Night nurse on a very busy cancer ward in Manila")
ONCE_MORE = replace(NURSE, stakeholder_role="A night nurse on a busy cancer ward in Manila")
ANGRY = replace(NURSE, emotion="Quiet anger")
OTHER_TOWN = replace(NURSE, stakeholder_role="Night nurse on a busy cancer ward in Cebu")
OTHER_WORDS = Persona(
    "Ward Nurse",
    "Compassion for ill people",
    "Ethics of care",
    "Duty to shield frail people from harm",
    "Quiet worry",
    "Nurse at night on a busy cancer ward of Manila",
)
RANCHER = Persona("Free Rancher", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Rancher")
ELDER = Persona(
    "Village Elder", "Respect", "Communitarianism", "Right to decide", "Steady concern", "Elder in a hill village"
)
UNITED = replace(
    NURSE, name="Union Rep", core_value="Solidarity", ethical_framework="Marxist ethics",
    right_duty="Right to safe work", stakeholder_role="Shop steward",
)  # fmt: skip


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def pool(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    opened = Pool(tmp_path / "pool", embedder)
    yield opened
    opened.close()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command line over the folder of `pool`."""
    return lambda *arguments: CliRunner().invoke(main, [*arguments, "--pool", str(tmp_path / "pool")])


def placed(*personas: Persona) -> list[Placed]:
    return [Placed(persona, 1.0) for persona in personas]


def born(pool: Pool, persona: Persona, year: int) -> None:
    """Say when a persona was stored; the clock counts whole seconds only."""
    with pool.database.write() as connection:
        values = (f"{year}-01-01T00:00:00+00:00", persona.id)
        connection.exec_driver_sql("UPDATE personas SET created_at = ? WHERE id = ?", values)


def found(pool: Pool) -> list[tuple[Persona, Persona]]:
    return [(pair.kept, pair.duplicate) for pair in find_duplicates(pool)]


def links(pool: Pool) -> set[tuple[str, str]]:
    return {(link.persona.id, link.situation) for link in pool.store.links()}


def panel(pool: Pool, scenario: Scenario, k: int) -> list[Persona]:
    return [place.persona for place in pool.store.panel(scenario.key, k)]


# Which pairs are found.


@pytest.mark.parametrize(
    ("other", "near", "alike"),
    [(AGAIN, True, True), (OTHER_WORDS, True, False), (OTHER_TOWN, False, True), (RANCHER, False, False)],
    ids=["both", "meaning only", "words only", "neither"],
)
def test_a_pair_agrees_in_meaning_and_in_words(
    pool: Pool, embedder: Embedder, other: Persona, near: bool, alike: bool
) -> None:
    one, two = embedder.encode([NURSE.line, other.line])
    assert (float(one @ two) >= COSINE, overlap(NURSE, other) >= OVERLAP) == (near, alike)
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [other], CURATED)
    assert len(find_duplicates(pool)) == (near and alike)


def test_a_pair_says_how_alike_its_two_are(pool: Pool, embedder: Embedder) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN], GENERATED)
    [pair] = find_duplicates(pool)
    one, two = embedder.encode([NURSE.line, AGAIN.line])
    assert pair.cosine == pytest.approx(float(one @ two), abs=1e-5)
    assert pair.overlap == pytest.approx(23 / 24)  # "very" is new


@pytest.mark.parametrize("curated", [NURSE, AGAIN])
def test_what_a_person_wrote_is_kept_although_it_is_younger(pool: Pool, curated: Persona) -> None:
    generated = AGAIN if curated is NURSE else NURSE
    pool.add(VACCINE, [generated], GENERATED)
    pool.add(ORGANS, [curated], CURATED)
    born(pool, generated, 2020)
    assert found(pool) == [(curated, generated)]


@pytest.mark.parametrize("older", [NURSE, AGAIN])
def test_of_two_of_one_kind_the_older_is_kept(pool: Pool, older: Persona) -> None:
    pool.add(VACCINE, [NURSE], GENERATED)
    pool.add(ORGANS, [AGAIN], GENERATED)
    born(pool, older, 2020)
    assert [kept for kept, _ in found(pool)] == [older]


def test_a_pair_made_for_one_scenario_is_left_alone(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE, AGAIN], CURATED)
    assert found(pool) == []


def test_whoever_is_not_active_is_in_no_pair(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN], CURATED)
    mark(pool.database, [AGAIN.id], Status.QUARANTINED, "a test")
    assert found(pool) == []


def test_a_merge_that_would_repeat_an_attribute_in_a_stored_panel_is_left_alone(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [ANGRY, UNITED], GENERATED, placed(ANGRY, UNITED))
    assert clashes(NURSE, [UNITED]) == ["emotion"]
    assert found(pool) == []


def test_a_merge_that_fits_into_the_stored_panel_is_found(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [ANGRY, RANCHER], GENERATED, placed(ANGRY, RANCHER))
    assert found(pool) == [(NURSE, ANGRY)]


# What a merge keeps, and what undoing it gives back.


@pytest.fixture
def merged(pool: Pool) -> Pool:
    """`NURSE` stands for `AGAIN`, who was made for `ORGANS` and is in its stored panel."""
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN, RANCHER, ELDER], GENERATED, placed(RANCHER, AGAIN, ELDER))
    pool.retrieve(NEAR_ORGANS, 3)  # the index is open, and must follow
    merge(pool.database, find_duplicates(pool))
    return pool


def test_the_kept_persona_is_retrieved_in_the_scenarios_of_its_duplicate(merged: Pool) -> None:
    members = {member.persona: member for member in merged.retrieve(NEAR_ORGANS, 3).members}
    assert set(members) == {NURSE, RANCHER, ELDER}
    assert members[NURSE].relevance == members[RANCHER].relevance > 0.6
    assert ORGANS.situation in members[NURSE].reason
    assert merged.retrieve(VACCINE, 1).members[0].persona == NURSE


def test_a_stored_panel_is_served_with_the_kept_persona_in_its_duplicate_s_place(merged: Pool) -> None:
    given_ = merged.retrieve(ORGANS, 3)
    assert given_.gate.decision == "hit"
    assert [member.persona for member in given_.members] == [RANCHER, NURSE, ELDER]


def test_a_panel_with_a_merged_persona_is_not_served_once_the_kept_one_is_retired(merged: Pool) -> None:
    mark(merged.database, [NURSE.id], Status.RETIRED, "a test")
    assert panel(merged, ORGANS, 3) == []
    assert {member.persona for member in merged.retrieve(NEAR_ORGANS, 3).members} == {RANCHER, ELDER}
    mark(merged.database, [NURSE.id], Status.ACTIVE, "a test")
    assert panel(merged, ORGANS, 3) == [RANCHER, NURSE, ELDER]


def test_undoing_a_merge_restores_all_that_was(pool: Pool, embedder: Embedder) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN, RANCHER, ELDER], GENERATED, placed(RANCHER, AGAIN, ELDER))

    def seen(by: Pool) -> object:
        asked = [(scenario, k) for scenario in (VACCINE, ORGANS, NEAR_ORGANS) for k in (1, 2, 3)]
        given_ = [(found.members, found.gate, found.uncovered) for found in (by.retrieve(*one) for one in asked)]
        return given_, by.store.links(), by.store.personas(), find_duplicates(by)

    before = seen(pool)
    [pair] = find_duplicates(pool)
    merge(pool.database, [pair])
    assert merges(pool.database) != []
    assert seen(pool) != before
    assert undo(pool.database, AGAIN.id) == NURSE.id
    assert merges(pool.database) == []
    assert seen(pool) == before
    other = Pool(pool.database.folder, embedder)
    assert seen(other) == before
    other.close()
    assert [change["status"] for change in history(pool.database, AGAIN.id)] == ["retired", "active"]
    assert history(pool.database, NURSE.id) == []


def test_undoing_leaves_the_kept_persona_where_it_was_made_for_the_scenario_itself(merged: Pool) -> None:
    merged.add(ORGANS, [NURSE], GENERATED)
    undo(merged.database, AGAIN.id)
    assert {(NURSE.id, ORGANS.situation), (AGAIN.id, ORGANS.situation)} <= links(merged)


@pytest.mark.parametrize("status", list(Status))
def test_a_merged_persona_has_no_life_of_its_own_until_the_merge_is_undone(merged: Pool, status: Status) -> None:
    before = links(merged)
    with pytest.raises(InputError, match=f"{AGAIN.id[:12]} was merged into {NURSE.id[:12]}") as caught:
        mark(merged.database, [RANCHER.id, AGAIN.id], status, "a test")
    assert caught.value.hint == f"undo that first: ethos pool dedupe --undo {AGAIN.id[:12]}"
    assert links(merged) == before
    assert history(merged.database, RANCHER.id) == []


def test_what_was_not_merged_cannot_be_undone(merged: Pool) -> None:
    for persona in (NURSE, RANCHER):
        with pytest.raises(InputError, match=f"{persona.id[:12]} was not merged into another"):
            undo(merged.database, persona.id)


def test_several_who_say_the_same_become_one_and_nobody_stands_for_a_stand_in(pool: Pool) -> None:
    scenarios = [VACCINE, ORGANS, Scenario("Wearing a mask on the bus"), Scenario("Vaping at school")]
    for year, persona in enumerate([ONCE_MORE, AGAIN, NURSE], start=2020):
        pool.add(scenarios[year - 2020], [persona], GENERATED)
        born(pool, persona, year)
    # A search takes the nearest pair first. Whoever stands for another is kept, though it be the younger from then on,
    # and though the other be written by a person.
    assert found(pool) == [(AGAIN, NURSE), (AGAIN, ONCE_MORE)]
    merge(pool.database, find_duplicates(pool))
    pool.add(scenarios[3], [ANGRY], CURATED)
    assert found(pool) == [(AGAIN, ANGRY)]
    merge(pool.database, find_duplicates(pool))
    assert links(pool) == {(AGAIN.id, scenario.situation) for scenario in scenarios}
    assert found(pool) == []


def test_two_who_both_stand_for_others_are_left_alone(merged: Pool) -> None:
    mark(merged.database, [NURSE.id], Status.QUARANTINED, "a test")
    merged.add(Scenario("Wearing a mask on the bus"), [ONCE_MORE], GENERATED)
    merged.add(Scenario("Vaping at school"), [ANGRY], GENERATED)
    merge(merged.database, find_duplicates(merged))
    mark(merged.database, [NURSE.id], Status.ACTIVE, "a test")
    assert len(merges(merged.database)) == 2
    assert found(merged) == []


# What one merge leaves to the next, and what happens between the search and the merge.


def test_two_merges_at_once_do_not_repeat_an_attribute_in_a_panel(pool: Pool) -> None:
    concerned = replace(ELDER, emotion="Quiet concern", stakeholder_role="Elder of old in a hill village near Pokhara")
    steady = replace(concerned, emotion="Steady concern")
    for scenario, persona in ((VACCINE, NURSE), (NEAR_ORGANS, concerned)):
        pool.add(scenario, [persona], CURATED)
    pool.add(ORGANS, [ANGRY, steady], GENERATED, placed(ANGRY, steady))
    merge(pool.database, find_duplicates(pool))
    one, two = panel(pool, ORGANS, 2)
    assert clashes(one, [two]) == []


def test_a_merge_does_not_repeat_an_attribute_of_a_member_who_comes_back(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [ANGRY, UNITED], GENERATED, placed(ANGRY, UNITED))
    mark(pool.database, [UNITED.id], Status.QUARANTINED, "a test")
    merge(pool.database, find_duplicates(pool))
    mark(pool.database, [UNITED.id], Status.ACTIVE, "looked at")
    one, two = panel(pool, ORGANS, 2)
    assert clashes(one, [two]) == []


def test_two_of_one_scenario_do_not_become_one_through_a_third(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN, ONCE_MORE], GENERATED)
    assert len(find_duplicates(pool)) == 1


def test_a_pair_whose_kept_persona_was_retired_meanwhile_brings_nobody_back(pool: Pool) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN], GENERATED)
    pairs = find_duplicates(pool)
    mark(pool.database, [NURSE.id], Status.RETIRED, "a test")
    merge(pool.database, pairs)
    assert NURSE.id not in {persona_id for persona_id, _ in links(pool)}


def test_the_kept_persona_also_serves_where_its_duplicate_is_made_again(merged: Pool) -> None:
    merged.add(NEAR_ORGANS, [AGAIN], GENERATED)
    assert (NURSE.id, NEAR_ORGANS.situation) in links(merged)


@pytest.mark.parametrize(
    ("right", "opposite"),
    [
        ("Right to refuse vaccination", "Right to receive vaccination"),
        ("Duty to vaccinate children", "Duty not to vaccinate children"),
        ("Duty to tell the truth", "Duty to hide the truth"),
    ],
)
def test_opposite_duties_are_no_duplicates(pool: Pool, right: str, opposite: str) -> None:
    pool.add(VACCINE, [replace(NURSE, right_duty=right)], CURATED)
    pool.add(ORGANS, [replace(NURSE, right_duty=opposite)], CURATED)
    assert found(pool) == []


# The command line.


def test_the_command_shows_merges_lists_and_undoes(pool: Pool, run: Callable[..., Result]) -> None:
    pool.add(VACCINE, [NURSE], CURATED)
    pool.add(ORGANS, [AGAIN], GENERATED)
    [pair] = find_duplicates(pool)  # also stores the vectors, so that the commands need no model
    dry = run("pool", "dedupe", "--dry-run", "--json")
    assert (dry.exit_code, json.loads(dry.stdout)) == (0, [pair.as_dict()])
    assert run("pool", "dedupe", "--list").stdout == "0 pairs stand.\n"
    done = run("pool", "dedupe")
    assert done.exit_code == 0
    assert done.stdout.endswith("1 pairs merged.\n")
    assert (NURSE.id[:12] in done.stdout, AGAIN.id[:12] in done.stdout) == (True, True)
    [listed] = json.loads(run("pool", "dedupe", "--list", "--json").stdout)
    assert (listed["kept_id"], listed["duplicate_id"], listed["overlap"]) == (NURSE.id, AGAIN.id, pair.overlap)
    assert run("pool", "dedupe", "--json").stdout == "[]\n"
    assert json.loads(run("pool", "show", AGAIN.id, "--json").stdout)["status"] == "retired"
    refused = run("pool", "approve", AGAIN.id)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert f"ethos pool dedupe --undo {AGAIN.id[:12]}" in refused.stderr
    assert run("pool", "dedupe", "--undo", AGAIN.id[:12]).exit_code == 0
    assert (merges(pool.database), found(pool)) == ([], [(NURSE, AGAIN)])
    again = run("pool", "dedupe", "--undo", AGAIN.id)
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)


# Any sequence of changes, against a plain model of what they mean.

GROUPS, VARIANTS = 2, 3


class Axes:
    """An encoder that puts every text on the axis its last digit names."""

    identity = EmbedderIdentity("axes", "1")

    def encode(self, texts: Sequence[str]) -> Vectors:
        return np.eye(10, dtype=np.float32)[[int(text[-1]) for text in texts]]


def variant(group: int, number: int) -> Persona:
    """One of the personas that say the same: only a word of the name tells them apart."""
    words = ("value", "framework", "duty", "emotion", "night nurse on a busy cancer ward")
    return Persona(f"N{number} {group}", *(f"{word} {group}" for word in words))


PERSONAS = {(g, v): variant(g, v) for g in range(GROUPS) for v in range(VARIANTS)}
BY_ID = {persona.id: persona for persona in PERSONAS.values()}
SCENARIOS = [Scenario(f"situation {5 + v}") for v in range(VARIANTS)]


@dataclass
class Model:
    """What the pool should hold: who has which status, and who stands for whom."""

    status: dict[str, Status] = field(default_factory=lambda: dict.fromkeys(BY_ID, Status.ACTIVE))
    kept: dict[str, str] = field(default_factory=dict)

    def links(self) -> set[tuple[str, str]]:
        """Every persona serves where it was made, or where whoever it stands for was; if it is active."""
        return {
            (stands, scenario.situation)
            for (_, v), persona in PERSONAS.items()
            for stands, scenario in ((persona.id, SCENARIOS[v]), (self.stand_in(persona), SCENARIOS[v]))
            if self.status[stands] is Status.ACTIVE
        }

    def panel(self, v: int) -> list[Persona]:
        members = [self.stand_in(PERSONAS[g, v]) for g in range(GROUPS)]
        return [BY_ID[m] for m in members] if all(self.status[m] is Status.ACTIVE for m in members) else []

    def stand_in(self, persona: Persona) -> str:
        return self.kept.get(persona.id, persona.id)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with one variant of each group for each scenario, and its panel; to be copied."""
    pool = Pool(tmp_path_factory.mktemp("template") / "pool", Axes())
    for v, scenario in enumerate(SCENARIOS):
        members = [PERSONAS[g, v] for g in range(GROUPS)]
        pool.add(scenario, members, GENERATED, placed(*members))
    pool.close()
    return pool.database.folder


def assert_equal_indexes(pool: Pool, other: ScenarioIndex) -> None:
    """What was caught up with step by step is what is built at once."""
    for scenario in SCENARIOS:
        stepwise, anew = pool._index.nearest(scenario.situation), other.nearest(scenario.situation)
        for part in ("persona_ids", "scenario_ids", "vectors", "stakes"):
            assert np.array_equal(getattr(stepwise, part), getattr(anew, part))
        for part in ("relevance", "values", "slots"):
            assert np.array_equal(getattr(stepwise.candidates, part), getattr(anew.candidates, part))


def apply(pool: Pool, model: Model, verb: str, persona_id: str, some: int) -> None:
    """Make a change in the pool and in the model; what the model does not allow, the pool must refuse.

    Args:
        pool: Changed.
        model: Changed as well.
        verb: ``merge``, ``undo`` or a status.
        persona_id: Whose merge is undone, or whose status changes.
        some: Which of the pairs found are merged, one a bit.
    """
    merged = persona_id in model.kept
    if verb == "merge":
        pairs = [pair for bit, pair in enumerate(find_duplicates(pool)) if some >> bit & 1]
        merge(pool.database, pairs)
        model.kept |= {pair.duplicate.id: pair.kept.id for pair in pairs}
        model.status |= {pair.duplicate.id: Status.RETIRED for pair in pairs}
    elif verb == "undo" and merged:
        assert undo(pool.database, persona_id) == model.kept.pop(persona_id)
        model.status[persona_id] = Status.ACTIVE
    elif verb == "undo":
        with pytest.raises(InputError, match="was not merged"):
            undo(pool.database, persona_id)
    elif merged:
        with pytest.raises(InputError, match="was merged into"):
            mark(pool.database, [persona_id], Status(verb), "a test")
    else:
        changed = mark(pool.database, [persona_id], Status(verb), "a test")
        assert changed == (model.status[persona_id] is not Status(verb))
        model.status[persona_id] = Status(verb)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["merge", "undo", *Status]), st.sampled_from(sorted(BY_ID)), st.integers(1, 15)),
        min_size=1,
        max_size=10,
    )
)
def test_any_sequence_of_changes_leaves_the_links_panels_and_indexes_that_it_means(
    template: Path, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("copies") / "pool"
    shutil.copytree(template, folder)
    pool, model = Pool(folder, Axes()), Model()
    for verb, persona_id, some in steps:
        apply(pool, model, verb, persona_id, some)
        assert links(pool) == model.links()
        assert [panel(pool, scenario, GROUPS) for scenario in SCENARIOS] == [model.panel(v) for v in range(VARIANTS)]
        assert {str(m["duplicate_id"]): m["kept_id"] for m in merges(pool.database)} == model.kept
        assert not set(model.kept) & set(model.kept.values()), "nobody stands for a stand-in"
        assert_equal_indexes(pool, ScenarioIndex(pool.store, VectorStore(pool.database), Axes()))
    pool.close()
