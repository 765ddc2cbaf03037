"""Personas: six texts, named by their content, written and read as the paper's line."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ethos.errors import InputError
from ethos.persona import ATTRIBUTES, Persona, clashes

NURSE = Persona("Ward Nurse", "Compassion", "Care ethics", "Duty to care", "Empathy", "Nurse")
LINE = "Ward Nurse: Compassion, Care ethics, Duty to care, Empathy, Nurse"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.text("a,\"' é。", min_size=1)
# A name that starts with a list mark, or bold inside a text, is read as a mark.
NAME = TEXT.map(lambda text: "N" + text)


def persona_of(texts: tuple[str, ...]) -> Persona:
    try:
        return Persona(*texts)
    except InputError:
        assume(False)
        raise


def test_the_id_is_the_address_of_the_six_texts() -> None:
    # A literal: another address for the same texts would orphan every stored persona.
    assert NURSE.id == "a08edf7ec64ad4d2439ffe57a85bc60d"
    assert Persona(*NURSE.texts()).id == NURSE.id


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_another_text_in_any_attribute_is_another_persona(attribute: str) -> None:
    assert Persona(**{**NURSE.as_dict(), attribute: "Something else"}).id != NURSE.id


def test_texts_that_change_places_are_another_persona() -> None:
    swapped = Persona("Ward Nurse", "Care ethics", "Compassion", "Duty to care", "Empathy", "Nurse")
    assert swapped.id != NURSE.id


def test_texts_are_cleaned_before_they_are_addressed() -> None:
    spaced = Persona(" Ward\nNurse", "Com\u200bpassion", "Care \u00a0 ethics", "Duty to care ", "Empathy", "\uff2eurse")
    assert spaced == NURSE
    assert spaced.id == NURSE.id


@settings(deadline=None)
@given(st.tuples(*[TEXT] * 6))
# The joiner keeps NFKC from composing e and accent; once it is dropped they would compose.
@example(("Ana", "e\u200d\u0301", "b", "c", "d", "f"))
def test_a_persona_made_of_its_own_texts_is_itself(texts: tuple[str, ...]) -> None:
    # What is read back from the pool must have the address it was stored under.
    persona = persona_of(texts)
    assert Persona(*persona.texts()).id == persona.id


@settings(deadline=None)
@given(st.tuples(NAME, *[TEXT] * 5))
@example(("Ana", "Life, health", 'the "good" life', "'", '"', "Opfer \u2013 患者"))
@example(("Ana", '"Life", health', ",", ",,", 'a"b', "Time: 9:00"))
def test_a_printed_persona_is_read_back_as_itself(texts: tuple[str, ...]) -> None:
    persona = persona_of(texts)
    assume("**" not in persona.line)
    assert Persona.parse(persona.line) == persona


def test_the_line_is_the_papers() -> None:
    assert NURSE.line == LINE


def test_a_comma_or_a_quote_is_quoted_in_the_line() -> None:
    persona = Persona("Ana", "Life, health", 'The "good"', "Duty", "Joy", "Patient")
    assert persona.line == 'Ana: "Life, health", "The ""good""", Duty, Joy, Patient'


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        f"  {LINE}  ",
        f"#{LINE}",
        f"# {LINE}",
        f"- {LINE}",
        f"* {LINE}",
        f"• {LINE}",
        f"1. {LINE}",
        f"2) {LINE}",
        f"> - {LINE}",
        f"**{LINE}**",
        "**Ward Nurse:** Compassion, Care ethics, Duty to care, Empathy, Nurse",
        "1. **Ward Nurse**: Compassion, Care ethics, Duty to care, Empathy, Nurse",
        "- #Ward Nurse: Compassion, Care ethics, Duty to care, Empathy, Nurse",
        "Ward Nurse:Compassion,Care ethics,Duty to care,Empathy,Nurse",
        'Ward Nurse: "Compassion", "Care ethics", "Duty to care", "Empathy", "Nurse"',
    ],
)
def test_list_marks_bold_and_hash_are_no_part_of_a_persona(line: str) -> None:
    assert Persona.parse(line) == NURSE


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Ana: Life, health, Care ethics, Duty, Joy, Patient", "6 attributes instead of 5"),
        ("Ana: Care ethics, Duty, Joy, Patient", "4 attributes instead of 5"),
        ("Ana:", "0 attributes instead of 5"),
        ("Life, Care ethics, Duty, Joy, Patient", "no 'Name: …'"),
        (": Life, Care ethics, Duty, Joy, Patient", "no 'Name: …'"),
        ("", "no 'Name: …'"),
        ("Ana: Life, Care ethics, , Joy, Patient", "the persona's right/duty is empty"),
        ("Ana: Life, Care ethics, Duty, Joy, Patient,", "6 attributes instead of 5"),
    ],
)
def test_a_line_that_is_not_six_texts_is_refused(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Persona.parse(line)


@pytest.mark.parametrize(
    "line",
    ["Ana: Life, Care\nethics, Duty, Joy, Patient, Nurse", "Ana: Life, Care\rethics", f"Ana: {'x' * 200_000}"],
    ids=["newline", "carriage return", "200,000 characters"],
)
def test_a_line_the_csv_reader_cannot_read_is_our_error_too(line: str) -> None:
    with pytest.raises(InputError):
        Persona.parse(line)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
def test_an_empty_attribute_is_refused(attribute: str, text: str) -> None:
    with pytest.raises(InputError, match="is empty"):
        Persona(**{**NURSE.as_dict(), attribute: text})


@pytest.mark.parametrize("repeated", ["Empathy", "EMPATHY", "  empathy ", "\uff25mpathy"])
def test_a_repeated_attribute_is_refused(repeated: str) -> None:
    with pytest.raises(InputError, match="the persona's core value and emotion are both 'Empathy'"):
        Persona("Ward Nurse", repeated, "Care ethics", "Duty to care", "Empathy", "Nurse")


@pytest.mark.parametrize("name", ["Nurse: Ana", "Nurse\uff1aAna"])
def test_a_colon_in_the_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"the persona's name 'Nurse: ?Ana' holds a colon"):
        Persona(**{**NURSE.as_dict(), "name": name})


def test_an_attribute_is_at_most_200_characters_long() -> None:
    assert len(Persona(**{**NURSE.as_dict(), "emotion": "x" * 200}).emotion) == 200
    with pytest.raises(InputError, match="the persona's emotion has 201 characters"):
        Persona(**{**NURSE.as_dict(), "emotion": "x" * 201})


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InputError, match="the persona's emotion holds bytes that are not valid UTF-8"):
        Persona(**{**NURSE.as_dict(), "emotion": "caf\udce9"})


def test_clashes_are_the_attributes_somebody_else_already_has() -> None:
    doctor = Persona("Doctor", "COMPASSION", "Duty ethics", "Duty  to care", "Nurse", "Physician")
    judge = Persona("Judge", "Justice", "Law", "Right to a trial", "empathy", "Court")
    assert clashes(NURSE, [doctor, judge]) == ["core_value", "right_duty", "emotion"]


def test_the_same_text_in_another_attribute_is_no_clash() -> None:
    other = Persona("Nurse", "Empathy", "Compassion", "Care ethics", "Duty to care", "Ward Nurse")
    assert clashes(NURSE, [other]) == []


def test_nobody_clashes_with_nobody() -> None:
    assert clashes(NURSE, []) == []
