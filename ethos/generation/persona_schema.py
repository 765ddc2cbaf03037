"""Personas one by one, each within a JSON schema that says what the others have taken, and their replies."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ethos.errors import InputError
from ethos.generation.drafts import STAGE, Brief, Draft, Example
from ethos.generation.plan import Row, sample_rows
from ethos.llm import DISTINCT, Message, Request, schema_text
from ethos.llm.calls import Call, Failure, derived_seed
from ethos.persona import ATTRIBUTES, Persona
from ethos.prompts import PromptSet, fill
from ethos.text.cleaning import fold
from ethos.text.fence import Fence, defused, fence

EXAMPLES = 2  # a request

# Neither a quote, which would end the JSON string, nor a comma or colon, which part attributes in the paper's line.
# No angle either, since a small model would copy the marks of a fence.
# Without \s, at which llama.cpp's server silently drops the whole pattern.
_START, _PLAIN = r'[^ ",:;<>\\{}\[\]\n\t]', r'[^",:;<>\\{}\[\]\n\t]'
_FREE_TEXT = f"^{_START}{_PLAIN}{{2,47}}$"
_PLACED = f"(at|for|from|in|of|on|with) {_START}{_PLAIN}{{2,36}}"  # what grounds a group: a place, a relation
_ORDER = ("stakeholder_role", "core_value", "ethical_framework", "right_duty", "emotion", "name")


def ask_schema(draft: Draft, prompts: PromptSet, seed: int, attempt: int) -> list[Request]:
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


def take_schema(draft: Draft, call: Call, attempt: int) -> None:
    """Accept a reply, or keep the reason why it is refused."""
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
            # The framework comes later than most, and is given: a text that is the same would be found out too late.
            excluded = sorted({row.framework, *(text for text in taken if fold(text) not in wanted)})
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
