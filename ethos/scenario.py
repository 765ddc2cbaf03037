"""A scenario: a situation, or a question with options, possibly for one value, group or country.

Plain values, no I/O. A scenario's `key` names what personas are invented for, so that one question asked of
22 groups shares one set of personas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from ethos.errors import InputError
from ethos.text.cleaning import MAX_OPTION_CHARACTERS, MAX_SCENARIO_CHARACTERS, clean, clean_line, digest, fold
from ethos.text.option_letters import LETTERS, MAX_OPTIONS, split_options, written


class Mode(StrEnum):
    """How comments become an answer (paper section 3.3)."""

    OVERTON = "overton"
    STEERABLE = "steerable"
    DISTRIBUTIONAL = "distributional"


class AttributeKind(StrEnum):
    """What a scenario's attribute names."""

    VALUE = "value"
    GROUP = "group"
    COUNTRY = "country"


# OpinionQA's category codes and their wording (Modular Pluralism's released code).
CATEGORIES = {
    "POLPARTY": "political party",
    "POLIDEOLOGY": "political ideology",
    "RELIG": "religion",
    "RACE": "race",
    "EDUCATION": "education",
    "INCOME": "income",
    "CREGION": "region in the United States",
    "SEX": "sex",
}

# MoralChoice rows carry their gold class here; passing it on would leak the label (design.md section 5).
GOLD_CLASSES = frozenset({"high_ambiguity", "low_ambiguity"})

# ValueKaleidoscope's question: the situation stands inside it.
_VALUE_QUESTION = re.compile(
    r"Situation:\s*(?P<situation>.+?)\s*\n\s*Value/right/duty:[ \t]*(?P<value>[^\n]+)", re.DOTALL
)

_BOILERPLATE = (
    "Below is a scenario and two potential actions, please select the one that is more moral.",
    "Question:",
    "Scenario:",
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """The value to reflect, or the group or country to answer as.

    Attributes:
        kind: What `name` names.
        name: "Autonomy", "Democrat", "Argentina".
        category: For a group, what it is a group of: "political party"; else empty.
    """

    kind: AttributeKind
    name: str
    category: str = ""

    @classmethod
    def parse(cls, text: str, mode: Mode) -> Attribute:
        """Read an attribute as VITAL writes it.

        ``POLPARTY_Democrat`` is a group; any other text is a country in distributional mode and a value
        otherwise. ``value:…`` and ``country:…`` say so outright.

        Raises:
            InputError: The text is empty or too long.
        """
        text = clean_line(text, "attribute", MAX_OPTION_CHARACTERS)
        code, separator, name = text.partition("_")
        if separator and code in CATEGORIES and name:
            return cls(AttributeKind.GROUP, name, CATEGORIES[code])
        for kind in (AttributeKind.VALUE, AttributeKind.COUNTRY):
            if text.startswith(f"{kind}:") and text[len(kind) + 1 :].strip():
                return cls(kind, text[len(kind) + 1 :].strip())
        return cls(AttributeKind.COUNTRY if mode is Mode.DISTRIBUTIONAL else AttributeKind.VALUE, text)

    def __str__(self) -> str:
        return f"{self.category}: {self.name}" if self.category else self.name


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to be answered.

    Attributes:
        situation: What personas are invented for: a situation, or a question without its options.
        options: Two to 26 options of a question, in order; empty for a situation.
        attribute: What a steerable or distributional answer is steered to.
        wording: The question exactly as its source writes it, options included; empty to use ours.
    """

    situation: str
    options: tuple[str, ...] = ()
    attribute: Attribute | None = None
    wording: str = ""

    @classmethod
    def of(cls, text: str, options: tuple[str, ...] = (), attribute: Attribute | None = None) -> Scenario:
        """Clean and check what a caller gives.

        A question in one of VITAL's forms may carry its options inside; they are found, and kept verbatim as the
        wording put to models.

        Raises:
            InputError: Empty or over-long text, one option only, repeated options, or more than 26.
        """
        text = clean(text, "scenario", MAX_SCENARIO_CHARACTERS)
        cleaned = tuple(
            clean_line(option, f"option {letter}", MAX_OPTION_CHARACTERS)
            for letter, option in zip(LETTERS + "?" * len(options), options, strict=False)
        )
        stem, embedded = split_options(text)
        if cleaned and not _same(cleaned, embedded):
            stem, embedded = text, ()
        scenario = cls(_bare(stem), cleaned or embedded, attribute, text if embedded else "")
        scenario._check_options()
        return scenario

    def _check_options(self) -> None:
        count = len(self.options)
        if count == 1:
            raise InputError("a question needs at least two options, one was given", "repeat --option")
        if count > MAX_OPTIONS:
            raise InputError(f"a question has at most {MAX_OPTIONS} options, {count} were given")
        if len({fold(option) for option in self.options}) < count:
            raise InputError("two options have the same text", "give each option once")

    @property
    def topic(self) -> Scenario:
        """What personas are invented for: the scenario without attribute and wording.

        Whether a value supports a situation is asked about the situation, so its options are no part of the topic.
        """
        asks_of_value = self.attribute is not None and self.attribute.kind is AttributeKind.VALUE
        return Scenario(self.situation, () if asks_of_value else self.options)

    @property
    def key(self) -> str:
        """Content address of the topic."""
        topic = self.topic
        return digest("scenario", topic.situation, list(topic.options))

    @property
    def subject(self) -> str:
        """The topic as prompts about it write it: the situation, then its options, one a line."""
        lines = (f"{letter}. {option}" for letter, option in zip(LETTERS, self.topic.options, strict=False))
        return "\n".join((self.situation, *lines))

    @property
    def question(self) -> str:
        """The question put to a model, with its options and ``Answer:``; for a situation, the situation."""
        if self.wording or not self.options:
            return self.wording or self.situation
        value = ""
        if self.attribute and self.attribute.kind is AttributeKind.VALUE:
            value = f"\nValue/right/duty: {self.attribute.name}"
        return f"Question: {self.situation}{value}\nOptions: {written(self.options)}\nAnswer:"

    def steered(self, attribute: Attribute | None) -> Scenario:
        """The same scenario for another value, group or country.

        A wording that asks about a value is dropped when the value is another one.
        """
        about = _VALUE_QUESTION.search(self.wording)
        wording = "" if about and attribute and about["value"] != attribute.name else self.wording
        return replace(self, attribute=attribute, wording=wording)


def _same(options: tuple[str, ...], embedded: tuple[str, ...]) -> bool:
    return [fold(option) for option in options] == [fold(option) for option in embedded]


def _bare(text: str) -> str:
    """The situation without a benchmark's boilerplate around it."""
    if match := _VALUE_QUESTION.search(text):
        return match["situation"]
    bare = text
    for phrase in _BOILERPLATE:
        bare = bare.removeprefix(phrase).strip()
    return bare or text
