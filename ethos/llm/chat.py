"""Chats as the one text that a local model reads, by its own template.

Knows templates and the marks they write; knows nothing of what is said.
"""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ethos.llm import Message


class Chat:
    """Writes chats for one model.

    Args:
        tokenizer: The model's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._marks = sorted(mark for mark in special if len(mark) > 1)

    def text(self, messages: Sequence[Message]) -> str:
        """The chat as the model's template writes it, up to where the reply begins."""
        messages = tuple(Message(message.role, self._inert(message.content)) for message in messages)
        if self._tokenizer.chat_template is None:
            return "\n\n".join(message.content for message in messages) + "\n"
        try:
            return self._templated(messages)
        except TemplateError:
            # Some templates (Gemma's) know no system role: it moves into the first user turn.
            system, first, *rest = messages
            return self._templated((Message("user", f"{system.content}\n\n{first.content}"), *rest))

    def _templated(self, messages: Sequence[Message]) -> str:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        return str(self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

    def _inert(self, content: str) -> str:
        """The text with the model's own marks broken by a blank, or whoever wrote it could end a turn and speak on."""
        for mark in self._marks:
            content = content.replace(mark, f"{mark[0]} {mark[1:]}")
        return content
