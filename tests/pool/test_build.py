"""Stage 1, for one scenario and for many: personas asked for, refused, asked for again, and stored in a pool."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from replies import persona_reply

from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import ModelError
from ethos.generation.drafts import Brief, Draft
from ethos.generation.generate import MAX_ATTEMPTS, generate_personas
from ethos.llm import LanguageModel, Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind, Persona, clashes
from ethos.pool.build import BuildReport, build
from ethos.pool.curation.statistics import statistics
from ethos.pool.pool import Pool
from ethos.pool.storage.record import Record
from ethos.pool.storage.values import Origin
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Scenario

STRUCTURED, PAPER = prompt_set(PromptSetName.STRUCTURED), prompt_set(PromptSetName.PAPER)
SHOT = Scenario("Getting a flu vaccine every winter")
SCENARIOS = [
    Scenario(f"{verb} {what}")
    for verb in ("Banning", "Paying for", "Refusing")
    for what in ("tobacco", "home birth", "gene tests", "hospice care")
]
TABLE_9 = """\
Generate 6 contrasting ethical perspectives on: “Getting a flu vaccine every winter”
Each perspective must differ clearly in:

- Core values
- Ethical framework
- Key right/duty emphasized
- Emotion
- Stakeholder role

Format each perspective exactly like this:
Name: Core Value, Ethical Framework, Right/Duty, Emotion, Stakeholder"""


def few_words(request: Request) -> str:
    """As `persona_reply`, from so small a vocabulary that the rows of a panel often repeat each other."""
    persona = json.loads(persona_reply(request))
    few = {"core_value": f"Value {request.seed % 25}", "stakeholder_role": f"Role {request.seed % 20}"}
    return json.dumps(persona | few)


def lines(first: int, end: int) -> str:
    return "\n".join(f"Person {n}: Value {n}, Ethic {n}, Right {n}, Emotion {n}, Role {n}" for n in range(first, end))


def draft_of(*replies: str, then: Callable[[Request], str] = persona_reply, prompts: object = STRUCTURED) -> Draft:
    """What six personas for one scenario come to, when the first requests get these replies."""
    left = list(replies)
    model = ScriptedModel(lambda request: left.pop(0) if left else then(request))
    [draft] = generate_personas(model, [Brief(SHOT, 6)], prompts, seed=0)
    return draft


@dataclass
class Site:
    """A pool being built."""

    pool: Pool
    record: Record

    def build(self, model: LanguageModel, scenarios: list[Scenario] = SCENARIOS, k: int = 6) -> BuildReport:
        return build(self.pool, self.record, scenarios, lambda: model, STRUCTURED, k, 0, lambda _: None)

    def count(self, name: str) -> object:
        return statistics(self.pool.database)[name]

    def panels(self, k: int = 6) -> list[list[Persona]]:
        return [[placed.persona for placed in self.pool.store.panel(s.key, k)] for s in SCENARIOS]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def new_site(tmp_path: Path, embedder: Embedder) -> Iterator[Callable[[str], Site]]:
    pools: list[Pool] = []

    def make(name: str) -> Site:
        pools.append(Pool(tmp_path / name, embedder))
        return Site(pools[-1], Record(pools[-1].database))

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def site(new_site: Callable[[str], Site]) -> Site:
    return new_site("pool")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I would rather write prose.", "the reply is not JSON: Expecting value at character 0"),
        ("[]", "the reply is not an object of the six attributes"),
        ('{"name": "Lonely"}', "the reply is not an object of the six attributes"),
        (json.dumps(Persona("N", "V", "F", "R", "E", "S").as_dict() | {"name": ""}), "the persona's name is empty"),
    ],
)
def test_an_unusable_persona_is_refused_with_its_reason_and_asked_for_again(reply: str, reason: str) -> None:
    draft = draft_of(reply)
    assert [(f.stage, f.attempt, f.reason, f.reply) for f in draft.failures] == [("persona", 1, reason, reply)]
    assert (len(draft.personas), len(draft.calls)) == (6, 7)


def test_a_persona_that_repeats_one_attribute_of_another_is_asked_for_again() -> None:
    one = Persona("Nurse", "Compassion", "Care", "Duty to help", "Concern", "Ward nurse")
    two = Persona("Rancher", "COMPASSION ", "Liberty", "Right to refuse", "Distrust", "Farmer")
    draft = draft_of(json.dumps(one.as_dict()), json.dumps(two.as_dict()))
    assert [failure.reason for failure in draft.failures] == ["the panel already has core value 'COMPASSION'"]
    assert draft.personas[0] == one
    assert len(draft.personas) == 6


def test_attempts_are_bounded_and_end_with_every_reason() -> None:
    draft = draft_of(then=lambda _: "no")
    assert (draft.personas, draft.missing) == ([], 6)
    assert Counter(failure.attempt for failure in draft.failures) == dict.fromkeys(range(1, MAX_ATTEMPTS + 1), 6)


def test_a_model_that_never_keeps_to_the_lines_is_soon_asked_no_more() -> None:
    draft = draft_of(then=lambda _: "no", prompts=PAPER)
    assert [failure.attempt for failure in draft.failures] == [1, 2, 3]
    tried = draft_of("no", "no", lines(0, 5), "no", "no", lines(0, 6), prompts=PAPER)
    assert len(tried.failures) == 5, "one valid line shows that it can"
    assert tried.missing == 0


def test_the_paper_asks_for_all_personas_at_once_in_the_words_of_table_9() -> None:
    draft = draft_of(lines(0, 6), prompts=PAPER)
    [call] = draft.calls
    assert call.request.messages == (Message("user", TABLE_9),)
    assert (call.request.max_tokens, call.request.temperature, call.request.schema) == (300, 1.0, None)
    assert [persona.name for persona in draft.personas] == [f"Person {n}" for n in range(6)]


def test_a_list_that_falls_short_is_asked_for_again_whole() -> None:
    short = f"{lines(0, 5)}\nPerson 5: Too, few"
    draft = draft_of(short, lines(10, 16), prompts=PAPER)
    assert [persona.name for persona in draft.personas] == [f"Person {n}" for n in range(10, 16)]
    reason = "5 of 6 personas are valid and distinct; 2 attributes instead of 5 in persona line 'Person 5: Too, few'"
    assert [(failure.attempt, failure.reason, failure.reply) for failure in draft.failures] == [(1, reason, short)]


def test_one_batch_carries_the_rows_of_several_scenarios(site: Site) -> None:
    model = ScriptedModel(persona_reply)
    site.build(model)
    assert [len(batch) for batch in model.batches] == [60, 12]
    for batch, scenarios in zip(model.batches, (SCENARIOS[:10], SCENARIOS[10:]), strict=True):
        asked = Counter(s.situation for r in batch for s in scenarios if s.situation in r.messages[-1].content)
        assert asked == {scenario.situation: 6 for scenario in scenarios}


def test_who_is_asked_again_shares_a_batch_with_those_who_wait(site: Site) -> None:
    refusals = iter(["prose", "more prose"])
    model = ScriptedModel(lambda request: next(refusals, None) or persona_reply(request))
    assert site.build(model).done == len(SCENARIOS)
    assert [len(batch) for batch in model.batches] == [60, 14]


def test_a_long_build_fills_every_batch_but_the_last_and_leaves_to_others_what_it_has_not_begun(site: Site) -> None:
    held: list[int] = []

    def reply(request: Request) -> str:
        with site.pool.database.read() as connection:
            held.append(connection.exec_driver_sql("SELECT count(*) FROM leases").scalar() or 0)
        return persona_reply(request)

    model = ScriptedModel(reply)
    site.build(model, [Scenario(f"Case {number} of the clinic") for number in range(47)])
    assert [len(batch) for batch in model.batches] == [*[60] * 4, 42]
    assert max(held) == 20, "ten that are asked for, and the next ten"


def test_every_scenario_gets_k_personas_that_differ_in_every_attribute(site: Site) -> None:
    model = ScriptedModel(few_words)
    report = site.build(model, k=4)
    assert len(model.batches) > 1, "some rows repeated others and were asked for again"
    assert (report.done, report.failed, report.personas) == (12, [], site.count("personas"))
    for panel in site.panels(k=4):
        assert len(panel) == 4
        assert [clashes(persona, panel[:i]) for i, persona in enumerate(panel)] == [[]] * 4


def test_a_built_scenario_is_a_hit_and_its_calls_are_kept(site: Site) -> None:
    site.build(ScriptedModel(persona_reply), SCENARIOS[:2])
    found = site.pool.retrieve(SCENARIOS[1], 6)
    assert found.gate.decision == "hit"
    assert [member.persona for member in found.members] == site.panels()[1]
    assert (site.count("calls"), site.count("origin_kinds")) == (12, {"generated": 12})


def test_what_is_done_is_skipped_without_opening_the_model(site: Site) -> None:
    site.build(ScriptedModel(persona_reply))
    seen: list[int] = []

    def no_model() -> LanguageModel:
        raise AssertionError("the model was opened")

    report = build(
        site.pool, site.record, SCENARIOS, no_model, STRUCTURED, 6, 0, lambda report: seen.append(report.skipped)
    )
    assert (report.done, report.skipped, report.personas, report.failed) == (0, 12, 0, [])
    assert seen == [12]


def test_scenarios_added_to_the_list_are_built_alone(site: Site) -> None:
    site.build(ScriptedModel(persona_reply), SCENARIOS[:3])
    model = ScriptedModel(persona_reply)
    report = site.build(model, SCENARIOS[:5])
    assert (report.done, report.skipped) == (2, 3)
    assert sum(map(len, model.batches)) == 12


def test_a_build_goes_on_where_a_model_error_stopped_it(new_site: Callable[[str], Site]) -> None:
    def fails_in_the_second_batch(request: Request) -> str:
        if len(broken.batches) == 2:
            raise ModelError("the endpoint cannot be reached")
        return persona_reply(request)

    broken = ScriptedModel(fails_in_the_second_batch)
    stopped, whole = new_site("stopped"), new_site("whole")
    with pytest.raises(ModelError, match="cannot be reached"):
        stopped.build(broken)
    assert stopped.count("scenarios_with_panel") == 10
    rest = stopped.build(ScriptedModel(persona_reply))
    assert (rest.done, rest.skipped) == (2, 10)
    whole.build(ScriptedModel(persona_reply))
    assert stopped.count("personas") == whole.count("personas") == 72
    assert stopped.panels() == whole.panels()


def test_a_scenario_that_fails_is_reported_and_left_to_the_next_build(site: Site) -> None:
    def silent_on_tobacco(request: Request) -> str:
        return "no" if "tobacco" in request.messages[-1].content else persona_reply(request)

    report = site.build(ScriptedModel(silent_on_tobacco))
    reason = "the reply is not JSON: Expecting value at character 0"
    assert report.failed == [(SCENARIOS[i], reason) for i in (0, 4, 8)]
    assert (report.done, report.skipped) == (9, 0)
    assert [bool(panel) for panel in site.panels()] == [i not in (0, 4, 8) for i in range(12)]
    assert (site.count("personas"), site.count("failures")) == (54, 3 * 6 * MAX_ATTEMPTS)
    again = site.build(ScriptedModel(persona_reply))
    assert (again.done, again.skipped, again.failed) == (3, 9, [])
    assert site.count("personas") == 72


def test_a_panel_that_lost_a_member_is_built_anew_once(site: Site) -> None:
    site.build(ScriptedModel(persona_reply), SCENARIOS[:1])
    lost = site.panels()[0][2]
    with site.pool.database.write() as connection:
        connection.exec_driver_sql("UPDATE personas SET status = 'retired' WHERE id = ?", (lost.id,))
    # Another model, which does not invent the retired persona again.
    other = ScriptedModel(lambda request: persona_reply(request).replace("Value", "Worth"))
    assert site.build(other, SCENARIOS[:1]).done == 1
    assert site.build(other, SCENARIOS[:1]).skipped == 1


def test_the_same_personas_for_two_scenarios_are_stored_once(site: Site) -> None:
    same = ScriptedModel(persona_reply)
    site.build(same, SCENARIOS[:1])
    origin = Origin(OriginKind.GENERATED, same.identity, STRUCTURED.label, 0)
    assert site.pool.add(SCENARIOS[1], site.panels()[0], origin) == 0
    assert (site.count("personas"), site.count("origins")) == (6, 12)
