"""Stage 2, comments (paper section 3.2): what each persona of the panel says of the scenario.

Turns a panel into requests; knows no database. All comments of a panel are one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from ethos.answer import Comment, Member
from ethos.calls import AnyCall, Call, derived_seed
from ethos.errors import ModelError
from ethos.llm import Request, user
from ethos.options import letters
from ethos.persona import Persona
from ethos.prompts import PromptSet, fill
from ethos.scenario import AttributeKind, Scenario

STAGE = "comment"


def comment_requests(scenario: Scenario, members: Sequence[Member], prompts: PromptSet, seed: int) -> list[Request]:
    """One request a member, in order. A persona's seed does not depend on who else is on the panel."""
    table = prompts.comments
    return [
        Request(
            user(_text(scenario, member.persona, prompts), table["system"]),
            table["max_tokens"],
            table["temperature"],
            derived_seed(seed, STAGE, member.persona.id),
        )
        for member in members
    ]


def _text(scenario: Scenario, persona: Persona, prompts: PromptSet) -> str:
    table, attribute = prompts.comments, scenario.attribute
    about_value = attribute is not None and attribute.kind is AttributeKind.VALUE
    if not scenario.options or about_value or "user_options" not in table:
        return fill(table["user"], subject=scenario.subject, persona=persona.line)
    poll = ""
    if attribute is not None and attribute.kind is AttributeKind.COUNTRY:
        poll = table["poll"].format(country=attribute.name)
    labels = ", ".join(letters(len(scenario.options)))
    return fill(table["user_options"], subject=scenario.subject, persona=persona.line, poll=poll, letters=labels)


def comment_of(member: Member, call: AnyCall, call_id: str) -> Comment:
    """What a member said.

    Raises:
        ModelError: The comment is empty: nothing is put in its place.
    """
    assert isinstance(call, Call), "a comment is written, not read"
    completion = call.completion
    if not any(character.isalnum() for character in completion.text):
        raise ModelError(
            f"the comment of persona {member.persona.name!r} is empty",
            "try another --seed or a larger --comment-model",
        )
    return Comment(member.persona.id, completion.text, completion.finish_reason, call_id)
