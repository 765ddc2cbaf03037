"""Stage 1, persona generation (paper section 3.1): from scenarios to valid, distinct personas.

Turns briefs into requests, replies into personas, and what fails into recorded failures; attempts are bounded. Knows
prompts and models; knows neither the pool nor the database.
"""

from __future__ import annotations

import json
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ethos.calls import Call, Failure, derived_seed, run
from ethos.cleaning import fold
from ethos.errors import InputError
from ethos.fence import Fence, defused, fence
from ethos.llm import DISTINCT, LanguageModel, Message, Request, schema_text, user
from ethos.persona import ATTRIBUTES, LABELS, Persona, clashes
from ethos.plan import Row, sample_rows
from ethos.prompts import PromptSet, fill
from ethos.scenario import Scenario

MAX_ATTEMPTS = 8
BARREN = 3  # replies in a row without one valid line, after which a model is not asked for lines again
EXAMPLES = 2  # a request
STAGE = "persona"

# Neither a quote, which would end the JSON string, nor a comma or colon, which part attributes in the paper's line.
# No angle either, since a small model would copy the marks of a fence.
# Without \s, at which llama.cpp's server silently drops the whole pattern.
_START, _PLAIN = r'[^ ",:;<>\\{}\[\]\n\t]', r'[^",:;<>\\{}\[\]\n\t]'
_FREE_TEXT = f"^{_START}{_PLAIN}{{2,47}}$"
_PLACED = f"(at|for|from|in|of|on|with) {_START}{_PLAIN}{{2,36}}"  # what grounds a group: a place, a relation
_ORDER = ("stakeholder_role", "core_value", "ethical_framework", "right_duty", "emotion", "name")


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
        drafts: What is to be filled.
        prompts: The prompt set.
        seed: The run's seed.
        attempts: Most rounds a draft.
        together: Most personas that are asked for in one batch, though never less than one draft's.

    Raises:
        ModelError: The model cannot be reached; what was given is done.
    """
    ask, take = _FORMATS[prompts.personas["format"]]
    waiting = deque(drafts)
    rounds: list[tuple[Draft, int]] = []  # the drafts at work, and which attempt is each one's next
    while waiting or rounds:
        while waiting and (not rounds or sum(d.missing for d, _ in rounds) + waiting[0].missing <= together):
            rounds.append((waiting.popleft(), 1))
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


def read_lines(brief: Brief, reply: str) -> tuple[list[Persona], list[str]]:
    """The valid, distinct personas of a reply in the paper's lines, and why its other lines are refused."""
    trial, reasons = Draft(brief), []
    for line in reply.splitlines():
        if ":" in line and trial.missing:
            try:
                trial.offer(Persona.parse(line))
            except InputError as error:
                reasons.append(error.message)
    return trial.personas, reasons


def _ask_lines(draft: Draft, prompts: PromptSet, seed: int, attempt: int) -> list[Request]:
    """One request for all personas, as in the paper; asked whole again when its reply falls short."""
    if not draft.missing:
        return []
    table, scenario = prompts.personas, draft.brief.scenario
    text = fill(table["user"], k=draft.brief.count, subject=scenario.subject)
    if draft.brief.kept:
        # Not on a full miss, whose prompt is the paper's to the letter.
        text += table["taken"].format(lines="\n".join(persona.line for persona in draft.brief.kept))
        if draft.brief.uncovered:
            text += table["uncovered"].format(values="\n".join(draft.brief.uncovered))
    limit = table.get("max_tokens_options", table["max_tokens"]) if scenario.options else table["max_tokens"]
    chat = user(text, table["system"])
    return [Request(chat, limit, table["temperature"], derived_seed(seed, STAGE, scenario.key, attempt))]


def _take_lines(draft: Draft, call: Call, attempt: int) -> None:
    """Accept a reply only whole: k valid, distinct personas; otherwise every reason is kept."""
    personas, reasons = read_lines(draft.brief, call.completion.text)
    draft.barren = 0 if personas else draft.barren + 1
    if len(personas) < draft.brief.count:
        summary = f"{len(personas)} of {draft.brief.count} personas are valid and distinct"
        draft.failures.append(Failure(STAGE, attempt, "; ".join([summary, *reasons]), call.completion.text))
    else:
        draft.personas = personas


def _ask_schema(draft: Draft, prompts: PromptSet, seed: int, attempt: int) -> list[Request]:
    """One request for each row that has no persona yet; the rows outlast the attempts."""
    table, brief, key = prompts.personas, draft.brief, draft.brief.scenario.key
    rows = sample_rows(table, brief.count, brief.kept, derived_seed(seed, STAGE, key))
    held = {fold(text) for persona in draft.personas for text in (persona.ethical_framework, persona.emotion)}
    # Sorted, not filtered: a model that does not keep to the schema may hold what belongs to two rows, or to none.
    waiting = sorted(rows, key=lambda row: any(fold(text) in held for text in (row.framework, *row.emotions)))
    waiting = waiting[: draft.missing]
    values = _values_to_speak_for(draft, len(waiting))
    examples = _shuffled_examples(brief, table, seed, attempt)
    # A small model that is asked again writes the same again, unless it is warmed up.
    temperature = table["temperature"] + 0.1 * (attempt - 1)
    requests = []
    for number, row in enumerate(waiting):
        shown = [examples[(EXAMPLES * number + i) % len(examples)] for i in range(EXAMPLES)]
        chat = _schema_chat(prompts, draft, row, values[number], shown)
        schema = _schema(draft, row, values[number], shown)
        row_seed = derived_seed(seed, STAGE, key, attempt, number)
        requests.append(Request(chat, table["max_tokens"], temperature, row_seed, schema))
    return requests


def _shuffled_examples(brief: Brief, table: Mapping[str, Any], seed: int, attempt: int) -> list[Example]:
    """The brief's own examples, as many as its rows can show, then the prompt set's.

    Which of the prompt set's stand together is the same for all scenarios of a run, and each scenario deals the groups
    out in its own order: so that rows of several scenarios begin alike, and a model reads what they share once.
    """
    rng = random.Random(derived_seed(seed, STAGE, brief.scenario.key, attempt))
    near = [example for example in brief.examples if example.persona not in brief.kept][: EXAMPLES * brief.count]
    shipped = [
        Example(shown["subject"], Persona(**{attribute: shown[attribute] for attribute in ATTRIBUTES}))
        for shown in table["examples"]
    ]
    random.Random(derived_seed(seed, STAGE)).shuffle(shipped)
    groups = [shipped[start : start + EXAMPLES] for start in range(0, len(shipped), EXAMPLES)]
    return [*rng.sample(near, len(near)), *chain.from_iterable(rng.sample(groups, len(groups)))]


def _values_to_speak_for(draft: Draft, rows: int) -> list[tuple[str, ...]]:
    """For each row at most one uncovered value and one right or duty, none of them for two rows."""
    held = {fold(text) for persona in draft.personas for text in (persona.core_value, persona.right_duty)}
    waiting = [text for text in draft.brief.uncovered if fold(text) not in held]
    duties = [text for text in waiting if _is_duty(text)]
    values = [text for text in waiting if not _is_duty(text)]
    return [(*values[row : row + 1], *duties[row : row + 1]) for row in range(rows)]


def _is_duty(text: str) -> bool:
    return fold(text).startswith(("right", "duty"))


def _take_schema(draft: Draft, call: Call, attempt: int) -> None:
    try:
        draft.offer(_persona_of(call.completion.text))
    except InputError as error:
        draft.failures.append(Failure(STAGE, attempt, error.message, call.completion.text))


def _persona_of(reply: str) -> Persona:
    try:
        data = json.loads(reply)
    except json.JSONDecodeError as error:
        raise InputError(f"the reply is not JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(data, dict) or set(data) != set(ATTRIBUTES) or not all(isinstance(v, str) for v in data.values()):
        raise InputError("the reply is not an object of the six attributes")
    return Persona(**data)


def _schema(draft: Draft, row: Row, values: Sequence[str], examples: Sequence[Example]) -> str:
    """The schema of one persona; what others already have, or an example shows, is excluded while decoding."""
    avoided = [*draft.brief.kept, *draft.personas, *(example.persona for example in examples)]
    wanted = {fold(value) for value in values}  # an example may hold what this row is asked to speak for
    properties: dict[str, object] = {}
    for attribute in _ORDER:
        if attribute == "ethical_framework":
            properties[attribute] = {"enum": [row.framework]}
        elif attribute == "emotion":
            properties[attribute] = {"enum": list(row.emotions)}
        else:
            begun = row.stakeholder and attribute == "stakeholder_role"
            pattern = f"^{row.stakeholder} {_PLACED}$" if begun else _FREE_TEXT
            taken = {getattr(persona, attribute) for persona in avoided}
            excluded = sorted(text for text in taken if fold(text) not in wanted)
            properties[attribute] = {"type": "string", "pattern": pattern, "not": {"enum": excluded}}
    shape = {"type": "object", "properties": properties, "required": list(_ORDER), "additionalProperties": False}
    return schema_text({**shape, DISTINCT: True})


def _schema_chat(
    prompts: PromptSet, draft: Draft, row: Row, values: Sequence[str], examples: Sequence[Example]
) -> tuple[Message, ...]:
    """Examples as turns of the chat, asked for as the row is, so that a small model sees what the notes are for.

    What others wrote is fenced where a model is asked, and is JSON where it seems to have replied.
    """
    table, subject = prompts.personas, draft.brief.scenario.subject
    others = [*draft.brief.kept, *draft.personas]
    people = [persona.line for persona in (*others, *(example.persona for example in examples))]
    marks = fence(table.get("fence", ""), subject, *values, *people, *(example.subject for example in examples))
    turns = []
    for example in examples:
        persona = example.persona
        spoken = [persona.right_duty if _is_duty(value) else persona.core_value for value in values]
        notes = _notes(table, marks, (), spoken, persona.stakeholder_role if row.stakeholder else "", "")
        asked = _asked(table, marks, example.subject, notes, persona.ethical_framework)
        shown = {attribute: defused(getattr(persona, attribute)) for attribute in _ORDER}
        turns += [Message("user", asked), Message("assistant", json.dumps(shown, ensure_ascii=False))]
    notes = _notes(table, marks, others, values, row.stakeholder, row.stance)
    asked = _asked(table, marks, subject, notes, row.framework)
    return (Message("system", marks.explained(table["system"])), *turns, Message("user", asked))


def _asked(table: Mapping[str, Any], marks: Fence, subject: str, notes: str, framework: str) -> str:
    # The prompt set's own frameworks need no marks, and a small model is better off with few.
    named = framework if framework in table["frameworks"] else marks.around(framework)
    return fill(table["user"], subject=marks.around(subject), notes=notes, framework=named)


def _notes(
    table: Mapping[str, Any],
    marks: Fence,
    others: Iterable[Persona],
    values: Sequence[str],
    stakeholder: str,
    stance: str,
) -> str:
    lines = "\n".join(persona.line for persona in others)
    spoken_for = " and ".join(map(marks.around, values))
    return "".join(
        (
            table["taken"].format(lines=marks.around(lines)) if lines else "",
            table["uncovered"].format(values=spoken_for) if values else "",
            table["stakeholder"].format(stakeholder=marks.around(stakeholder)) if stakeholder else "",
            table["stance"].format(stance=stance) if stance else "",
        )
    )


_Ask = Callable[[Draft, PromptSet, int, int], list[Request]]
_Take = Callable[[Draft, Call, int], None]
_FORMATS: dict[str, tuple[_Ask, _Take]] = {
    "lines": (_ask_lines, _take_lines),
    "schema": (_ask_schema, _take_schema),
}
