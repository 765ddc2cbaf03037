"""What personas are asked for: rows dealt out by code, examples, values to speak for; and what a model makes of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethos import Ethos
from ethos.errors import ConfigurationError, InputError
from ethos.generation.drafts import Brief, Draft, Example
from ethos.generation.generate import generate_personas
from ethos.generation.persona_schema import EXAMPLES
from ethos.generation.plan import Row, planned, sample_rows
from ethos.llm import LanguageModel, Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import Persona, clashes
from ethos.pipeline.settings import Settings
from ethos.pool.starter import starter_panels
from ethos.prompts import PromptSet, PromptSetName, prompt_set
from ethos.scenario import Scenario

STRUCTURED, PAPER, RELEASED = (prompt_set(name) for name in PromptSetName)
PLANNED = planned(STRUCTURED)
TABLE = PLANNED.personas
SHOT = Scenario("Getting a flu vaccine every winter")
KEPT = (
    Persona("Ward", "Compassion", "Care ethics", "Duty to help", "Hopeful calm", "Midwife in Malawi"),
    Persona("Rancher", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Farmer"),
)
UNCOVERED = ("Fairness", "Right to know", "Herd immunity", "Duty to protect others", "Trust")
SEEDS = st.integers(0, 2**31 - 1)


def reply(request: Request) -> str:
    """A valid persona within the request's schema, if it has one; another seed gives another persona."""
    if not request.schema:
        return "no"
    properties, seed = schema_of(request), request.seed
    drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
    named = {"name": f"Person {seed}", "core_value": f"Value {seed}", "right_duty": f"Duty {seed}"}
    return json.dumps({**named, **drawn, "stakeholder_role": f"Role {seed}"})


def schema_of(request: Request) -> dict[str, Any]:
    assert request.schema
    properties: dict[str, Any] = json.loads(request.schema)["properties"]
    return properties


def asked(brief: Brief, prompts: PromptSet = STRUCTURED, *replies: str, seed: int = 0) -> list[Request]:
    """The requests made for a brief, when the first of them get these replies."""
    left = list(replies)
    model = ScriptedModel(lambda request: left.pop(0) if left else reply(request))
    generate_personas(model, [brief], prompts, seed)
    return [request for batch in model.batches for request in batch]


def bare(message: Message) -> str:
    """What a message says, without the marks around what others wrote."""
    return re.sub("</?data-[0-9a-f]{6}>", "", message.content)


def example(number: int) -> Example:
    persona = Persona(*(f"{what} {number}" for what in ("Name", "Worth", "Ethic", "Right to", "Mood", "Neighbour")))
    return Example(f"Situation number {number}", persona)


def shown(request: Request) -> list[Persona]:
    """The personas that a request shows as replies."""
    return [Persona(**json.loads(message.content)) for message in request.messages if message.role == "assistant"]


@settings(deadline=None)
@given(count=st.integers(1, 30), seed=SEEDS)
def test_a_plan_repeats_no_framework_no_group_and_no_emotion(count: int, seed: int) -> None:
    rows = sample_rows(TABLE, count, (), seed)
    assert len(rows) == count
    for column in ([row.framework for row in rows], [row.stakeholder for row in rows]):
        assert len(set(column)) == count
    emotions = [emotion for row in rows for emotion in row.emotions]
    assert len(set(emotions)) == len(emotions)
    assert all(row.emotions for row in rows)


@settings(deadline=None)
@given(count=st.integers(1, 30), seed=SEEDS)
def test_the_stances_of_a_plan_are_balanced_and_bring_their_own_emotions(count: int, seed: int) -> None:
    rows = sample_rows(TABLE, count, (), seed)
    emotions = {stance["stance"]: set(stance["emotions"]) for stance in TABLE["stances"]}
    often = Counter(row.stance for row in rows)
    assert max(often.values()) - min(often[stance] for stance in emotions) <= 1
    assert all(set(row.emotions) <= emotions[row.stance] for row in rows)


@settings(deadline=None)
@given(count=st.integers(1, 20), seed=SEEDS)
def test_the_same_seed_gives_the_same_plan(count: int, seed: int) -> None:
    assert sample_rows(TABLE, count, KEPT, seed) == sample_rows(TABLE, count, KEPT, seed)


@settings(deadline=None)
@given(seed=SEEDS)
def test_a_plan_keeps_away_from_the_kept_personas(seed: int) -> None:
    rows = sample_rows(TABLE, 20, KEPT, seed)
    assert not {row.framework for row in rows} & {"Care ethics", "Libertarianism"}
    assert "Midwife" not in {row.stakeholder for row in rows}
    assert not {emotion for row in rows for emotion in row.emotions} & {"Hope", "Distrust"}


def test_over_many_scenarios_every_framework_meets_every_stance() -> None:
    rows = [row for seed in range(300) for row in sample_rows(TABLE, 6, (), seed)]
    met = {(row.framework, row.stance) for row in rows}
    assert len(met) == len(TABLE["frameworks"]) * len(TABLE["stances"])
    assert {row.stakeholder for row in rows} == set(TABLE["stakeholders"])


@settings(deadline=None)
@given(count=st.integers(1, 30), seed=SEEDS)
def test_without_a_plan_group_and_stance_are_left_to_the_model(count: int, seed: int) -> None:
    rows = sample_rows(STRUCTURED.personas, count, (), seed)
    assert len({row.framework for row in rows}) == count
    assert sorted(e for row in rows for e in row.emotions) == sorted(STRUCTURED.personas["emotions"])
    assert {(row.stakeholder, row.stance) for row in rows} == {("", "")}


@pytest.mark.parametrize("prompts", [STRUCTURED, PLANNED], ids=lambda prompts: prompts.label)
def test_more_personas_than_there_are_frameworks_cannot_be_told_apart(prompts: PromptSet) -> None:
    with pytest.raises(InputError, match="cannot distinguish 31 personas"):
        sample_rows(prompts.personas, 31, (), 0)


def test_the_stances_divide_the_emotions_and_groups_are_plain_words() -> None:
    divided = [emotion for stance in TABLE["stances"] for emotion in stance["emotions"]]
    assert sorted(divided) == sorted(STRUCTURED.personas["emotions"])
    # A group is placed in a pattern as it is.
    assert all(re.fullmatch("[A-Z][A-Za-z' ]+", group) for group in TABLE["stakeholders"])


def test_a_plan_is_asked_for_in_words_and_in_the_schema() -> None:
    requests = asked(Brief(SHOT, 6), PLANNED)
    groups, stances = set(), set()
    for request in requests:
        prompt = bare(request.messages[-1])
        [group] = [group for group in TABLE["stakeholders"] if f"the view of this person: {group}.\n" in prompt]
        [stance] = [s["stance"] for s in TABLE["stances"] if f"This person {s['stance']}.\n" in prompt]
        pattern = schema_of(request)["stakeholder_role"]["pattern"]
        assert re.search(pattern, f"{group} in a fishing port")
        assert not re.search(pattern, group), "nothing says where, or whose"
        assert not re.search(pattern, "Customs officer in a fishing port")
        groups.add(group)
        stances.add(stance)
    assert (len(groups), len(stances)) == (6, 6)


def test_a_refused_row_of_a_plan_is_asked_for_again_as_it_was_planned() -> None:
    first, *_, again = asked(Brief(SHOT, 6), PLANNED, "I would rather write prose.")
    assert schema_of(again)["ethical_framework"] == schema_of(first)["ethical_framework"]
    assert schema_of(again)["stakeholder_role"]["pattern"] == schema_of(first)["stakeholder_role"]["pattern"]
    assert schema_of(again)["emotion"] == schema_of(first)["emotion"]
    assert (again.seed, again.temperature) != (first.seed, first.temperature)


def test_a_model_that_leaves_the_plan_still_fills_the_panel() -> None:
    def own_way(request: Request) -> str:
        return json.dumps(json.loads(reply(request)) | {"ethical_framework": f"Ethic {request.seed % 9}"})

    [draft] = generate_personas(ScriptedModel(own_way), [Brief(SHOT, 6)], PLANNED, 0)
    assert draft.failures
    assert draft.missing == 0


@pytest.mark.parametrize("prompts", [PAPER, RELEASED], ids=lambda prompts: prompts.name)
def test_prompts_that_ask_for_all_at_once_cannot_follow_a_plan(prompts: PromptSet) -> None:
    with pytest.raises(ConfigurationError, match=f"the {prompts.name} prompts ask for all personas in one request"):
        planned(prompts)


def test_a_plan_with_other_prompts_is_refused_before_any_work(tmp_path: Path) -> None:
    model = ScriptedModel(reply)
    settings = Settings(pool=tmp_path / "pool", prompts=PromptSetName.PAPER, plan=True)
    with Ethos(model=model, settings=settings) as ethos, pytest.raises(ConfigurationError, match="leave out --plan"):
        ethos.answer("Refusing a vaccine")
    assert model.batches == []


def test_a_plan_is_named_in_the_label_that_origins_carry(tmp_path: Path) -> None:
    with Ethos(model=ScriptedModel(reply), settings=Settings(pool=tmp_path / "pool", plan=True)) as ethos:
        assert ethos.prompts.label == f"{STRUCTURED.label}+plan"
        assert ethos.prompts.name == STRUCTURED.name


def test_uncovered_values_are_dealt_out_one_value_and_one_right_or_duty_a_row() -> None:
    requests = asked(Brief(SHOT, 4, KEPT, uncovered=UNCOVERED))
    prompts = [bare(request.messages[-1]) for request in requests]
    assert all(persona.line in prompt for persona in KEPT for prompt in prompts)
    lines = [re.findall("It speaks for (.*)[.]\n", prompt) for prompt in prompts]
    assert lines == [["Fairness and Right to know"], ["Herd immunity and Duty to protect others"], ["Trust"], []]


def test_examples_are_asked_for_as_the_row_is() -> None:
    request, *_ = asked(Brief(SHOT, 4, KEPT, (example(1),), UNCOVERED), PLANNED)
    turns = dict(zip(request.messages[1::2], request.messages[2::2], strict=False))
    assert len(turns) == EXAMPLES
    for ask, answer in turns.items():
        persona = Persona(**json.loads(answer.content))
        assert f"It speaks for {persona.core_value} and {persona.right_duty}.\n" in bare(ask)
        assert f"the view of this person: {persona.stakeholder_role}.\n" in bare(ask)
        assert bare(ask).endswith(f"in the light of {persona.ethical_framework}:")


def test_a_value_that_a_new_persona_holds_is_handed_to_no_other() -> None:
    fair = Persona("Fair", "fairness", "Egalitarianism", "Right to fair shares", "Pride", "Tailor").as_dict()
    *_, again = asked(Brief(SHOT, 2, (), uncovered=UNCOVERED), STRUCTURED, json.dumps(fair), "no")
    assert "It speaks for Herd immunity and Right to know.\n" in bare(again.messages[-1])


def test_what_a_row_speaks_for_is_not_excluded_although_an_example_shows_it() -> None:
    near = tuple(Example("Wearing a mask", Persona(f"N{i}", "Trust", f"F{i}", f"R{i}", f"E{i}", f"S{i}")) for i in "ab")
    request, other = asked(Brief(SHOT, 2, KEPT, near, ("Trust",)))
    assert {persona.name for persona in shown(request)} == {"Na", "Nb"}
    framework = schema_of(request)["ethical_framework"]["enum"]
    assert schema_of(request)["core_value"]["not"]["enum"] == sorted(["Compassion", "Liberty", *framework])
    assert "Trust" not in other.messages[-1].content


@pytest.mark.parametrize("prompts", [STRUCTURED, PLANNED], ids=lambda prompts: prompts.label)
def test_each_row_shows_two_examples_of_its_own(prompts: PromptSet) -> None:
    near = tuple(example(number) for number in range(20))
    requests = asked(Brief(SHOT, 6, examples=near), prompts)
    all_shown = [persona for request in requests for persona in shown(request)]
    assert sorted(p.name for p in all_shown) == sorted(e.persona.name for e in near[:12]), "the twelve nearest, once"
    for request in requests:
        for persona in shown(request):
            assert persona.core_value in schema_of(request)["core_value"]["not"]["enum"]


def test_the_prompt_sets_own_examples_fill_in_where_there_are_too_few() -> None:
    near = tuple(example(number) for number in range(3))
    requests = asked(Brief(SHOT, 6, examples=near))
    names = [persona.name for request in requests for persona in shown(request)]
    shipped = {row["name"] for row in STRUCTURED.personas["examples"]}
    assert len(set(names)) == len(names) == 12
    assert {e.persona.name for e in near} == set(names[:3])
    assert set(names[3:]) <= shipped


def test_rows_of_several_scenarios_show_the_same_examples_together() -> None:
    scenarios = [SHOT, *(Scenario(f"Sharing my room with {number} strangers") for number in range(4))]
    pairs = {
        scenario: [tuple(p.name for p in shown(request)) for request in asked(Brief(scenario, 6))]
        for scenario in scenarios
    }
    assert all(len(set(of_one)) == 6 for of_one in pairs.values())
    assert len({pair for of_one in pairs.values() for pair in of_one}) == 7, "all there are, always side by side"
    assert len({tuple(of_one) for of_one in pairs.values()}) == 5, "and dealt out in another order"


def test_a_brief_without_examples_shows_the_prompt_sets_own() -> None:
    [request] = asked(Brief(SHOT, 1))
    assert {p.name for p in shown(request)} <= {row["name"] for row in STRUCTURED.personas["examples"]}


def test_a_kept_persona_is_no_example() -> None:
    near = (Example("Wearing a mask", KEPT[0]), example(1))
    [request] = asked(Brief(SHOT, 1, KEPT, near))
    assert KEPT[0] not in shown(request)
    assert example(1).persona in shown(request)


@pytest.mark.parametrize("prompts", [PAPER, RELEASED], ids=lambda prompts: prompts.name)
def test_lines_name_what_is_taken_and_what_is_uncovered_on_a_partial_hit_alone(prompts: PromptSet) -> None:
    plain = asked(Brief(SHOT, 6), prompts)[0].messages
    assert asked(Brief(SHOT, 6, (), (example(1),), UNCOVERED), prompts)[0].messages == plain
    partial = asked(Brief(SHOT, 6, KEPT, (), UNCOVERED), prompts)[0].messages[-1].content
    assert partial.startswith(plain[-1].content)
    added = partial.removeprefix(plain[-1].content)
    assert all(text in added for text in (*(persona.line for persona in KEPT), *UNCOVERED))


def test_the_same_seed_asks_the_same() -> None:
    brief = Brief(SHOT, 4, KEPT, tuple(example(number) for number in range(5)), UNCOVERED)
    assert asked(brief, PLANNED, seed=3) == asked(brief, PLANNED, seed=3)
    assert asked(brief, PLANNED, seed=3) != asked(brief, PLANNED, seed=4)


def test_braces_in_values_and_scenarios_are_placed_as_they_are() -> None:
    kept = (Persona("N {x}", "V {0}", "F", "R", "E", "S"),)
    [request] = asked(Brief(Scenario("Taking {drug}"), 1, kept, (), ("Worth {y}",)))
    assert all(text in request.messages[-1].content for text in ("Taking {drug}", kept[0].line, "Worth {y}"))


def test_a_small_model_completes_a_panel_without_repeating_an_attribute(model: LanguageModel) -> None:
    panel, near = starter_panels()[0], starter_panels()[1]
    examples = tuple(Example(near.scenario.subject, persona) for persona in near.personas)
    uncovered = tuple(text for p in panel.personas[3:] for text in (p.core_value, p.right_duty))
    brief = Brief(panel.scenario, 3, panel.personas[:3], examples, uncovered)
    [draft] = generate_personas(model, [brief], PLANNED, seed=0)
    whole = [*brief.kept, *draft.personas]
    assert len(whole) == 6
    assert [clashes(persona, whole[:i]) for i, persona in enumerate(whole)] == [[]] * 6
    rows = {row.framework: row for row in rows_of(draft)}
    for persona in draft.personas:
        row = rows[persona.ethical_framework]
        assert persona.stakeholder_role.startswith(row.stakeholder)
        assert persona.emotion in row.emotions


def test_llama_cpp_keeps_to_the_groups_of_a_plan(llama_server: Any, make_model: Any) -> None:
    model = make_model(llama_server.base_url)
    [draft] = generate_personas(model, [Brief(SHOT, 2)], PLANNED, seed=0)
    groups = [row.stakeholder for row in rows_of(draft)]
    roles = [persona.stakeholder_role for persona in draft.personas]
    assert all(role.startswith(group) for role, group in zip(sorted(roles), sorted(groups), strict=True))


def rows_of(draft: Draft) -> list[Row]:
    """The rows dealt out to a draft, read from its first requests."""
    properties = [schema_of(call.request) for call in draft.calls[: draft.brief.count]]
    return [
        Row(
            p["ethical_framework"]["enum"][0],
            tuple(p["emotion"]["enum"]),
            p["stakeholder_role"]["pattern"].removeprefix("^").split(" (")[0],
        )
        for p in properties
    ]
