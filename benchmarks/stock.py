"""The shipped language model as transformers' documentation shows it: what benchmarks hold Ethos's backend against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ethos.llm import Message, Request
from ethos.llm.library_output import quietly
from ethos.llm.weights import SMOLLM2, language_model_weights
from ethos.text.option_letters import gather, letters

Chat = tuple[Message, ...]


class Stock:
    """The same weights through transformers as its documentation shows."""

    def __init__(self, precision: str) -> None:
        folder = language_model_weights(SMOLLM2).location
        with quietly():
            self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=precision).eval()
            self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")

    def generate(self, requests: Sequence[Request]) -> int:
        """Write a left-padded batch greedily; returns how many tokens were used."""
        prompts = self._prompts([request.messages for request in requests])
        with quietly(), torch.inference_mode():
            ids = self._model.generate(**prompts, do_sample=False, max_new_tokens=requests[0].max_tokens)
        ends = {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id}
        return sum(token not in ends for row in ids[:, prompts["input_ids"].shape[1] :].tolist() for token in row)

    def write(self, request: Request, tokens: int) -> None:
        """Write this many tokens, sampled as the request asks."""
        sampling = {"do_sample": True, "temperature": request.temperature} if request.temperature else {}
        with quietly(), torch.inference_mode():
            self._model.generate(
                **self._prompts([request.messages]), min_new_tokens=tokens, max_new_tokens=tokens, **sampling
            )

    def tokens(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def option_probabilities(self, chat: Chat) -> tuple[float, ...]:
        """Read the options from the scores of one new token."""
        with quietly(), torch.inference_mode():
            written = self._model.generate(
                **self._prompts([chat]),
                do_sample=False,
                max_new_tokens=1,
                return_dict_in_generate=True,
                output_scores=True,
            )
        probabilities = torch.softmax(written.scores[0][0].float(), dim=-1).tolist()
        found = {token: probabilities[i] for token, i in self._tokenizer.get_vocab().items()}
        return gather(found, letters(3))[0]

    def _prompts(self, chats: Sequence[Chat]) -> Any:
        plain = [[{"role": message.role, "content": message.content} for message in chat] for chat in chats]
        return self._tokenizer.apply_chat_template(
            plain, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )
