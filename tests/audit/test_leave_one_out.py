"""Causal influence: by hand where arithmetic suffices, by scripted models through the record, and on a real model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from replies import persona_reply

from ethos import Ethos
from ethos.answer import Answer
from ethos.audit.influence.leave_one_out import shapley
from ethos.audit.influence.methods import Method, agreement, find_influence, influences
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import ConfigurationError, InputError
from ethos.influence import Attribution
from ethos.llm import Likelihood, Message, Request, scoring, user
from ethos.llm.backends.endpoint import EndpointModel
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.backends.transformers_local import LocalModel
from ethos.pipeline.settings import Settings

SHOT = "Getting a flu vaccine every winter"
OPTIONS = ("Yes", "No", "Unsure")


@dataclass
class Scoring(ScriptedModel):
    """Holds a word of a text that stands in the prompt for likelier than one that does not."""

    def log_likelihoods(self, pairs: Sequence[tuple[tuple[Message, ...], str]]) -> list[Likelihood]:
        return [self._likelihood(prompt[-1].content, text) for prompt, text in pairs]

    def _likelihood(self, prompt: str, text: str) -> Likelihood:
        words = text.split()
        return Likelihood(sum(-1.0 if word in prompt else -3.0 for word in words), len(words))


class OrderSensitive(Scoring):
    """Likes a prompt more that has its first comment early."""

    def _likelihood(self, prompt: str, text: str) -> Likelihood:
        known = super()._likelihood(prompt, text)
        return Likelihood(known.log_probability - prompt.find("Comment1") / 1000, known.tokens)


def comment_reply(numbers: Iterator[int]) -> Callable[[Request], str]:
    return lambda _: f"Comment{(n := next(numbers))} says word{n}a word{n}b."


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def main() -> Scoring:
    return Scoring(lambda _: "Some word2a word2b word2a word2b and word5a", name="main")


@pytest.fixture
def ethos(tmp_path: Path, embedder: Embedder, main: Scoring) -> Iterator[Ethos]:
    numbers = iter(range(1, 1000))
    roles = {
        "model": main,
        "comment_model": ScriptedModel(comment_reply(numbers), name="comments"),
        "persona_model": ScriptedModel(persona_reply, name="personas"),
    }
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as opened:
        yield opened


def values(found: tuple[Answer, Attribution]) -> list[float | None]:
    return list(found[1].influences.values())


def by_text(probabilities: Mapping[str, float]) -> Callable[[tuple[Message, ...]], Mapping[str, float]]:
    """Next tokens that follow what is numbered or lettered, wherever it stands."""

    def next_tokens(messages: tuple[Message, ...]) -> Mapping[str, float]:
        text = messages[-1].content
        shown = re.findall(r"(?:Comment |\b)(\d|[A-Z])[:.] (\w+)", text)
        return {label: probabilities[word] for label, word in shown if word in probabilities}

    return next_tokens


# Shapley values ----------------------------------------------------------------------------------------------------


def test_shapley_values_of_the_glove_game() -> None:
    # Two left gloves and one right: worth 1 with a pair; textbook values 1/6, 1/6, 4/6.
    worth = [1.0 if mask & 4 and mask & 3 else 0.0 for mask in range(8)]
    assert shapley(worth, 3) == pytest.approx((1 / 6, 1 / 6, 2 / 3))


@examples(deadline=None)
@given(
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.floats(-5, 5), min_size=2**n, max_size=2**n)))
)
def test_shapley_values_share_out_all_there_is(game: tuple[int, list[float]]) -> None:
    count, worth = game
    assert sum(shapley(worth, count)) == pytest.approx(worth[-1] - worth[0], abs=1e-9)


@examples(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5))
def test_who_adds_the_same_to_everybody_is_worth_that(added: list[float]) -> None:
    worth = [sum(a for i, a in enumerate(added) if mask >> i & 1) for mask in range(1 << len(added))]
    assert shapley(worth, len(added)) == pytest.approx(added, abs=1e-9)


# Overton -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [Method.LEAVE_ONE_OUT, Method.SHAPLEY])
def test_the_comment_that_the_answer_copies_has_the_highest_influence_and_the_others_none(
    ethos: Ethos, method: Method
) -> None:
    answer = ethos.answer(SHOT)
    found = find_influence(ethos, answer.answer_id, method)
    # Of seven words four are the second comment's and one is the fifth's; a word that is nowhere loses 2 nats.
    assert values(found) == pytest.approx([0, 2 * 4 / 7, 0, 0, 2 * 1 / 7, 0])
    details = found[1].details
    assert details["floor"] == pytest.approx(0)
    assert details["above_floor"] == [False, True, False, False, True, False]
    assert (details["reordered"], details["asked"]) == (8, "scripted:main")


def test_the_noise_floor_is_what_another_order_changes(tmp_path: Path, embedder: Embedder) -> None:
    main = OrderSensitive(lambda _: "Some word2a word2b", name="main")
    comments = ScriptedModel(comment_reply(iter(range(1, 100))), name="comments")
    roles = {"model": main, "comment_model": comments, "persona_model": ScriptedModel(persona_reply, name="p")}
    with Ethos(tmp_path / "pool", embedder=embedder, **roles) as ethos:
        answer = ethos.answer(SHOT)
        details = find_influence(ethos, answer.answer_id, Method.LEAVE_ONE_OUT)[1].details
    assert details["floor"] > 0.01
    assert details["above_floor"][1]
    assert not any(details["above_floor"][2:])


def test_a_lone_persona_has_no_order_to_compare_with(tmp_path: Path, embedder: Embedder, main: Scoring) -> None:
    roles = {"model": main, "comment_model": main, "persona_model": ScriptedModel(persona_reply, name="personas")}
    with Ethos(tmp_path / "pool", embedder=embedder, settings=Settings(k=1), **roles) as ethos:
        found = find_influence(ethos, ethos.answer(SHOT).answer_id, Method.LEAVE_ONE_OUT)[1]
    assert (found.details["floor"], found.details["above_floor"]) == (None, None)


def test_more_than_six_personas_have_too_many_subsets(tmp_path: Path, embedder: Embedder, main: Scoring) -> None:
    roles = {"model": main, "comment_model": main, "persona_model": ScriptedModel(persona_reply, name="personas")}
    with Ethos(tmp_path / "pool", embedder=embedder, settings=Settings(k=7), **roles) as ethos:
        answer = ethos.answer(SHOT)
        with pytest.raises(InputError, match="7 personas have 128 subsets"):
            find_influence(ethos, answer.answer_id, Method.SHAPLEY)


def test_a_model_that_cannot_score_says_so(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT)
    endpoint = EndpointModel("m", base_url="http://localhost:1/v1")
    with pytest.raises(ConfigurationError, match="openai:m cannot score the probability of a given text"):
        find_influence(ethos, answer.answer_id, Method.LEAVE_ONE_OUT, by=endpoint)
    assert isinstance(scoring(Scoring(lambda _: "")), Scoring)


# Distributional ----------------------------------------------------------------------------------------------------


def test_a_distributional_answer_needs_no_model_to_be_taken_apart(ethos: Ethos, main: Scoring) -> None:
    shares = iter([0.2, 0.2, 0.2, 0.2, 0.2, 0.95])
    main.next_tokens = lambda _: {"A": (p := next(shares)), "B": 1 - p, "C": 0.0}
    answer = ethos.answer(SHOT, "distributional", options=OPTIONS)
    asked = len(main.batches)
    left_out = values(find_influence(ethos, answer.answer_id, Method.LEAVE_ONE_OUT))
    assert left_out == pytest.approx(answer.outcome.influences)
    fair = [value for value in values(find_influence(ethos, answer.answer_id, Method.SHAPLEY)) if value is not None]
    assert sum(fair) == pytest.approx(1)
    assert fair[5] == min(fair)  # who disagrees with all others does least to bring the panel near the answer
    assert len(main.batches) == asked


# Steerable ---------------------------------------------------------------------------------------------------------


def test_the_runner_up_gives_its_own_answer(ethos: Ethos, main: Scoring) -> None:
    likes = {"1": 0.1, "2": 0.5, "3": 0.3, "4": 0.1}
    said = {"Comment2": {"A": 0.9, "B": 0.1}, "Comment3": {"A": 0.2, "B": 0.8}}

    def next_tokens(messages: tuple[Message, ...]) -> Mapping[str, float]:
        text = messages[-1].content
        if "select one comment" in text:
            return likes
        return next(tokens for name, tokens in said.items() if name in text)

    main.next_tokens = next_tokens
    answer = ethos.answer(SHOT, "steerable", options=("Yes", "No"), attribute="POLPARTY_Democrat")
    assert answer.outcome.choice == "A"
    _, found = find_influence(ethos, answer.answer_id, Method.RUNNER_UP)
    ids = [member.persona.id for member in answer.panel.members]
    details = found.details
    assert (details["selected"], details["runner_up"]) == (ids[1], ids[2])
    assert details["margin"] == pytest.approx(0.2)
    assert (details["output"], details["choice"], details["same"]) == ("B. No", "B", False)
    # JS([.9, .1], [.2, .8]): m = [.55, .45], half of .292821 and .257971 nats; its root.
    assert list(found.influences.values()) == pytest.approx([0, 0.524782, 0, 0, 0, 0], abs=1e-6)
    assert len(details["calls"]) == 1


def test_nobody_is_runner_up_where_the_model_is_certain(ethos: Ethos, main: Scoring) -> None:
    main.next_tokens = lambda _: {"1": 1.0}
    answer = ethos.answer(SHOT, "steerable", attribute="Autonomy")
    with pytest.raises(InputError, match="no other comment has any probability"):
        find_influence(ethos, answer.answer_id, Method.RUNNER_UP)


def test_a_choice_that_follows_the_place_is_found_out(ethos: Ethos, main: Scoring) -> None:
    main.next_tokens = lambda _: {"1": 0.7, "2": 0.2, "3": 0.1}
    answer = ethos.answer(SHOT, "steerable", attribute="Autonomy")
    _, found = find_influence(ethos, answer.answer_id, Method.ORDER)
    assert list(found.influences.values()) == pytest.approx([1 / 6] * 6)
    assert found.details["stable"] == pytest.approx(1 / 6)
    assert found.details["by_place"] == pytest.approx([0.7, 0.2, 0.1, 0, 0, 0])


def test_a_choice_that_follows_the_comment_is_stable(ethos: Ethos, main: Scoring) -> None:
    main.next_tokens = by_text({"Comment3": 0.6, "Comment1": 0.4})
    answer = ethos.answer(SHOT, "steerable", attribute="Autonomy")
    _, found = find_influence(ethos, answer.answer_id, Method.ORDER)
    assert list(found.influences.values()) == pytest.approx([0.4, 0, 0.6, 0, 0, 0])
    assert found.details["stable"] == 1


@pytest.mark.parametrize("mode", ["distributional", "steerable", "overton"])
@pytest.mark.parametrize(
    ("next_tokens", "stable", "distribution"),
    [
        (lambda _: {"A": 0.8, "B": 0.1, "C": 0.1, "1": 1.0}, 1 / 3, [1 / 3] * 3),
        (lambda m: {"1": 1.0, **by_text({"Yes": 0.1, "No": 0.7, "Unsure": 0.2})(m)}, 1.0, [0.1, 0.7, 0.2]),
    ],
    ids=["by letter", "by option"],
)
def test_options_that_are_chosen_by_their_letter_are_found_out(
    ethos: Ethos, main: Scoring, mode: str, next_tokens: Any, stable: float, distribution: list[float]
) -> None:
    main.next_tokens = next_tokens
    attribute = {"steerable": "POLPARTY_Democrat"}.get(mode)
    answer = ethos.answer(SHOT, mode, options=OPTIONS, attribute=attribute)
    details: Mapping[str, Any] = find_influence(ethos, answer.answer_id, Method.ORDER)[1].details
    details = details.get("options", details)
    assert details["stable"] == pytest.approx(stable)
    assert details["distribution"] == pytest.approx(distribution)


def test_options_inside_a_wording_are_turned_round_in_it(ethos: Ethos, main: Scoring) -> None:
    main.next_tokens = lambda _: {"A": 0.5, "B": 0.5}
    ethos_answer = ethos.answer("Question: Is it right? \nOptions: A. Yes B. No\nAnswer:", "distributional")
    _, found = find_influence(ethos, ethos_answer.answer_id, Method.ORDER)
    assert found.details["wording_kept"]
    with ethos.pool.database.read() as connection:
        [prompt] = connection.exec_driver_sql(
            "SELECT texts.content FROM texts JOIN calls ON texts.id = prompt_id WHERE calls.id = ?",
            (found.details["calls"][-1],),
        ).scalars()
    assert "Options: A. No B. Yes" in prompt


# All together ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "method"),
    [("steerable", "textual"), ("steerable", "leave-one-out"), ("overton", "runner-up"), ("distributional", "textual")],
)
def test_a_method_that_does_not_fit_the_mode_names_those_that_do(
    ethos: Ethos, main: Scoring, mode: str, method: str
) -> None:
    main.next_tokens = lambda _: {"1": 1.0, "A": 1.0}
    attribute = {"steerable": "POLPARTY_Democrat"}.get(mode)
    answer = ethos.answer(SHOT, mode, options=OPTIONS, attribute=attribute)
    with pytest.raises(InputError, match=f"the method {method} is not for {mode} answers") as raised:
        find_influence(ethos, answer.answer_id, Method(method))
    assert "use --method" in raised.value.hint


def test_what_was_found_is_in_the_record_and_compared(ethos: Ethos) -> None:
    answer = ethos.answer(SHOT)
    for _ in range(2):  # found again, it is stored once
        for method in (Method.TEXTUAL, Method.LEAVE_ONE_OUT, Method.SHAPLEY):
            find_influence(ethos, answer.answer_id, method)
    known = influences(ethos.record, answer)
    assert [one.method for one in known] == ["answer", "leave-one-out", "shapley", "textual"]
    assert list(known[0].influences.values()) == list(answer.outcome.influences)
    assert [list(one.influences) for one in known] == [[m.persona.id for m in answer.panel.members]] * 4
    found = {tuple(pair["methods"]): pair["spearman"] for pair in agreement(known)}
    assert found["leave-one-out", "shapley"] == pytest.approx(1)
    assert len(found) == 6


def test_methods_that_tell_nobody_apart_agree_on_nothing() -> None:
    one = Attribution("one", "", {"a": 0.5, "b": 0.5})
    other = Attribution("other", "", {"a": 0.1, "b": None})
    third = Attribution("third", "", {"a": 0.1, "b": 0.9})
    assert [pair["spearman"] for pair in agreement([one, other, third])] == [None, None, None]
    assert agreement([third, third])[0]["spearman"] == pytest.approx(1)


# The real model ----------------------------------------------------------------------------------------------------


def test_likelihoods_are_those_that_the_model_reads_token_by_token(model: LocalModel) -> None:
    import torch

    prompts = ["Say hello.", "Say hello, and then say good night to everybody in the house."]
    pairs = [(user(prompt), text) for prompt in prompts for text in ("Hello.", "Good night to everybody in the house!")]
    found = model.log_likelihoods(pairs)
    for (messages, text), likelihood in zip(pairs, found, strict=True):
        prompt = model._encode(messages, 0)
        ids = model._tokenizer.encode(text, add_special_tokens=False)
        with torch.inference_mode():
            logits = model._model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
        told = torch.log_softmax(logits.float(), -1)[range(len(ids)), ids]
        assert likelihood.log_probability == pytest.approx(float(told.sum()), abs=1e-3)
        assert likelihood.tokens == len(ids)
        assert likelihood.per_token == pytest.approx(float(told.mean()), abs=1e-4)


def test_equal_pairs_and_texts_with_one_beginning_are_scored_apart(model: LocalModel) -> None:
    prompt = user("What helps against a cold?")
    texts = ["Sleep and tea.", "Sleep and tea.", "Sleep and tea and time."]
    together = model.log_likelihoods([(prompt, text) for text in texts])
    alone = [model.log_likelihoods([(prompt, text)])[0] for text in texts]
    assert [one.log_probability for one in together] == pytest.approx([one.log_probability for one in alone], abs=1e-3)
    assert model.log_likelihoods([]) == []
