"""Stage 2, comments (paper section 3.2): what each persona of the panel says about the scenario.

Turns a panel into requests; knows no database. All comments of a panel are one batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from ethos.answer import Comment, Member
from ethos.errors import ModelError
from ethos.llm import Request, user
from ethos.llm.calls import AnyCall, Call, derived_seed
from ethos.persona import ATTRIBUTES, Persona
from ethos.prompts import PromptSet, fill
from ethos.scenario import AttributeKind, Scenario
from ethos.text.fence import Fence, fence
from ethos.text.option_letters import letters

STAGE = "comment"


def comment_requests(scenario: Scenario, members: Sequence[Member], prompts: PromptSet, seed: int) -> list[Request]:
    """Return one request a member, in order. A persona's seed does not depend on the other members."""
    table = prompts.comments
    requests = []
    for member in members:
        marks = fence(table.get("fence", ""), scenario.subject, member.persona.line)
        chat = user(_text(scenario, member.persona, prompts, marks), marks.explained(table["system"]))
        seeded = derived_seed(seed, STAGE, member.persona.id)
        requests.append(Request(chat, table["max_tokens"], table["temperature"], seeded))
    return requests


def _text(scenario: Scenario, persona: Persona, prompts: PromptSet, marks: Fence) -> str:
    table, attribute = prompts.comments, scenario.attribute
    about_value = attribute is not None and attribute.kind is AttributeKind.VALUE
    line = persona.line_of(table.get("attributes", ATTRIBUTES))
    values = {"subject": marks.around(scenario.subject), "persona": marks.around(line)}
    if not scenario.options or about_value or "user_options" not in table:
        return fill(table["user"], **values)
    poll = ""
    if attribute is not None and attribute.kind is AttributeKind.COUNTRY:
        poll = table["poll"].format(country=attribute.name)
    return fill(table["user_options"], **values, poll=poll, letters=", ".join(letters(len(scenario.options))))


def comment_of(member: Member, call: AnyCall, call_id: str) -> Comment:
    """Return a member's comment.

    Raises:
        ModelError: The comment is empty.
    """
    assert isinstance(call, Call), "a comment is written, not read"
    completion = call.completion
    if not any(character.isalnum() for character in completion.text):
        raise ModelError(
            f"the comment of persona {member.persona.name!r} is empty",
            "try another --seed or a larger --comment-model",
        )
    return Comment(member.persona.id, completion.text, completion.finish_reason, call_id)
