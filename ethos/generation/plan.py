"""What is assigned to the personas of a panel before a model writes, so that they differ by construction.

Knows the lists of a prompt set and the personas that are kept; knows no scenario, request or model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ethos.errors import ConfigurationError, InputError
from ethos.persona import Persona
from ethos.prompts import PromptSet
from ethos.text.cleaning import fold


@dataclass(frozen=True, slots=True)
class Row:
    """What sets one persona of a panel apart before the model writes a word.

    Attributes:
        framework: Its ethical framework.
        emotions: What it may choose its emotion from.
        stakeholder: How its stakeholder role begins; empty leaves it to the model.
        stance: What it thinks of the scenario, after "This person"; empty leaves it to the model.
    """

    framework: str
    emotions: tuple[str, ...]
    stakeholder: str = ""
    stance: str = ""


def planned(prompts: PromptSet) -> PromptSet:
    """The same prompts, with `sample_rows` dealing out stakeholder groups and stances as well.

    Raises:
        ConfigurationError: The set asks for a whole panel in one request.
    """
    if "plan" not in prompts.personas:
        raise ConfigurationError(
            f"the {prompts.name} prompts ask for all personas in one request, so no plan can be assigned to them",
            "use --prompts structured, or leave out --plan",
        )
    table = {**prompts.personas, **prompts.personas["plan"]}
    return replace(prompts, version=f"{prompts.version}+plan", personas=table)


def sample_rows(table: Mapping[str, Any], count: int, kept: Sequence[Persona], seed: int) -> list[Row]:
    """Rows of which no two share a framework, an emotion or a stakeholder group, in balanced stances.

    A Latin hypercube: the frequencies of two stances differ by one at most, and what meets in a row is chance, so
    that over many scenarios every framework meets every group and every stance.

    Args:
        table: Table ``personas`` of a prompt set; groups and stances are assigned where `planned` put them in.
        count: How many.
        kept: Personas whose frameworks, emotions and groups are taken. Their stances are not known.
        seed: The same seed deals the same rows.

    Raises:
        InputError: The table lists too few of something.
    """
    rng = random.Random(seed)
    frameworks = _free(table["frameworks"], kept, "ethical_framework", rng)
    groups = _free(table["stakeholders"], kept, "stakeholder_role", rng) if "stakeholders" in table else [""] * count
    stances = table.get("stances", [{"stance": "", "emotions": table["emotions"]}])
    stances = rng.sample(stances, len(stances))
    emotions = [_free(stance["emotions"], kept, "emotion", rng) for stance in stances]
    sharing = [len(range(side, count, len(stances))) for side in range(len(stances))]
    if min(len(frameworks), len(groups)) < count or any(len(e) < n for e, n in zip(emotions, sharing, strict=True)):
        raise InputError(f"the prompt set's lists cannot distinguish {count} personas", "lower --k")
    rows = []
    for row in range(count):
        turn, side = divmod(row, len(stances))
        own = tuple(emotions[side][turn :: sharing[side]])
        rows.append(Row(frameworks[row], own, groups[row], stances[side]["stance"]))
    return rows


def _free(texts: Sequence[str], kept: Sequence[Persona], attribute: str, rng: random.Random) -> list[str]:
    """The texts with which no kept persona's attribute begins, in random order."""
    taken = [fold(getattr(persona, attribute)) for persona in kept]
    free = [text for text in texts if not any(begun.startswith(fold(text)) for begun in taken)]
    rng.shuffle(free)
    return free
