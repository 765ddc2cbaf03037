"""Briefs and drafts: what to generate for a scenario, and what has been generated so far.

Knows neither prompts nor models.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ethos.errors import InputError
from ethos.llm.calls import Call, Failure
from ethos.persona import LABELS, Persona, clashes
from ethos.scenario import Scenario

STAGE = "persona"
BARREN = 3  # replies in a row without one valid line, after which a model is not asked for lines again


@dataclass(frozen=True, slots=True)
class Example:
    """A persona that shows the model what is wanted.

    Attributes:
        subject: The scenario it was made for, as prompts name it; another one than the brief's.
        persona: The reply to show.
    """

    subject: str
    persona: Persona


@dataclass(frozen=True, slots=True)
class Brief:
    """What is to be generated for one scenario.

    Attributes:
        scenario: What the personas judge.
        count: How many are needed.
        kept: Personas of the panel that are already chosen; the new ones must differ from them.
        examples: What to show the model in place of the prompt set's own examples, nearest first. A prompt set that
            asks for lines shows none.
        uncovered: Values, rights and duties at stake that nobody of `kept` speaks for, most at stake first.
        refused: Ids of personas that must not come back, since somebody took them out of the pool.
    """

    scenario: Scenario
    count: int
    kept: tuple[Persona, ...] = ()
    examples: tuple[Example, ...] = ()
    uncovered: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()


@dataclass
class Draft:
    """One brief being filled. `personas` never exceeds the brief's count.

    Attributes:
        barren: How many of the last replies in lines had no valid one: such a model will not learn the format.
    """

    brief: Brief
    personas: list[Persona] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    barren: int = 0

    @property
    def missing(self) -> int:
        """How many personas are still needed."""
        return self.brief.count - len(self.personas)

    def goes_on(self, attempt: int, attempts: int) -> bool:
        """Whether it is asked for once more after this attempt, of so many at most."""
        return self.missing > 0 and attempt < attempts and self.barren < BARREN

    def offer(self, persona: Persona) -> None:
        """Accept a persona that differs from all others of its panel.

        Raises:
            InputError: It repeats an attribute of another persona, or was taken out of the pool.
        """
        if persona.id in self.brief.refused:
            raise InputError(f"{persona.name} was taken out of the pool, see `ethos pool show {persona.id[:12]}`")
        others = [*self.brief.kept, *self.personas]
        if repeated := clashes(persona, others):
            labels = ", ".join(f"{LABELS[a]} {getattr(persona, a)!r}" for a in repeated)
            raise InputError(f"the panel already has {labels}")
        self.personas.append(persona)
