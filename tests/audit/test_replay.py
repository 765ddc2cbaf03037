"""Replays: what is recorded can be run again to the letter, and where it cannot, the record says where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from replies import persona_reply

from ethos import Ethos, Scenario
from ethos.answer import Answer
from ethos.audit.panel_swap import swap
from ethos.audit.replay import RecordedModels, first_difference, recorded_prompts, replay
from ethos.cli import main as command_line
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import ConfigurationError, InputError, ModelError
from ethos.llm import Message, ModelIdentity, Request
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.backends.transformers_local import LocalModel
from ethos.llm.opening import Endpoint
from ethos.llm.weights import SMOLLM2
from ethos.persona import OriginKind, Persona
from ethos.pipeline.settings import Settings
from ethos.pool.storage.values import Origin

SHOT = "Getting a flu vaccine every winter"
ASKED: dict[str, dict[str, Any]] = {
    "overton": {},
    "steerable": {"attribute": "Autonomy"},
    "distributional": {"options": ("Yes", "No")},
}


def comment_reply(request: Request) -> str:
    return f"It should be so, says number {request.seed}."


def by_comment(messages: tuple[Message, ...]) -> dict[str, float]:
    """Label probabilities that depend on the whole prompt, and on nothing else."""
    text = messages[-1].content
    return {label: 1 + sum(map(ord, text)) * (place + 1) % 97 for place, label in enumerate("AB123456789")}


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def main() -> ScriptedModel:
    return ScriptedModel(lambda request: f"All of {len(request.messages[-1].content)} agree.", by_comment, name="main")


@pytest.fixture
def comments() -> ScriptedModel:
    return ScriptedModel(comment_reply, name="comments")


@pytest.fixture
def ethos(tmp_path: Path, embedder: Embedder, main: ScriptedModel, comments: ScriptedModel) -> Iterator[Ethos]:
    roles = {"model": main, "comment_model": comments, "persona_model": ScriptedModel(persona_reply, name="personas")}
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as opened:
        yield opened


def ids(answer: Answer) -> list[str]:
    return [member.persona.id for member in answer.panel.members]


def joiner(ethos: Ethos) -> str:
    """A persona of the pool that is on no panel."""
    other = Persona("Ann", "Honesty", "Kantian ethics of truth", "Right to know", "Calm", "Librarian")
    ethos.pool.add(Scenario("Telling a lie to a friend"), [other], Origin(OriginKind.CURATED))
    return other.id


def rows(ethos: Ethos) -> dict[str, int]:
    with ethos.pool.database.read() as connection:
        return {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in ("answers", "calls", "texts", "members", "failures")
        }


@pytest.mark.parametrize("mode", ASKED)
def test_a_replay_sends_what_was_sent_and_finds_it_identical(
    ethos: Ethos, main: ScriptedModel, comments: ScriptedModel, mode: str
) -> None:
    answer = ethos.answer(SHOT, mode, seed=7, **ASKED[mode])
    before, sent = rows(ethos), (list(main.batches), list(comments.batches))
    found = replay(ethos, answer.answer_id[:12])
    assert found.identical
    assert found.calls == sum(answer.calls.values())
    assert (main.batches, comments.batches) == (sent[0] * 2, sent[1] * 2)
    assert rows(ethos) == before


def test_reused_comments_are_replayed_too(ethos: Ethos, comments: ScriptedModel) -> None:
    ethos.answer(SHOT)
    again = ethos.answer(SHOT)
    assert again.calls["comment"] == 0
    found = replay(ethos, again.answer_id)
    assert (found.identical, found.calls) == (True, 7)
    assert [len(batch) for batch in comments.batches] == [6, 6]


def test_a_reply_that_differs_is_named_with_its_first_differing_character(
    ethos: Ethos, comments: ScriptedModel
) -> None:
    answer = ethos.answer(SHOT)
    seeds = [request.seed for request in comments.batches[0]]
    comments.reply = lambda r: comment_reply(r).replace("should", "shall") if r.seed == seeds[2] else comment_reply(r)
    [divergence] = replay(ethos, answer.answer_id).divergences
    # Six persona calls come first.
    assert (divergence.stage, divergence.number, divergence.character) == ("comment", 9, 5)
    assert divergence.call_id == answer.comments[2].call_id
    assert divergence.recorded.startswith("It should be so")
    assert divergence.replayed.startswith("It shall be so")


def test_a_probability_that_differs_is_named(ethos: Ethos, main: ScriptedModel) -> None:
    answer = ethos.answer(SHOT, "distributional", options=("Yes", "No"))
    main.next_tokens = lambda messages: {**by_comment(messages), "A": 50.0}
    found = replay(ethos, answer.answer_id)
    assert len(found.divergences) == 12
    assert {divergence.stage for divergence in found.divergences} == {"main"}
    assert found.divergences[0].what.startswith("the probability of A is 0.")


def test_rounding_is_no_divergence(ethos: Ethos, main: ScriptedModel) -> None:
    answer = ethos.answer(SHOT, "distributional", options=("Yes", "No"))
    main.next_tokens = lambda messages: {k: v * (1 + 1e-8 * (k == "A")) for k, v in by_comment(messages).items()}
    assert replay(ethos, answer.answer_id).identical


def test_a_model_that_fails_is_a_divergence_of_its_calls(ethos: Ethos, main: ScriptedModel) -> None:
    answer = ethos.answer(SHOT)

    def unreachable(_: Request) -> str:
        raise ModelError("the endpoint cannot be reached")

    main.reply = unreachable
    [divergence] = replay(ethos, answer.answer_id).divergences
    assert (divergence.number, divergence.what) == (13, "the model failed: the endpoint cannot be reached")


def test_an_answer_that_the_mode_would_now_compose_otherwise_is_found_out(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT)
    with ethos.pool.database.write() as connection:
        connection.exec_driver_sql("UPDATE answers SET output = 'All of 999 agree.'")
    [divergence] = replay(ethos, answer.answer_id).divergences
    assert (divergence.stage, divergence.what, divergence.character) == ("answer", "the text is another", 7)


def test_a_prompt_that_was_changed_in_the_record_is_not_sent(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT)
    with ethos.pool.database.write() as connection:
        connection.exec_driver_sql("UPDATE texts SET content = replace(content, 'winter', 'summer')")
    with pytest.raises(InputError, match="is not as it was sent"):
        replay(ethos, answer.answer_id)


def test_the_model_that_the_record_names_is_opened(ethos: Ethos) -> None:
    models = RecordedModels(ethos)
    local = LocalModel(SMOLLM2, "float32").identity
    assert models.of(local, "main").identity == local
    assert models.of(local, "main") is models.of(local, "comment")
    with pytest.raises(ConfigurationError, match="unknown model backend 'scripted'"):
        models.of(ModelIdentity("scripted:gone"), "main")


def test_the_settings_model_is_not_opened_for_an_answer_that_another_made(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ethos.pipeline.ethos.open_model", lambda *_: pytest.fail("a model was opened that nobody asks")
    )
    settings = Settings(pool=tmp_path / "pool", endpoint=Endpoint(base_url="http://127.0.0.1:9/v1"))
    with Ethos(embedder=embedder, settings=settings) as ethos:
        assert ethos.named("comment_model") == ethos.settings.model
        assert RecordedModels(ethos).of(ModelIdentity("openai:m"), "main").identity.name == "openai:m"


def test_twenty_answers_in_all_modes_are_identical_again(ethos: Ethos) -> None:
    asked = [(seed, mode) for seed in range(7) for mode in ASKED][:20]
    answers = [ethos.answer(SHOT, mode, seed=seed, **ASKED[mode]) for seed, mode in asked]
    before = rows(ethos)
    assert [replay(ethos, answer.answer_id).identical for answer in answers] == [True] * 20
    assert rows(ethos) == before


def test_a_prompt_set_is_found_by_its_recorded_label() -> None:
    assert [recorded_prompts(label).name for label in ("paper-1", "structured-2")] == ["paper", "structured"]
    assert recorded_prompts("structured-2+plan").version.endswith("+plan")
    with pytest.raises(ConfigurationError, match="no prompt set 'poetic-1'"):
        recorded_prompts("poetic-1")


@pytest.mark.parametrize(
    ("one", "other", "place"), [("abc", "abc", None), ("abc", "abd", 2), ("ab", "abc", 2), ("", "a", 0)]
)
def test_the_first_difference_is_counted_from_zero(one: str, other: str, place: int | None) -> None:
    assert first_difference(one, other) == place


@pytest.mark.parametrize("mode", ASKED)
def test_without_a_persona_the_others_comments_stay(ethos: Ethos, comments: ScriptedModel, mode: str) -> None:
    answer = ethos.answer(SHOT, mode, **ASKED[mode])
    before = rows(ethos)["answers"]
    found = swap(ethos, answer.answer_id, without=[ids(answer)[1][:12]])
    after = found.after
    assert ids(after) == [*ids(answer)[:1], *ids(answer)[2:]]
    assert after.comments == (*answer.comments[:1], *answer.comments[2:])
    assert [member.rank for member in after.panel.members] == [1, 2, 3, 4, 5]
    assert after.outcome.weights == pytest.approx((0.2,) * 5)
    assert after.outcome.output != answer.outcome.output or mode == "distributional"
    assert len(comments.batches) == 1
    assert rows(ethos)["answers"] == before


def test_with_a_persona_it_is_asked_for_its_comment_once(ethos: Ethos, comments: ScriptedModel) -> None:
    answer, ann = ethos.answer(SHOT), joiner(ethos)
    first = swap(ethos, answer.answer_id, [ids(answer)[0]], [ann]).after
    second = swap(ethos, answer.answer_id, added=[ann]).after
    assert ids(first) == [*ids(answer)[1:], ann]
    assert ids(second) == [*ids(answer), ann]
    assert [len(batch) for batch in comments.batches] == [6, 1]
    member = first.panel.members[-1]
    assert (member.rank, member.reason) == (6, "put in by `ethos audit replay --with`")
    assert -1 < member.relevance < 0.45
    assert (first.calls["comment"], second.calls["comment"]) == (1, 0)


def test_another_panel_is_recorded_only_on_demand(ethos: Ethos) -> None:
    answer, ann = ethos.answer(SHOT), joiner(ethos)
    after = swap(ethos, answer.answer_id, [ids(answer)[0]], [ann], keep=True).after
    stored = ethos.record.answer(after.answer_id)
    assert stored == after
    names = answer.panel.members[0].persona.name
    assert stored.warnings == (f"answer {answer.answer_id[:12]} was given again without {names} and with Ann",)
    assert replay(ethos, after.answer_id).identical
    assert ethos.answer(SHOT, reuse=True).answer_id == answer.answer_id


def test_a_distribution_moves_as_leaving_one_out_says(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT, "distributional", options=("Yes", "No"))
    for who, influence in zip(ids(answer), answer.outcome.influences, strict=True):
        found = swap(ethos, answer.answer_id, without=[who]).as_dict()
        assert found["distance"] == pytest.approx(influence)


@pytest.mark.parametrize(
    ("without", "added", "message"),
    [
        (0, 0, "nobody is to leave the panel or to join it"),
        (["f" * 32], 0, "0 members of the panel have an id that starts with"),
        (6, 0, "nobody would be left"),
        (0, 1, "is in the panel already"),
        (0, ["f" * 32], "is the start of no persona id"),
    ],
)
def test_a_panel_that_cannot_be_is_refused(ethos: Ethos, without: Any, added: Any, message: str) -> None:
    answer = ethos.answer(SHOT)
    people = ids(answer)
    who = [group if isinstance(group, list) else people[:group] for group in (without, added)]
    with pytest.raises(InputError, match=message):
        swap(ethos, answer.answer_id, *who)


def test_a_steered_panel_of_ten_is_refused(tmp_path: Path, embedder: Embedder, main: ScriptedModel) -> None:
    roles = {"model": main, "comment_model": main, "persona_model": ScriptedModel(persona_reply, name="personas")}
    with Ethos(tmp_path / "pool", embedder=embedder, settings=Settings(k=9), **roles) as ethos:
        answer = ethos.answer(SHOT, "steerable", attribute="Autonomy")
        with pytest.raises(InputError, match="k is 10"):
            swap(ethos, answer.answer_id, added=[joiner(ethos)])


def test_a_local_model_writes_the_same_again_from_the_command_line(tmp_path: Path) -> None:
    pool = str(tmp_path / "pool")

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(command_line, [*arguments, "--pool", pool, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    run("pool", "init")
    asked = ["Refusing a vaccine because a neighbour did", "--k", "2", "--no-reuse"]
    answers = [
        run("answer", *asked),
        run("answer", *asked, "--mode", "distributional", "--option", "Yes", "--option", "No"),
    ]
    again = run("audit", "replay", answers[0]["answer_id"])
    assert (again["identical"], again["divergences"]) == (True, [])
    swapped = run("audit", "replay", answers[1]["answer_id"], "--without", answers[1]["panel"][0]["persona_id"])
    assert swapped["distance"] == pytest.approx(answers[1]["panel"][0]["influence"])
    found = run("audit", "influence", answers[0]["answer_id"], "--method", "leave-one-out")
    assert len(found["influences"]) == 2
    assert found["details"]["reordered"] == 1
