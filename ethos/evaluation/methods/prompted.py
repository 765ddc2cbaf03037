"""Shared by vanilla and prompting: one prompt, one answer of the main model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ethos.errors import EthosError, InputError
from ethos.evaluation.methods.asking import Bill, conclude_prompts, prediction_of
from ethos.evaluation.tasks.prediction import Prediction
from ethos.llm import LanguageModel
from ethos.pipeline.modes import check
from ethos.scenario import Mode, Scenario


@dataclass(frozen=True)
class Prompted:
    """Asks the main model one prompt a scenario.

    Attributes:
        name: The method's.
        model: The main model.
        prompt: Writes it.
    """

    name: str
    model: LanguageModel
    prompt: Callable[[Scenario, Mode], str]

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """See `Method`."""
        bills = [Bill() for _ in scenarios]
        refused = refusals(scenarios, mode, 1)
        prompts = {place: self.prompt(one, mode) for place, one in enumerate(scenarios) if place not in refused}
        found = refused | conclude_prompts(self.model, prompts, scenarios, mode, seed, bills)
        return [
            one if isinstance(one, EthosError) else prediction_of(one, bills[place])
            for place, one in sorted(found.items())
        ]

    def close(self) -> None:
        """Nothing is held."""


def refusals(scenarios: Sequence[Scenario], mode: Mode, k: int) -> dict[int, EthosError]:
    """By place, why the mode cannot answer a scenario (`ethos.pipeline.modes.check`)."""
    found: dict[int, EthosError] = {}
    for place, scenario in enumerate(scenarios):
        try:
            check(mode, scenario, k)
        except InputError as error:
            found[place] = error
    return found
