"""Finding what is wrong in a pool: Table 14's failures, faults of the text, and what only looks like them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ethos.cli.pool.lint import lint as command
from ethos.encoders.embedder import Embedder, Vectors, open_embedder
from ethos.persona import OriginKind, Persona
from ethos.pool.curation.lint import Finding, Kind, lint
from ethos.pool.curation.lint_vectors import SCENARIOS, misplaced_values
from ethos.pool.pool import Pool
from ethos.pool.starter import install, starter_panels
from ethos.pool.storage.values import Link, Origin
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Scenario

SITUATION = "Refusing to share junk food with a morbidly obese person"
SOUND = Persona("Quiet Ally", "Honesty", "Care ethics", "Duty to listen", "Concern", "Nurse at a clinic in Lima")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterable[Pool]:
    pool = Pool(tmp_path_factory.mktemp("starter") / "pool", embedder)
    install(pool)
    yield pool
    pool.close()


def findings(embedder: Embedder, *personas: Persona, situation: str = SITUATION) -> list[Finding]:
    def vectors(texts: Iterable[str]) -> Mapping[str, Vectors]:
        wanted = list(texts)
        return dict(zip(wanted, embedder.encode(wanted), strict=True))

    return lint([Link(persona, "scenario", situation) for persona in personas], vectors)


def kinds(embedder: Embedder, situation: str = SITUATION, **texts: str) -> set[Kind]:
    return {found.kind for found in findings(embedder, replace(SOUND, **texts), situation=situation)}


def test_a_sound_persona_is_left_alone(embedder: Embedder) -> None:
    assert kinds(embedder) == set()
    assert lint([], lambda _: {}) == []


@pytest.mark.parametrize(
    "texts",
    [
        {"core_value": "Prevent harm", "right_duty": "Right to harm"},
        {"core_value": "Non-maleficence", "right_duty": "Duty to injure the guilty"},
        {"core_value": "Personal autonomy", "right_duty": "Duty to override a patient's autonomy"},
        {"core_value": "Honesty", "right_duty": "Duty to deceive patients"},
        {"core_value": "Sanctity of life", "right_duty": "Right to die with dignity"},
        {"core_value": "Compassion", "emotion": "Cold indifference"},
        {"core_value": "Tolerance", "right_duty": "Right to intolerance"},
        {"core_value": "No rights of child", "right_duty": "Duty to protect the child from harm"},
        {"stakeholder_role": "Father who refuses the vaccine", "right_duty": "Duty to accept vaccination"},
        {"ethical_framework": "Libertarianism", "right_duty": "Duty to obey the state"},
        {"ethical_framework": "Kantian deontology", "right_duty": "Duty to maximise overall happiness"},
        {"ethical_framework": "Kantian deontology", "name": "Utilitarian Advocate"},
        {"ethical_framework": "Islamic bioethics", "stakeholder_role": "Rabbi at a hospital in Leeds"},
    ],
)
def test_attributes_that_exclude_each_other_are_a_contradiction(embedder: Embedder, texts: dict[str, str]) -> None:
    assert kinds(embedder, **texts) == {Kind.CONTRADICTION}


@pytest.mark.parametrize(
    "texts",
    [
        {"core_value": "Prevent harm", "right_duty": "Right to be protected from harm"},
        {"core_value": "Avoidance of harm", "right_duty": "Duty to minimise harm"},
        {"core_value": "Personal autonomy", "right_duty": "Duty to resist coercion and oppression"},
        {"core_value": "Religious freedom", "right_duty": "Duty to obey God"},
        {"core_value": "Honesty", "right_duty": "Duty to avoid deceiving patients"},
        {"core_value": "Sanctity of life", "right_duty": "Right to refuse treatment"},
        {"core_value": "Compassion", "emotion": "Moral outrage"},
        {"core_value": "Social justice", "right_duty": "Duty to address injustice"},
        {"core_value": "Stress relief", "right_duty": "Duty to spare children distress"},
        {"stakeholder_role": "Baker who was once refused cover", "right_duty": "Duty to provide insurance cover"},
        {"ethical_framework": "Libertarianism", "right_duty": "Right to refuse orders"},
        {"ethical_framework": "Libertarian paternalism", "name": "Gentle Paternalist"},
        {"ethical_framework": "Islamic bioethics", "stakeholder_role": "Former pastor who became an imam"},
        {"ethical_framework": "Catholic social teaching", "core_value": "Kindness to rabbits"},
    ],
)
def test_tension_and_a_negated_opposite_are_no_contradiction(embedder: Embedder, texts: dict[str, str]) -> None:
    assert kinds(embedder, **texts) == set()


@pytest.mark.parametrize(
    "role",
    ["Bystander", "Food Owner", "A concerned individual", "Affected Stakeholders", "Patient", "Situation with a need",
     "Demonstrating empathy", "Supporting a social cause"],
)  # fmt: skip
def test_a_role_in_which_nobody_stands_is_abstract(embedder: Embedder, role: str) -> None:
    assert kinds(embedder, stakeholder_role=role) == {Kind.ABSTRACT_STAKEHOLDER}


@pytest.mark.parametrize(
    "role",
    ["Bystander who saw the crash", "Owner of a small bakery", "Patient with diabetes", "Food bank volunteer",
     "Midwife", "Recovering heroin user", "Nursing home inspector in Seville", "Mother of the person he insulted"],
)  # fmt: skip
def test_work_a_place_or_a_relation_grounds_a_role(embedder: Embedder, role: str) -> None:
    assert kinds(embedder, stakeholder_role=role) == set()


@pytest.mark.parametrize(
    "texts",
    [
        {"core_value": "Goodness"},
        {"core_value": "Ethics"},
        {"core_value": "Moral values"},
        {"right_duty": "Duty to protect"},
        {"right_duty": "Duty to do what is right"},
        {"right_duty": "Right to access food"},
        {"right_duty": "Right to housing"},
    ],
)
def test_a_value_that_says_nothing_or_claims_a_want_that_is_not_there_is_overextended(
    embedder: Embedder, texts: dict[str, str]
) -> None:
    assert kinds(embedder, **texts) == {Kind.OVEREXTENDED_VALUE}


@pytest.mark.parametrize(
    "texts",
    [
        {"core_value": "Moral courage"},
        {"core_value": "Family values"},
        {"right_duty": "Duty to rescue"},
        {"right_duty": "Duty to protect children"},
        {"right_duty": "Right to refuse"},
        {"right_duty": "Right to access food", "situation": "Selling grain abroad during a famine"},
        {"right_duty": "Right to adequate food", "stakeholder_role": "Cook in a poor mountain village"},
    ],
)
def test_a_plain_value_and_a_real_want_are_not_overextended(embedder: Embedder, texts: dict[str, str]) -> None:
    assert kinds(embedder, **texts) == set()


def panel(values: Sequence[tuple[str, str]]) -> list[Persona]:
    return [
        Persona(f"Voice {n}", value, f"Framework {n}", right, f"Feeling {n}", f"Nurse of ward {n}")
        for n, (value, right) in enumerate(values, start=1)
    ]


@pytest.mark.parametrize(
    "values",
    [
        [("Health", "Right to choose one's diet"), ("Public health", "Duty to warn"),
         ("Health promotion", "Right to rest")],
        [("Autonomy", "Duty to warn"), ("Bodily autonomy", "Right to rest"), ("Personal autonomy", "Duty to share")],
        [("Loyalty", "Duty to protect the rights of animals"), ("Prudence", "Right to life of animals"),
         ("Humour", "Right to protect the dignity of animals")],
    ],
)  # fmt: skip
def test_three_personas_of_one_theme_overlap(embedder: Embedder, values: list[tuple[str, str]]) -> None:
    three = panel(values)
    (found,) = findings(embedder, *three, *panel([("Thrift", "Right to earn a living")]))
    assert found.kind is Kind.THEMATIC_OVERLAP
    assert set(found.persona_ids) == {persona.id for persona in three}
    assert found.message.startswith("3 of 4 personas stand for one theme: “")
    assert found.fix == f"ethos pool retire {found.persona_ids[1][:12]} {found.persona_ids[2][:12]}"


@pytest.mark.parametrize(
    "values",
    [
        [("Health", "Right to choose one's diet"), ("Public health", "Duty to warn"), ("Justice", "Right to rest")],
        [("Compassion", "Duty to warn"), ("Justice", "Right to rest"), ("Autonomy", "Duty to share")],
        [("Loyalty", "Duty to keep the family together"), ("Prudence", "Duty to provide adequate care"),
         ("Thrift", "Duty to care for elderly parents")],
    ],
)  # fmt: skip
def test_two_of_a_theme_and_three_of_a_form_do_not_overlap(embedder: Embedder, values: list[tuple[str, str]]) -> None:
    assert findings(embedder, *panel(values)) == []


def test_one_persona_cannot_overlap_with_itself(embedder: Embedder) -> None:
    pair = panel([("Health", "Right to health"), ("Public health", "Duty to promote health")])
    assert findings(embedder, *pair) == []


def test_the_scenario_of_table_14_shows_its_failures(embedder: Embedder) -> None:
    bystander = Persona("Kind Witness", "Compassion", "Care ethics", "Duty to respect others", "Empathy", "Bystander")
    owner = Persona("Mine To Keep", "Self-ownership", "Libertarianism", "Right to property", "Pride", "Food Owner")
    fair = Persona("Fair Sharer", "Fairness", "Rawlsian justice", "Right to Access Food", "Indignation", "His flatmate")
    health = [
        Persona("Diet Guide", "Health", "Virtue ethics", "Duty to give advice", "Hope", "His dietitian"),
        Persona("Ward Voice", "Public health", "Utilitarianism", "Duty to save costs", "Worry", "Ward nurse in Leeds"),
        Persona("Next Of Kin", "Health promotion", "Principlism", "Duty to warn", "Fear", "His sister"),
    ]
    found = findings(embedder, bystander, owner, fair, *health)
    assert {(f.kind, frozenset(f.persona_ids)) for f in found} == {
        (Kind.ABSTRACT_STAKEHOLDER, frozenset({bystander.id})),
        (Kind.ABSTRACT_STAKEHOLDER, frozenset({owner.id})),
        (Kind.OVEREXTENDED_VALUE, frozenset({fair.id})),
        (Kind.THEMATIC_OVERLAP, frozenset(persona.id for persona in health)),
    }
    # That empathy would share and self-ownership would not is what a panel is for.
    assert [f.kind for f in found] == sorted((f.kind for f in found), key=list(Kind).index)


@pytest.mark.parametrize(
    "texts",
    [
        {"right_duty": "Loyalty to the appointed leader"},
        {"core_value": "Right to choose"},
        {"core_value": "Egalitarianism"},
        {"core_value": "Daughter of God"},
        {"core_value": "Employment policy has transformed public health"},
        {"name": "Soldier who runs away from his own sins"},
        {"stakeholder_role": "Nurse on a ward."},
        {"stakeholder_role": "Businesswoman who makes her money from selling a"},
        {"stakeholder_role": "Boss who is concerned about a criminal's mental-f"},
        {"core_value": "Ethics and ethics in academia"},
        {"name": "Fab Fab Friend"},
        {"name": "Tired soldier running from sins", "stakeholder_role": "Tired soldier running from his own sins"},
        {"stakeholder_role": "Man sharing junk food with a morbidly obese person"},
        {"name": "Careful Prescriber"},
        {"stakeholder_role": "Hospital social worker in Belgrade with animals"},
    ],
)
def test_what_a_small_model_spoils_is_a_text_fault(embedder: Embedder, texts: dict[str, str]) -> None:
    assert kinds(embedder, **texts) == {Kind.TEXT_FAULT}


@pytest.mark.parametrize(
    "texts",
    [
        {"right_duty": "Obligation to one's neighbours"},
        {"right_duty": "Right to be listened to"},
        {"core_value": "Duty of care"},
        {"core_value": "Patient safety"},
        {"core_value": "Parenthood"},
        {"core_value": "Care for existing children"},
        {"name": "State Must Step In"},
        {"name": "My House My Rules"},
        {"stakeholder_role": "Tea seller living with hepatitis b"},
        {"stakeholder_role": "Medical expert who gives medical advice in Oslo"},
        {"core_value": "Cultural norms and respect", "right_duty": "Duty to respect cultural norms"},
        {"stakeholder_role": "Cook who prepares junk food for children"},
    ],
)
def test_plain_and_playful_texts_are_no_fault(embedder: Embedder, texts: dict[str, str]) -> None:
    assert kinds(embedder, **texts) == set()


def test_an_example_of_the_prompts_is_no_copy_in_its_own_scenario(embedder: Embedder) -> None:
    example = prompt_set(PromptSetName.STRUCTURED).personas["examples"][0]
    assert kinds(embedder, situation=example["subject"], name=example["name"]) == set()
    assert kinds(embedder, name=example["name"]) == {Kind.TEXT_FAULT}


def test_a_fault_of_the_words_comes_once_for_a_persona_of_two_scenarios(embedder: Embedder) -> None:
    spoilt = replace(SOUND, right_duty="Judaism")
    links = [Link(spoilt, "1", "One"), Link(spoilt, "2", "Two")]
    found = lint(links, lambda texts: {text: embedder.encode([text])[0] for text in texts})
    assert [(f.kind, f.persona_ids, f.situation) for f in found] == [(Kind.TEXT_FAULT, (spoilt.id,), "One")]


def test_the_starter_pool_raises_next_to_no_alarm(starter: Pool) -> None:
    found = lint(starter.store.links(), starter.vectors)
    assert len(found) <= 3, found


def test_rights_that_were_given_another_scenario_are_found_and_no_others(starter: Pool) -> None:
    links = starter.store.links()
    scenarios = sorted({(link.scenario_id, link.situation) for link in links})
    dealt = random.Random(0)
    caught = 0
    for row in dealt.sample(range(len(links)), 200):
        home = scenarios.index((links[row].scenario_id, links[row].situation))
        scenario_id, situation = scenarios[(home + dealt.randrange(1, len(scenarios))) % len(scenarios)]
        moved = replace(links[row], scenario_id=scenario_id, situation=situation)
        found = list(misplaced_values([*links[:row], moved, *links[row + 1 :]], starter.vectors))
        assert all(concerned == (moved,) for concerned, _ in found)
        caught += len(found)
    assert caught >= 4  # few, but those for sure


@pytest.mark.parametrize(
    ("right", "scenario"),
    [
        ("Duty to keep patient information secret", "Giving money to a sick beggar"),
        ("Duty to diagnose without delay", "Circumcising a baby boy"),
        ("Right to keep food traditions", "Letting an AI system read cancer scans"),
    ],
)
def test_a_right_of_another_subject_is_overextended(starter: Pool, right: str, scenario: str) -> None:
    links = starter.store.links()
    strange = next(link for link in links if link.situation.startswith(scenario))
    rest = [link for link in links if link.persona.right_duty != right]
    link = replace(strange, persona=replace(SOUND, right_duty=right))
    (found,) = lint([*rest, link], starter.vectors)
    assert (found.kind, found.persona_ids) == (Kind.OVEREXTENDED_VALUE, (link.persona.id,))
    assert found.message.startswith(f"right/duty “{right}” is far from its scenario, and nearer to “")


@pytest.mark.parametrize(
    ("right", "scenario"),
    [
        ("Right to be heard", "Giving money to a sick beggar"),
        ("Duty to spare the baby needless pain", "Circumcising a baby boy"),
        ("Duty to do no harm", "Letting an AI system read cancer scans"),
    ],
)
def test_a_right_of_the_subject_or_of_every_subject_is_not(starter: Pool, right: str, scenario: str) -> None:
    links = starter.store.links()
    strange = next(link for link in links if link.situation.startswith(scenario))
    assert lint([*links, replace(strange, persona=replace(SOUND, right_duty=right))], starter.vectors) == []


def test_few_scenarios_are_no_ground_to_call_a_right_misplaced(starter: Pool) -> None:
    links = starter.store.links()
    few = {link.situation for link in links[: 6 * (SCENARIOS - 1)]}
    strangers = [replace(link, situation=situation) for link, situation in zip(links[300:], sorted(few), strict=False)]
    assert list(misplaced_values(strangers, starter.vectors)) == []


def run(pool: Path, *arguments: str) -> Any:
    return CliRunner().invoke(command, ["--pool", str(pool), *arguments])


def test_a_sound_pool_exits_with_0(tmp_path: Path, embedder: Embedder) -> None:
    pool = Pool(tmp_path / "pool", embedder)
    first = starter_panels()[0]
    pool.add(first.scenario, first.personas, Origin(OriginKind.CURATED, source="test"))
    pool.refresh()
    pool.close()
    result = run(tmp_path / "pool", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert run(tmp_path / "pool").exit_code == 0


def test_an_empty_pool_exits_with_0(tmp_path: Path) -> None:
    assert run(tmp_path / "pool", "--json").exit_code == 0


def test_findings_exit_with_4_and_say_how_to_mend_them(tmp_path: Path, embedder: Embedder) -> None:
    pool = Pool(tmp_path / "pool", embedder)
    vague, torn = replace(SOUND, stakeholder_role="Bystander"), replace(SOUND, right_duty="Duty to deceive patients")
    pool.add(Scenario.of(SITUATION), [vague, torn], Origin(OriginKind.CURATED, source="test"))
    pool.refresh()
    pool.close()
    result = run(tmp_path / "pool", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout) == [
        {
            "kind": "contradiction",
            "persona_ids": [torn.id],
            "message": "core value “Honesty” against right/duty “Duty to deceive patients” (honesty)",
            "situation": SITUATION,
            "fix": f"ethos pool retire {torn.id[:12]}",
        },
        {
            "kind": "abstract stakeholder",
            "persona_ids": [vague.id],
            "message": "stakeholder role “Bystander” does not say who, where or in what relation",
            "situation": SITUATION,
            "fix": f"ethos pool retire {vague.id[:12]}",
        },
    ]
    shown = run(tmp_path / "pool")
    assert shown.exit_code == 4
    for part in ("Contradiction", "Abstract stakeholder", torn.id[:12], vague.id[:12], "ethos pool retire", "count"):
        assert part in shown.stdout
