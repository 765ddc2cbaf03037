"""A persona: six attributes, immutable, named by their content.

Plain values, no I/O. The paper's line (Table 9) is the written form:
``Name: Core Value, Ethical Framework, Right/Duty, Emotion, Stakeholder Role``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property

from ethos.errors import InputError
from ethos.text.cleaning import MAX_ATTRIBUTE_CHARACTERS, clean_line, digest, fold


class OriginKind(StrEnum):
    """How a persona came to be."""

    CURATED = "curated"
    GENERATED = "generated"
    IMPORTED = "imported"


@dataclass(frozen=True)  # without slots: what is derived from the texts is kept with them
class Persona:
    """One perspective (paper section 3.1, Table 1). The same six texts are the same persona.

    Raises:
        InputError: An attribute is empty or too long, or two attributes have the same text.
    """

    name: str
    core_value: str
    ethical_framework: str
    right_duty: str
    emotion: str
    stakeholder_role: str

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for attribute in ATTRIBUTES:
            label = LABELS[attribute]
            text = clean_line(getattr(self, attribute), f"persona's {label}", MAX_ATTRIBUTE_CHARACTERS)
            object.__setattr__(self, attribute, text)
            if attribute == "name" and ":" in text:
                raise InputError(f"the persona's name {text!r} holds a colon, which ends a name in the paper's line")
            if (other := seen.setdefault(fold(text), label)) != label:
                raise InputError(f"the persona's {other} and {label} are both {text!r}")

    @classmethod
    def stored(cls, persona_id: str, texts: Sequence[str]) -> Persona:
        """A persona that was valid when it was stored under its id, so that nothing need be looked at again."""
        persona = cls.__new__(cls)
        persona.__dict__.update(zip(ATTRIBUTES, texts, strict=True), id=persona_id)
        return persona

    @cached_property
    def id(self) -> str:
        """Content address of the six texts: 32 hexadecimal digits."""
        return digest("persona", *self.texts())

    def texts(self) -> tuple[str, ...]:
        """The six attribute texts in the paper's order."""
        return tuple(getattr(self, attribute) for attribute in ATTRIBUTES)

    def as_dict(self) -> dict[str, str]:
        """The six attributes by name."""
        return dict(zip(ATTRIBUTES, self.texts(), strict=True))

    @property
    def line(self) -> str:
        """The paper's line; an attribute that holds a comma or a quote is quoted as in CSV."""
        return self.line_of(ATTRIBUTES)

    def line_of(self, attributes: Collection[str]) -> str:
        """The line with these attributes alone, in their order; the name always stands."""
        shown = [text for attribute, text in list(self.as_dict().items())[1:] if attribute in attributes]
        return f"{self.name}: {', '.join(map(_cell, shown))}"

    @classmethod
    def parse(cls, line: str) -> Persona:
        """Read the paper's line, with or without list marks, ``#`` and bold around it.

        Raises:
            InputError: No name before a colon, or not exactly five attributes after it: a comma inside an
                attribute that is not quoted cannot be distinguished from one between attributes.
        """
        name, colon, rest = _MARKS.sub("", line).replace("**", "").strip().partition(":")
        if not colon or not name.strip():
            raise InputError(f"no 'Name: …' in persona line {line.strip()[:80]!r}")
        try:
            cells = next(csv.reader([rest.strip()], skipinitialspace=True), [])
        except csv.Error as error:
            raise InputError(f"persona line {line.strip()[:80]!r} cannot be read: {error}") from error
        if len(cells) != len(ATTRIBUTES) - 1:
            raise InputError(f"{len(cells)} attributes instead of 5 in persona line {line.strip()[:80]!r}")
        return cls(name.strip(), *(cell.strip() for cell in cells))


ATTRIBUTES: tuple[str, ...] = tuple(field.name for field in fields(Persona))
LABELS = dict(
    zip(
        ATTRIBUTES,
        ("name", "core value", "ethical framework", "right/duty", "emotion", "stakeholder role"),
        strict=True,
    )
)
_MARKS = re.compile(r"^\s*(?:[#>*\-•]+\s*)*(?:\d+\s*[.):]\s*)?(?:[#*]+\s*)?")


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def clashes(persona: Persona, others: list[Persona]) -> list[str]:
    """The attributes whose text some other persona already has; the paper asks that all differ (Table 9)."""
    return [
        attribute
        for attribute in ATTRIBUTES
        if any(fold(getattr(persona, attribute)) == fold(getattr(other, attribute)) for other in others)
    ]
