"""From scenario to recorded answer, with scripted language models; store, index and encoder are real."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from replies import persona_reply

from ethos import Ethos, Scenario
from ethos.audit import reading as audit
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import GenerationError, InputError, ModelError, PoolEmpty, UnreadableReply
from ethos.generation.generate import MAX_ATTEMPTS
from ethos.llm import Message, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.persona import OriginKind, Persona, clashes
from ethos.pool.storage.values import Origin

SHOT = "Getting a flu vaccine every winter"
QUESTION: dict[str, Any] = {"scenario": "Should flu vaccines be required of nurses?", "options": ("Yes", "No")}
MODES: dict[str, dict[str, Any]] = {
    "overton": {"scenario": SHOT},
    "steerable": {"scenario": SHOT, "attribute": "Autonomy"},
    "distributional": {**QUESTION, "attribute": "Argentina"},
}
# Modular Pluralism's released code.
OVERTON = "\n\n".join(
    (
        "Please comment on a given situation with the help of the following passages. "
        "Make sure to reflect diverse values and perspectives.",
        "Situation: Getting a flu vaccine every winter",
        *(f"Passage {number}: Comment {number}." for number in range(1, 7)),
        "Comment:",
    )
)


def likes_later_comments(prompt: tuple[Message, ...]) -> dict[str, float]:
    """Comment 1 gives A a probability of 0.1, Comment 6 of 0.6, in two spellings; C belongs to no option."""
    share = int(prompt[-1].content.partition("Comment ")[2][0]) / 10
    return {"A": share / 4, " A": share / 4, "B": (1 - share) / 2, "C": 0.5}


def unreachable(_: Request) -> str:
    raise ModelError("the endpoint cannot be reached")


@dataclass
class Scene:
    """An `Ethos` with a scripted model in each role."""

    ethos: Ethos
    personas: ScriptedModel
    comments: ScriptedModel
    main: ScriptedModel

    def ask(self, mode: str = "overton", **changes: Any) -> Any:
        return self.ethos.answer(mode=mode, **{**MODES[mode], **changes})

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.ethos.pool.database.read() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def failures(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT stage, attempt, reason, reply FROM failures ORDER BY id")

    def prompts(self, model: ScriptedModel) -> list[str]:
        return [request.messages[-1].content for batch in model.batches for request in batch]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def scene(tmp_path: Path, embedder: Embedder) -> Iterator[Scene]:
    number = count(1)
    personas = ScriptedModel(persona_reply, name="personas")
    comments = ScriptedModel(lambda _: f"Comment {next(number)}.", name="comments")
    main = ScriptedModel(lambda _: "All of them agree.", likes_later_comments, name="main")
    roles = {"model": main, "comment_model": comments, "persona_model": personas}
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as ethos:
        yield Scene(ethos, personas, comments, main)


def ids(answer: Any) -> list[str]:
    return [member.persona.id for member in answer.panel.members]


def test_the_first_question_is_a_miss_and_the_second_reuses_all_of_it(scene: Scene) -> None:
    first, second = scene.ask(), scene.ask()
    assert (first.panel.gate.decision, second.panel.gate.decision) == ("miss", "hit")
    assert first.calls == {"persona": 6, "comment": 6, "main": 1}
    assert second.calls == {"persona": 0, "comment": 0, "main": 1}
    assert [{member.source for member in answer.panel.members} for answer in (first, second)] == [{"fresh"}, {"pool"}]
    assert (ids(second), second.comments) == (ids(first), first.comments)
    assert second.outcome == first.outcome
    assert [len(batch) for batch in scene.personas.batches] == [6]


def test_comments_are_not_reused_for_another_seed(scene: Scene) -> None:
    first, second = scene.ask(seed=1), scene.ask(seed=2)
    assert ids(second) == ids(first)
    assert second.calls == {"persona": 0, "comment": 6, "main": 1}
    assert second.comments[0].text == "Comment 7."


def test_a_near_question_shares_personas_but_never_comments(scene: Scene) -> None:
    first, second = scene.ask(), scene.ask(scenario="Refusing a flu vaccine every winter")
    assert second.panel.gate.decision == "hit"
    assert second.calls == {"persona": 0, "comment": 6, "main": 1}
    assert set(ids(second)) == set(ids(first))


def test_a_partial_hit_keeps_what_is_near_and_generates_distinct_others(scene: Scene) -> None:
    near = [Persona(f"N{i}", f"V{i}", f"F{i}", f"R{i}", f"E{i}", f"S{i}") for i in range(4)]
    scene.ethos.pool.add(Scenario("Having a flu vaccine each winter"), near, Origin(OriginKind.CURATED))
    answer = scene.ask()
    assert answer.panel.gate.decision == "partial"
    assert [member.source for member in answer.panel.members] == ["pool"] * 4 + ["fresh"] * 2
    assert [member.rank for member in answer.panel.members] == [1, 2, 3, 4, 5, 6]
    assert set(ids(answer)[:4]) == {persona.id for persona in near}
    assert answer.calls["persona"] == 2
    assert all(persona.line in prompt for prompt in scene.prompts(scene.personas) for persona in near)
    panel = [member.persona for member in answer.panel.members]
    assert [clashes(persona, panel[:i]) for i, persona in enumerate(panel)] == [[]] * 6
    assert ids(scene.ask()) == ids(answer)


def test_only_pool_personas_of_an_empty_pool_are_refused(scene: Scene) -> None:
    with pytest.raises(PoolEmpty, match="the pool has 0 distinct personas near enough to this scenario, 6 are needed"):
        scene.ask(personas="pool")
    assert scene.personas.batches == []


def test_fresh_personas_are_generated_always(scene: Scene) -> None:
    scene.ask()
    answer = scene.ask(personas="fresh", seed=1)
    assert (answer.panel.gate.decision, answer.calls["persona"]) == ("fresh", 6)
    assert {member.source for member in answer.panel.members} == {"fresh"}


def test_an_unusable_persona_is_asked_for_again_and_recorded(scene: Scene) -> None:
    replies = ["I would rather write prose."]
    scene.personas.reply = lambda request: replies.pop() if replies else persona_reply(request)
    assert scene.ask().calls["persona"] == 7
    assert [len(batch) for batch in scene.personas.batches] == [6, 1]
    reason = "the reply is not JSON: Expecting value at character 0"
    assert scene.failures() == [("persona", 1, reason, "I would rather write prose.")]


def test_after_the_last_attempt_nothing_is_put_in_the_place_of_a_persona(scene: Scene) -> None:
    # Five of six are valid in the first round; the sixth never is.
    rounds = scene.personas.batches
    scene.personas.reply = lambda request: "no" if request is rounds[-1][0] else persona_reply(request)
    with pytest.raises(GenerationError, match=f"5 of 6 personas after {MAX_ATTEMPTS} attempts; the last one failed"):
        scene.ask()
    assert [len(batch) for batch in rounds] == [6, *[1] * (MAX_ATTEMPTS - 1)]
    assert [failure[1] for failure in scene.failures()] == list(range(1, MAX_ATTEMPTS + 1))
    assert scene.rows("SELECT persona_id FROM panels UNION SELECT id FROM answers") == []
    assert scene.comments.batches == []


def test_overton_asks_in_the_words_of_modular_pluralism(scene: Scene) -> None:
    assert scene.ask().outcome.output == "All of them agree."
    [[request]] = scene.main.batches
    assert request.messages == (Message("user", OVERTON),)
    assert (request.max_tokens, request.temperature) == (200, 0.1)


def test_a_distributional_answer_is_the_mean_weighted_by_the_priors(scene: Scene) -> None:
    even = scene.ask("distributional")
    assert even.outcome.distribution == pytest.approx((0.35, 0.65))
    assert [first for first, _ in even.outcome.distributions] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert (even.outcome.choice, even.outcome.output) == ("B", "B. No")
    weighted = scene.ask("distributional", priors={ids(even)[0]: 5.0, ids(even)[5][:12]: 0.0})
    assert weighted.outcome.weights == pytest.approx((5 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 0))
    # (5 * 0.1 + 0.2 + 0.3 + 0.4 + 0.5) / 9
    assert weighted.outcome.distribution == pytest.approx((1.9 / 9, 7.1 / 9))
    assert sum(weighted.outcome.distribution) == pytest.approx(1.0, abs=1e-12)


def test_steerable_answers_with_the_most_probable_comment(scene: Scene) -> None:
    scene.main.next_tokens = lambda _: {"4": 0.3, " 2": 0.2, "2.": 0.2, "7": 0.1}
    answer = scene.ask("steerable")
    assert answer.outcome.selection == pytest.approx((0, 4 / 7, 0, 3 / 7, 0, 0))
    assert answer.outcome.influences == answer.outcome.selection
    assert answer.outcome.label_mass == pytest.approx(0.7)
    [prompt] = scene.prompts(scene.main)
    assert prompt.startswith("Answer the question with the help of a passage.\n\nPassage: Comment 2.\n\n")
    assert answer.outcome.output == "All of them agree."


def test_labels_that_cannot_be_read_are_an_error_and_a_recorded_failure(scene: Scene) -> None:
    scene.main.next_tokens = lambda _: {"Well": 0.6, "a": 0.4}
    reason = "none of A, B is among the model's next tokens"
    with pytest.raises(UnreadableReply, match=reason):
        scene.ask("distributional")
    assert scene.failures() == [("main", 1, reason, "'Well', 'a'")]
    assert scene.rows("SELECT id FROM answers") == []


def test_an_empty_comment_is_an_error_and_a_recorded_failure(scene: Scene) -> None:
    scene.comments.reply = lambda _: " \n"
    with pytest.raises(ModelError, match=r"the comment of persona 'Person \d+' is empty"):
        scene.ask()
    assert scene.main.batches == []
    assert [stage for stage, *_ in scene.failures()] == ["comment"]


def test_the_gold_class_is_left_out_with_a_warning(scene: Scene) -> None:
    answer = scene.ask("distributional", attribute="high_ambiguity")
    assert answer.scenario.attribute is None
    warning = "'high_ambiguity' is MoralChoice's gold class, not a group: left out, since it leaks the label"
    assert warning in answer.warnings
    calls = audit.show_answer(scene.ethos.record, answer.answer_id)["model_calls"]
    assert "ambiguity" not in json.dumps([call["prompt"] for call in calls])


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        *((mode, changes) for mode in MODES for changes in ({}, QUESTION)),
        ("steerable", {**QUESTION, "attribute": "POLPARTY_Democrat"}),
        ("distributional", {"attribute": None}),
    ],
)
def test_the_record_gives_the_answer_back_as_it_was(scene: Scene, mode: str, changes: dict[str, Any]) -> None:
    scene.main.next_tokens = lambda _: {"A": 0.5, "B": 0.1, "1": 0.3, "6": 0.1}
    answer = scene.ask(mode, seed=3, **changes)
    given = answer.as_dict()
    read = scene.ethos.record.answer(answer.answer_id[:12])
    assert read.as_dict() == given
    assert json.loads(json.dumps(given)) == given
    assert (read.scenario, read.comments, read.outcome) == (answer.scenario, answer.comments, answer.outcome)


def test_the_audit_of_an_answer_lists_every_call_as_sent(scene: Scene) -> None:
    first, second = scene.ask("distributional"), scene.ask("distributional")
    calls = audit.show_answer(scene.ethos.record, first.answer_id)["model_calls"]
    stages = ("persona", "comment", "main")
    assert Counter((call["stage"], call["reused"]) for call in calls) == {(stage, False): 6 for stage in stages}
    sent = [[asdict(message) for message in request.messages] for request in scene.personas.batches[0]]
    assert [call["prompt"] for call in calls[:6]] == sent
    assert [call["completion"] for call in calls[6:12]] == [comment.text for comment in first.comments]
    assert [call["reading"]["probabilities"] for call in calls[12:]] == [list(d) for d in first.outcome.distributions]
    again = audit.show_answer(scene.ethos.record, second.answer_id)["model_calls"]
    assert Counter((call["stage"], call["reused"]) for call in again) == {("comment", True): 6, ("main", False): 6}
    assert [call["id"] for call in again[:6]] == [call["id"] for call in calls[6:12]]


def test_the_audit_of_a_persona_lists_the_answers_it_took_part_in(scene: Scene) -> None:
    answer = scene.ask("distributional")
    scene.ask(scenario="Driving a truck without sleep")
    [listed] = audit.show_persona(scene.ethos.pool.store, scene.ethos.record, ids(answer)[2], limit=10)["answers"]
    assert (listed["answer_id"], listed["rank"], listed["source"]) == (answer.answer_id, 3, "fresh")
    assert listed["influence"] == answer.outcome.influences[2]


def test_a_model_error_after_the_comments_loses_no_comment(scene: Scene) -> None:
    scene.main.reply, works = unreachable, scene.main.reply
    with pytest.raises(ModelError):
        scene.ask()
    scene.main.reply = works
    assert scene.ask().calls == {"persona": 0, "comment": 0, "main": 1}
    assert [len(batch) for batch in scene.comments.batches] == [6]


@pytest.mark.parametrize(("role", "stage"), [("personas", "persona"), ("comments", "comment"), ("main", "main")])
def test_a_model_that_cannot_be_reached_is_recorded(scene: Scene, role: str, stage: str) -> None:
    getattr(scene, role).reply = unreachable
    with pytest.raises(ModelError, match="cannot be reached"):
        scene.ask()
    assert scene.failures() == [(stage, 1, "the endpoint cannot be reached", "")]


def test_no_persona_call_goes_unrecorded_when_generation_fails(scene: Scene) -> None:
    scene.personas.reply = lambda _: "no"
    with pytest.raises(GenerationError):
        scene.ask()
    assert len(scene.rows("SELECT id FROM calls")) == len(scene.prompts(scene.personas)) >= 6


@pytest.mark.parametrize(("priors", "message"), [({"": -1.0}, "not negative"), ({"0f" * 16: 1.0}, "no persona id")])
def test_priors_that_cannot_be_used_are_refused_before_any_work(
    scene: Scene, priors: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        scene.ask(priors=priors)
    assert scene.prompts(scene.personas) == []
