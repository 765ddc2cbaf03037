"""Stage 1, persona generation (paper section 3.1): from scenarios to valid, distinct personas.

Turns briefs into requests, replies into personas, and what fails into recorded failures; attempts are bounded. Knows
prompts and models; knows neither the pool nor the database.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from ethos.generation.drafts import STAGE, Brief, Draft
from ethos.generation.persona_lines import ask_lines, take_lines
from ethos.generation.persona_schema import ask_schema, take_schema
from ethos.llm import LanguageModel, Request
from ethos.llm.calls import Call, run
from ethos.prompts import PromptSet

MAX_ATTEMPTS = 8


def generate_personas(
    model: LanguageModel, briefs: Sequence[Brief], prompts: PromptSet, seed: int, attempts: int = MAX_ATTEMPTS
) -> list[Draft]:
    """Generate the personas of all briefs, batched over briefs, in at most `attempts` rounds.

    Returns:
        One draft a brief, in order; one with `missing` > 0 was given up (`Draft.goes_on`), and says why in `failures`.

    Raises:
        ModelError: The model cannot be reached.
    """
    drafts = [Draft(brief) for brief in briefs]
    for _ in fill_drafts(model, drafts, prompts, seed, attempts):
        pass
    return drafts


def fill_drafts(
    model: LanguageModel,
    drafts: Iterable[Draft],
    prompts: PromptSet,
    seed: int,
    attempts: int = MAX_ATTEMPTS,
    together: int = sys.maxsize,
) -> Iterator[Draft]:
    """Generate the personas of drafts, giving each as soon as it is done.

    What a draft has to ask again goes into one batch with the first requests of those that wait, so that a few
    stubborn ones do not keep a model busy by themselves.

    Args:
        model: Writes them.
        drafts: What is to be filled; taken as they are wanted.
        prompts: The prompt set.
        seed: The run's seed.
        attempts: Most rounds a draft.
        together: Most personas that are asked for in one batch, though never less than one draft's.

    Raises:
        ModelError: The model cannot be reached; what was given is done.
    """
    ask, take = _FORMATS[prompts.personas["format"]]
    waiting = iter(drafts)
    following = next(waiting, None)
    rounds: list[tuple[Draft, int]] = []  # the drafts at work, and which attempt is each one's next
    while following or rounds:
        while following and (not rounds or sum(d.missing for d, _ in rounds) + following.missing <= together):
            rounds.append((following, 1))
            following = next(waiting, None)
        pending = [
            (draft, attempt, request)
            for draft, attempt in rounds
            if attempt <= attempts
            for request in ask(draft, prompts, seed, attempt)
        ]
        calls = run(model, STAGE, [request for _, _, request in pending]) if pending else []
        for (draft, attempt, _), call in zip(pending, calls, strict=True):
            draft.calls.append(call)
            take(draft, call, attempt)
        yield from (draft for draft, attempt in rounds if not draft.goes_on(attempt, attempts))
        rounds = [(draft, attempt + 1) for draft, attempt in rounds if draft.goes_on(attempt, attempts)]


_Ask = Callable[[Draft, PromptSet, int, int], list[Request]]
_Take = Callable[[Draft, Call, int], None]
_FORMATS: dict[str, tuple[_Ask, _Take]] = {
    "lines": (ask_lines, take_lines),
    "schema": (ask_schema, take_schema),
}
