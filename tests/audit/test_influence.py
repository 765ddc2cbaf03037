"""Influence: what each persona moved, checked by hand and with the real encoder."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ethos.encoders.embedder import Embedder, open_embedder
from ethos.influence import leave_one_out, sentence_shares, sentences, weighted_mean

WEIGHT = st.floats(0.01, 1.0)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.mark.parametrize(
    ("distributions", "weights", "expected"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [1, 1], (0.5, 0.5)),
        ([[1.0, 0.0], [0.0, 1.0]], [3, 1], (0.75, 0.25)),
        ([[0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], [0.5, 0.5], (0.3, 0.35, 0.35)),
        ([[0.2, 0.8], [0.9, 0.1]], [1, 0], (0.2, 0.8)),
        ([[0.2, 0.8]], [5], (0.2, 0.8)),
    ],
)
def test_the_mean_is_weighted_by_the_priors(
    distributions: list[list[float]], weights: list[float], expected: tuple[float, ...]
) -> None:
    assert weighted_mean(distributions, weights) == pytest.approx(expected)


def test_two_opposed_personas_move_the_answer_equally() -> None:
    # JS([.5, .5], [0, 1]): m = [.25, .75], half of .5 ln 2 + .5 ln(2/3) and of ln(4/3) is .215762; its root .464501.
    assert leave_one_out([[1.0, 0.0], [0.0, 1.0]], [1, 1]) == pytest.approx((0.464501, 0.464501), abs=1e-6)


def test_a_heavier_persona_moves_the_answer_more() -> None:
    # JS([.75, .25], [0, 1]) and JS([.75, .25], [1, 0]).
    assert leave_one_out([[1.0, 0.0], [0.0, 1.0]], [3, 1]) == pytest.approx((0.616762, 0.309197), abs=1e-6)


def test_the_most_a_persona_can_move_is_the_root_of_ln_2() -> None:
    most, least = leave_one_out([[1.0, 0.0], [0.0, 1.0]], [1, 1e-12])
    assert most == pytest.approx(0.832555, abs=1e-5)
    assert least == pytest.approx(0.0, abs=1e-5)


def test_without_a_lone_persona_no_answer_is_left() -> None:
    assert leave_one_out([[0.3, 0.7]], [1]) == (None,)
    # The others have no weight, and nothing is moved by who has none.
    assert leave_one_out([[0.3, 0.7], [0.6, 0.4], [0.1, 0.9]], [1, 0, 0]) == (None, 0.0, 0.0)


def test_a_persona_without_weight_moves_nothing() -> None:
    assert leave_one_out([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], [1, 1, 0])[2] == 0.0


@settings(deadline=None)
@given(
    st.lists(WEIGHT, min_size=2, max_size=5),
    st.lists(WEIGHT, min_size=2, max_size=6),
)
# Rounding leaves SciPy the root of a number just below zero: nan, with a warning.
@example([0.2, 0.3, 0.5], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
@example([0.1, 0.3, 0.6], [0.7, 0.2, 0.1])
def test_nobody_moves_an_answer_on_which_all_agree(masses: list[float], weights: list[float]) -> None:
    distribution = [mass / sum(masses) for mass in masses]
    assert leave_one_out([distribution] * len(weights), weights) == pytest.approx((0.0,) * len(weights), abs=1e-7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It helps. It may harm!  Who decides?", ["It helps.", "It may harm!", "Who decides?"]),
        ("Dr. Smith agrees, e.g. on 3.5 mg a day.", ["Dr. Smith agrees, e.g. on 3.5 mg a day."]),
        ("One line\n\nAnother line", ["One line", "Another line"]),
        ("no full stop", ["no full stop"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_a_text_is_split_into_its_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text",
    ["You can't treat her.", "I don't know; it isn't fair.", "A well-being check, and/or a long-term plan."],
)
def test_a_sentence_stands_as_it_was_written(text: str) -> None:
    assert sentences(text) == [text]


def test_a_copied_comment_has_the_highest_share(embedder: Embedder) -> None:
    comments = [
        "Vaccines protect the whole community. Refusing them puts others at risk.",
        "Everyone may decide about their own body. The state should not force a needle on anyone.",
        "A doctor's first duty is to listen. Trust is earned by patience.",
    ]
    for position, comment in enumerate(comments):
        expected = [0.0, 0.0, 0.0]
        expected[position] = 1.0
        assert sentence_shares(embedder, comment, comments) == pytest.approx(expected)


def test_shares_follow_the_sentences_of_the_answer(embedder: Embedder) -> None:
    comments = [
        "Vaccines protect the whole community. Hospitals have too few beds.",
        "Everyone may decide about their own body.",
        "The price of bread rose last year.",
    ]
    output = (
        "Vaccination protects everybody in the community. Hospitals lack beds. Each person decides about his own body."
    )
    assert sentence_shares(embedder, output, comments) == pytest.approx((2 / 3, 1 / 3, 0.0))


def test_equal_comments_share_equally(embedder: Embedder) -> None:
    comment = "Vaccines protect the whole community."
    assert sentence_shares(embedder, comment, [comment, comment]) == pytest.approx((0.5, 0.5))


def test_a_lone_comment_has_all(embedder: Embedder) -> None:
    assert sentence_shares(embedder, "It helps. It harms.", ["Bread is dear."]) == (1.0,)
