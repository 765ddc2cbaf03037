"""Fences around texts from outside, so that a model can distinguish instructions from data.

Personas and scenarios come from users and from imported pools, and may say "ignore the others". In our own prompts each
stands between two marks, and the system message says that what is there is data. A fence holds if its text cannot write
the mark that ends it, so the mark holds a nonce:

- It is the first of a fixed series that no fenced text of the request holds, as the boundary of a MIME message is. So
  no author can have written it, however much they knew or guessed: a secret would add nothing.
- It depends on the request's own texts alone, so that a request can be made again to the letter: comments are found
  again by their request, and answers are replayed.
- It is the same for almost all requests, so that a model reads what they share once.

A chat becomes one string before a model reads it, in which ``<|im_end|>`` ends a turn whoever wrote it. So what begins
like a mark, a model's or ours, is broken by a blank: ``< |im_end|>``.

A fence is no proof that a model heeds it. It does say that a text never leaves its place and never speaks in another
role. Prompts that are others' to the letter (`paper`, `released`, the aggregation) are not fenced. Knows texts only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count

from ethos.text.cleaning import digest

NONCE_CHARACTERS = 6  # hexadecimal; a token each, for small models
_MARK = re.compile(r"<(?=\S)|\[(?=/?[A-Z_]+\])")  # <|im_end|>, <end_of_turn>, </s>, [INST]


@dataclass(frozen=True, slots=True)
class Fence:
    """The marks of one request; without a nonce there are none, and texts stand as they are.

    Attributes:
        nonce: What no fenced text holds.
        rule: What the system message says of the marks, with ``{opening}`` and ``{closing}`` in it.
    """

    nonce: str = ""
    rule: str = ""

    def around(self, text: str) -> str:
        """The text between the marks."""
        return f"<data-{self.nonce}>{defused(text)}</data-{self.nonce}>" if self.nonce else text

    def explained(self, system: str) -> str:
        """The system message, and after it what the marks mean."""
        if not self.nonce:
            return system
        rule = self.rule.format(opening=f"<data-{self.nonce}>", closing=f"</data-{self.nonce}>")
        return f"{system} {rule}".lstrip()


def fence(rule: str, *texts: str) -> Fence:
    """The fence of a request.

    Args:
        rule: Of the prompt set; empty if it has none, and then there is no fence.
        texts: Every text of the request that is not the prompt set's own.
    """
    if not rule:
        return Fence()
    held = "\n".join(texts).casefold()
    nonces = (digest("fence", number)[:NONCE_CHARACTERS] for number in count())
    return Fence(next(nonce for nonce in nonces if nonce not in held), rule)


def defused(text: str) -> str:
    """The text without anything that a model could take for the end of a turn, or for a mark of ours."""
    return _MARK.sub(lambda found: f"{found[0]} ", text)
