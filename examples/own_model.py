"""A language model of your own: anything with `identity`, `generate` and `option_probabilities`."""

from __future__ import annotations

import tempfile

from ethos import Ethos
from ethos.llm import Completion, ModelIdentity, OptionReading
from ethos.pool.starter import install


class Parrot:
    """Repeats the end of every prompt, and finds all options equally likely."""

    identity = ModelIdentity("example:parrot")

    def generate(self, requests):
        """Return one completion a request, in order."""
        return [Completion(request.messages[-1].content[-60:], "stop", 0, 0, 0.0) for request in requests]

    def option_probabilities(self, prompts, labels):
        """Return one reading a prompt: a probability a label, and the mass of all labels."""
        return [OptionReading((1 / len(labels),) * len(labels), 1.0, 0, 0.0) for _ in prompts]


with tempfile.TemporaryDirectory() as folder, Ethos(folder, model=Parrot()) as ethos:
    install(ethos.pool)
    answer = ethos.answer("Should visits be allowed in intensive care?", "distributional", options=["Yes", "No"])
    print(answer.output, answer.outcome.distribution)
