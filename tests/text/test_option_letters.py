"""Option letters: how they are written, and how a choice is read back, strictly."""

from __future__ import annotations

import string

import pytest

from ethos.errors import UnreadableReply
from ethos.text.option_letters import gather, label_of, letters, read_label, written

ABC = ("A", "B", "C")
NINE = tuple("ABCDEFGHI")
NUMBERS = tuple("123456")
TEN = tuple(str(number) for number in range(1, 11))


def test_there_are_26_letters() -> None:
    assert letters(3) == ("A", "B", "C")
    assert "".join(letters(40)) == string.ascii_uppercase


def test_options_are_written_on_one_line() -> None:
    assert written(["Yes", "No"]) == "A. Yes B. No"


@pytest.mark.parametrize(
    "token",
    ["A", " A", "A ", "(A", "(A)", "A.", "A:", "**A", "**A**", "\nA", "▁A", "ĠA", "▁(A", '"A', "`A`", "[A]", "A,"],
)
def test_a_label_is_known_in_every_spelling(token: str) -> None:
    assert label_of(token, ABC) == "A"


@pytest.mark.parametrize("token", ["a", " a", "AB", "D", "", " ", "(", "An", "\u0391", "A B", "Ans", "1"])
def test_what_is_not_exactly_one_label_is_none(token: str) -> None:
    # U+0391 is the Greek capital Alpha.
    assert label_of(token, ABC) is None


def test_a_number_is_known_whole() -> None:
    assert label_of(" 1.", TEN) == "1"
    assert label_of("10", TEN) == "10"
    assert label_of("10", NUMBERS) is None


def test_probabilities_are_summed_over_spellings_and_normalised() -> None:
    tokens = {"A": 0.1, " A": 0.2, "(B": 0.1, "**B": 0.2, "the": 0.3, "a": 0.1}
    probabilities, mass = gather(tokens, ABC)
    assert probabilities == pytest.approx((0.5, 0.5, 0.0))
    assert mass == pytest.approx(0.6)


def test_probabilities_come_in_the_order_of_the_labels() -> None:
    assert gather({"A": 0.25, "B": 0.75}, ("B", "A")) == ((0.75, 0.25), 1.0)


def test_1_gets_nothing_from_10() -> None:
    assert gather({"10": 0.5, "1": 0.25}, NUMBERS) == ((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.25)


@pytest.mark.parametrize("tokens", [{}, {"the": 0.9, "a": 0.1}, {"A": 0.0}])
def test_tokens_without_a_label_are_an_error_that_shows_them(tokens: dict[str, float]) -> None:
    with pytest.raises(UnreadableReply, match="none of A, B, C is among the model's next tokens") as caught:
        gather(tokens, ABC)
    assert caught.value.reply == ", ".join(map(repr, tokens))


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        " B\n",
        "(B)",
        "B.",
        "B)",
        "B:",
        "B. Oppose",
        "B) Oppose",
        "(B) Oppose",
        "B\nBecause it harms the patient.",
        "**B**",
        "**B. Oppose**",
        "Answer: B",
        "The answer is B",
        "The answer is B.",
        "the answer is: (B) Oppose",
        "The answer is **B**.",
        "My choice is B.",
        "Option B",
    ],
)
def test_a_reply_that_begins_with_a_label_is_read(reply: str) -> None:
    assert read_label(reply, ABC) == "B"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   ",
        "b",
        " b)",  # lower case is an English word, or a list mark
        "(b) Oppose",
        "D",
        "1",
        "Oppose",
        "Because of B",
        "Both A and B",
        "The answer is not B",
        "The answer is a matter of taste",
        "An old patient",
    ],
)
def test_a_reply_that_does_not_begin_with_a_label_is_refused(reply: str) -> None:
    with pytest.raises(UnreadableReply, match="does not begin with one of A, B, C") as caught:
        read_label(reply, ABC)
    assert caught.value.reply == reply


@pytest.mark.parametrize(
    "reply",
    ["A patient has the right to refuse.", "A 70-year-old should not have to wait."],
)
def test_the_english_article_is_not_option_a(reply: str) -> None:
    with pytest.raises(UnreadableReply):
        read_label(reply, ABC)


def test_the_english_pronoun_is_not_option_i() -> None:
    with pytest.raises(UnreadableReply):
        read_label("I think that it depends.", NINE)


@pytest.mark.parametrize("reply", ["C-section births are safe.", "B cells fight infections.", "A's view is right"])
def test_a_word_that_starts_with_a_letter_is_not_an_option(reply: str) -> None:
    with pytest.raises(UnreadableReply):
        read_label(reply, ABC)


@pytest.mark.parametrize("reply", ["A or B", "A and B", "A/B", "A, B", "(A) or (B)"])
def test_two_labels_are_not_a_choice(reply: str) -> None:
    with pytest.raises(UnreadableReply):
        read_label(reply, ABC)


@pytest.mark.parametrize("reply", ["1", "1.", "(1)", "#1", "The answer is 1", "1. It is kind."])
def test_a_number_is_read(reply: str) -> None:
    assert read_label(reply, NUMBERS) == "1"


@pytest.mark.parametrize("reply", ["10", "100", "10.", "1st", "1.5", "1-3", "1 or 2", "one", "7"])
def test_a_number_that_only_holds_a_label_is_refused(reply: str) -> None:
    with pytest.raises(UnreadableReply):
        read_label(reply, NUMBERS)


def test_10_is_read_as_10() -> None:
    assert read_label("10. It is kind.", TEN) == "10"
