"""MoE: the main model picks one of the described experts, whose comment becomes the passage (paper section 4.4).

The pick is read from the probabilities of the experts' numbers, as Ethos reads its selection: the released code takes
the first digit that occurs in a reply, else an expert by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ethos.errors import EthosError, ModelError
from ethos.evaluation.methods import Method, Workshop
from ethos.evaluation.methods.asking import Bill, ask_each, conclude_prompts, prediction_of, question_of
from ethos.evaluation.methods.community import Communities, communities
from ethos.evaluation.methods.prompted import refusals
from ethos.evaluation.tasks.prediction import Prediction
from ethos.llm import LanguageModel, user
from ethos.llm.calls import Call, Query, ReadingRequest
from ethos.prompts import baseline_prompts, fill, numbered
from ethos.scenario import Mode, Scenario

STAGE = "select"
MOST = 9  # experts, since a pick is read as one digit


@dataclass(frozen=True)
class MixtureOfExperts:
    """One expert's comment helps the main model.

    Attributes:
        model: The main model.
        experts: Whom it may pick, at most `MOST`.
    """

    model: LanguageModel
    experts: Communities
    name: str = "moe"

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """See `Method`."""
        table, bills = baseline_prompts().moe, [Bill() for _ in scenarios]
        ended: dict[int, Any] = dict(refusals(scenarios, mode, 1))
        asked = {place: self._selection(one, mode) for place, one in enumerate(scenarios) if place not in ended}
        picked = {}
        for place, calls in ask_each(self.model, STAGE, asked, bills).items():
            if isinstance(calls, ModelError):
                ended[place] = calls
            else:
                assert not isinstance(calls[0], Call), "a pick is read, not written"
                picked[place] = [self.experts.names[int(np.argmax(calls[0].reading.probabilities))]]
        said = {}
        for place, comments in self.experts.comments(picked, scenarios, mode, seed, bills).items():
            if isinstance(comments, EthosError):
                ended[place] = comments
            else:
                said[place] = comments
        prompts = {
            place: fill(table["answer"], comment=comments[0].text, question=question_of(scenarios[place], mode))
            for place, comments in said.items()
        }
        for place, outcome in conclude_prompts(self.model, prompts, scenarios, mode, seed, bills).items():
            ended[place] = outcome
            if not isinstance(outcome, EthosError):
                ended[place] = prediction_of(outcome, bills[place], said[place], [{"name": picked[place][0]}])
        return [ended[place] for place in range(len(scenarios))]

    def _selection(self, scenario: Scenario, mode: Mode) -> Sequence[Query]:
        experts = numbered("Expert", list(self.experts.names)).replace("\n\n", "\n")
        prompt = fill(baseline_prompts().moe["select"], question=question_of(scenario, mode), experts=experts)
        return [ReadingRequest(user(prompt), tuple(str(number + 1) for number in range(len(self.experts.names))))]

    def close(self) -> None:
        """Nothing is held."""


def moe(workshop: Workshop) -> Method:
    """The six perspectives are the experts."""
    return MixtureOfExperts(workshop.open(workshop.model), communities(workshop, "perspectives"))
