"""Personas in the paper's lines: one request for all of them (paper, Table 9), and its reply."""

from __future__ import annotations

from ethos.errors import InputError
from ethos.generation.drafts import STAGE, Brief, Draft
from ethos.llm import Request, user
from ethos.llm.calls import Call, Failure, derived_seed
from ethos.persona import Persona
from ethos.prompts import PromptSet, fill


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


def ask_lines(draft: Draft, prompts: PromptSet, seed: int, attempt: int) -> list[Request]:
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


def take_lines(draft: Draft, call: Call, attempt: int) -> None:
    """Accept a reply only whole: k valid, distinct personas; otherwise every reason is kept."""
    personas, reasons = read_lines(draft.brief, call.completion.text)
    draft.barren = 0 if personas else draft.barren + 1
    if len(personas) < draft.brief.count:
        summary = f"{len(personas)} of {draft.brief.count} personas are valid and distinct"
        draft.failures.append(Failure(STAGE, attempt, "; ".join([summary, *reasons]), call.completion.text))
    else:
        draft.personas = personas
