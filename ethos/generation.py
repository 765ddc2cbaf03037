"""Stage 1, persona generation (paper section 3.1): from scenarios to valid, distinct personas.

Turns briefs into requests, replies into personas, and what fails into recorded failures; attempts are bounded. Knows
prompts and models; knows neither the pool nor the database.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ethos.calls import Call, Failure, derived_seed, run
from ethos.cleaning import fold
from ethos.errors import InputError
from ethos.llm import DISTINCT, LanguageModel, Message, Request, schema_text, user
from ethos.persona import ATTRIBUTES, LABELS, Persona, clashes
from ethos.prompts import PromptSet, fill
from ethos.scenario import Scenario

MAX_ATTEMPTS = 8
EXAMPLES = 2  # a request
STAGE = "persona"

# Neither a quote, which would end the JSON string, nor a comma or colon, which part attributes in the paper's line.
_FREE_TEXT = {"type": "string", "pattern": r'^[^\s",:;\\{}\[\]][^",:;\\{}\[\]\n\t]{2,47}$'}
_ORDER = ("stakeholder_role", "core_value", "ethical_framework", "right_duty", "emotion", "name")


@dataclass(frozen=True, slots=True)
class Brief:
    """What is to be generated for one scenario.

    Attributes:
        scenario: What the personas judge.
        count: How many are needed.
        kept: Personas of the panel that are already chosen; the new ones must differ from them.
    """

    scenario: Scenario
    count: int
    kept: tuple[Persona, ...] = ()


@dataclass
class Draft:
    """One brief being filled. `personas` never exceeds the brief's count."""

    brief: Brief
    personas: list[Persona] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many personas are still needed."""
        return self.brief.count - len(self.personas)

    def offer(self, persona: Persona) -> None:
        """Accept a persona that differs from all others of its panel.

        Raises:
            InputError: It repeats an attribute of another persona.
        """
        others = [*self.brief.kept, *self.personas]
        if repeated := clashes(persona, others):
            labels = ", ".join(f"{LABELS[a]} {getattr(persona, a)!r}" for a in repeated)
            raise InputError(f"the panel already has {labels}")
        self.personas.append(persona)


def generate_personas(model: LanguageModel, briefs: Sequence[Brief], prompts: PromptSet, seed: int) -> list[Draft]:
    """Generate the personas of all briefs, batched over briefs, in at most `MAX_ATTEMPTS` rounds.

    Returns:
        One draft a brief, in order; a draft with `missing` > 0 ran out of attempts and says why in `failures`.

    Raises:
        ModelError: The model cannot be reached.
    """
    drafts = [Draft(brief) for brief in briefs]
    ask, take = _FORMATS[prompts.personas["format"]]
    for attempt in range(1, MAX_ATTEMPTS + 1):
        pending = [(draft, request) for draft in drafts for request in ask(draft, prompts, seed, attempt)]
        if not pending:
            break
        calls = run(model, STAGE, [request for _, request in pending])
        for (draft, _), call in zip(pending, calls, strict=True):
            draft.calls.append(call)
            take(draft, call, attempt)
    return drafts


def _ask_lines(draft: Draft, prompts: PromptSet, seed: int, attempt: int) -> list[Request]:
    """One request for all personas, as in the paper; asked whole again when its reply falls short."""
    if not draft.missing:
        return []
    table, scenario = prompts.personas, draft.brief.scenario
    text = fill(table["user"], k=draft.brief.count, subject=scenario.subject)
    if draft.brief.kept:
        text += table["taken"].format(lines="\n".join(persona.line for persona in draft.brief.kept))
    limit = table.get("max_tokens_options", table["max_tokens"]) if scenario.options else table["max_tokens"]
    chat = user(text, table["system"])
    return [Request(chat, limit, table["temperature"], derived_seed(seed, STAGE, scenario.key, attempt))]


def _take_lines(draft: Draft, call: Call, attempt: int) -> None:
    """Accept a reply only whole: k valid, distinct personas; otherwise every reason is kept."""
    trial = Draft(draft.brief)
    reasons = []
    lines = [line for line in call.completion.text.splitlines() if ":" in line]
    for line in lines:
        if not trial.missing:
            break
        try:
            trial.offer(Persona.parse(line))
        except InputError as error:
            reasons.append(error.message)
    if trial.missing:
        summary = f"{len(trial.personas)} of {draft.brief.count} personas are valid and distinct"
        draft.failures.append(Failure(STAGE, attempt, "; ".join([summary, *reasons]), call.completion.text))
    else:
        draft.personas = trial.personas


def _ask_schema(draft: Draft, prompts: PromptSet, seed: int, attempt: int) -> list[Request]:
    """One request for each missing persona, each with its own framework and its own share of the emotions."""
    table, brief = prompts.personas, draft.brief
    others = [*brief.kept, *draft.personas]
    rng = random.Random(derived_seed(seed, STAGE, brief.scenario.key, attempt))
    frameworks = _free(table["frameworks"], others, "ethical_framework", rng)
    emotions = _free(table["emotions"], others, "emotion", rng)
    examples = rng.sample(table["examples"], len(table["examples"]))
    count = draft.missing
    if len(frameworks) < count or len(emotions) < count:
        raise InputError(f"the {prompts.name} prompts cannot plan {brief.count} distinct personas", "lower --k")
    requests = []
    for row in range(count):
        shown = [examples[(EXAMPLES * row + i) % len(examples)] for i in range(EXAMPLES)]
        chat = _schema_chat(prompts, brief, others, frameworks[row], shown)
        schema = _schema(frameworks[row], emotions[row::count], others, shown)
        row_seed = derived_seed(seed, STAGE, brief.scenario.key, attempt, row)
        # A small model that is asked again writes the same again, unless it is warmed up.
        temperature = table["temperature"] + 0.1 * (attempt - 1)
        requests.append(Request(chat, table["max_tokens"], temperature, row_seed, schema))
    return requests


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


def _free(texts: Sequence[str], others: Sequence[Persona], attribute: str, rng: random.Random) -> list[str]:
    """The texts no other persona of the panel has, in random order."""
    taken = {fold(getattr(persona, attribute)) for persona in others}
    free = [text for text in texts if fold(text) not in taken]
    rng.shuffle(free)
    return free


def _schema(
    framework: str, emotions: Sequence[str], others: Sequence[Persona], examples: Sequence[dict[str, str]]
) -> str:
    """The schema of one persona; what others already have, or an example shows, is excluded while decoding."""
    properties: dict[str, object] = {}
    for attribute in _ORDER:
        if attribute == "ethical_framework":
            properties[attribute] = {"enum": [framework]}
        elif attribute == "emotion":
            properties[attribute] = {"enum": list(emotions)}
        else:
            taken = {getattr(persona, attribute) for persona in others} | {example[attribute] for example in examples}
            properties[attribute] = {**_FREE_TEXT, "not": {"enum": sorted(taken)}}
    return schema_text(
        {
            "type": "object",
            "properties": properties,
            "required": list(_ORDER),
            "additionalProperties": False,
            DISTINCT: True,
        }
    )


def _schema_chat(
    prompts: PromptSet, brief: Brief, others: Sequence[Persona], framework: str, examples: Sequence[dict[str, str]]
) -> tuple[Message, ...]:
    table = prompts.personas
    turns = []
    for example in examples:
        asked = fill(table["user"], subject=example["subject"], taken="", framework=example["ethical_framework"])
        shown = {attribute: example[attribute] for attribute in _ORDER}
        turns += [Message("user", asked), Message("assistant", json.dumps(shown, ensure_ascii=False))]
    taken = table["taken"].format(lines="\n".join(persona.line for persona in others)) if others else ""
    asked = fill(table["user"], subject=brief.scenario.subject, taken=taken, framework=framework)
    return (Message("system", table["system"]), *turns, Message("user", asked))


_Ask = Callable[[Draft, PromptSet, int, int], list[Request]]
_Take = Callable[[Draft, Call, int], None]
_FORMATS: dict[str, tuple[_Ask, _Take]] = {
    "lines": (_ask_lines, _take_lines),
    "schema": (_ask_schema, _take_schema),
}
