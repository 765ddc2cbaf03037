"""Asks with the options in another order, and turns what comes back into the order they have.

Around any method: one that likes the letter A loses by it, one that reads the options does not. Comments keep the
letters they were written with.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from ethos.errors import EthosError, InputError
from ethos.evaluation.methods import Method
from ethos.evaluation.tasks.prediction import Prediction
from ethos.llm.calls import derived_seed
from ethos.scenario import Mode, Scenario
from ethos.text.option_letters import LETTERS


@dataclass(frozen=True)
class Permuted:
    """A method that is asked with permuted options.

    Attributes:
        method: Which.
    """

    method: Method

    @property
    def name(self) -> str:
        """The method's own."""
        return self.method.name

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """See `Method`."""
        orders = [order_of(scenario, seed) for scenario in scenarios]
        turned: dict[int, Scenario] = {}
        found: dict[int, Prediction | EthosError] = {}
        for place, (scenario, order) in enumerate(zip(scenarios, orders, strict=True)):
            try:
                turned[place] = reordered(scenario, order)
            except InputError as error:
                found[place] = error
        if turned:
            found |= dict(zip(turned, self.method.answer(list(turned.values()), mode, seed), strict=True))
        return [
            one if isinstance(one, EthosError) else _back(one, scenarios[place], orders[place])
            for place, one in sorted(found.items())
        ]

    def close(self) -> None:
        """Release the method."""
        self.method.close()


def order_of(scenario: Scenario, seed: int) -> tuple[int, ...]:
    """Which option stands at each place; it depends on seed and scenario alone."""
    count = len(scenario.options)
    return tuple(random.Random(derived_seed(seed, "options", *astuple(scenario))).sample(range(count), count))


def reordered(scenario: Scenario, order: Sequence[int]) -> Scenario:
    """The scenario with its options in another order, in its wording as well.

    Raises:
        InputError: The wording does not hold the options one after the other.
    """
    options = tuple(scenario.options[place] for place in order)
    return replace(scenario, options=options, wording=_reworded(scenario, order) if scenario.wording else "")


def _reworded(scenario: Scenario, order: Sequence[int]) -> str:
    labelled = (
        rf"(\s*\b{letter}[.)]\s+)({_words(option)})" for letter, option in zip(LETTERS, scenario.options, strict=False)
    )
    # The options may also be spoken of before they are listed: the last place where all stand is the list.
    found = list(re.finditer("".join(labelled), scenario.wording, re.IGNORECASE))
    if not found:
        raise InputError(
            "the question's wording does not hold its options in their order, so they cannot be permuted",
            "leave --permute-options away",
        )
    match = found[-1]
    labels, texts = match.groups()[0::2], match.groups()[1::2]
    listed = "".join(label + texts[place] for label, place in zip(labels, order, strict=True))
    return scenario.wording[: match.start()] + listed + scenario.wording[match.end() :]


def _words(text: str) -> str:
    """A pattern for a text whose blanks may be others."""
    return r"\s+".join(re.escape(word) for word in text.split())


def _back(prediction: Prediction, scenario: Scenario, order: Sequence[int]) -> Prediction:
    if not scenario.options:
        return prediction
    distribution = [0.0] * len(order)
    for place, probability in zip(order, prediction.distribution, strict=False):
        distribution[place] = probability
    shown = " ".join(LETTERS[place] for place in order)
    note = f"asked with the options in the order {shown}"
    choice, output = None if prediction.choice is None else order[prediction.choice], prediction.output
    if choice is not None and output[:1] == LETTERS[prediction.choice or 0]:
        output = f"{LETTERS[choice]}. {scenario.options[choice]}"
        note += f"; the reply was {prediction.output!r}"
    return replace(
        prediction,
        output=output,
        distribution=tuple(distribution) if prediction.distribution else (),
        choice=choice,
        warnings=(*prediction.warnings, note),
    )
