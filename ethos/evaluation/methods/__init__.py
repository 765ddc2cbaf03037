"""Methods: how an item is answered. A new method is one file here, and one line in `registry`.

A method sees a scenario, never the gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ethos.errors import EthosError
from ethos.evaluation.prediction import Prediction
from ethos.scenario import Mode, Scenario


class Method(Protocol):
    """One way to answer items."""

    @property
    def name(self) -> str:
        """As `--methods` and reports name it: ``vanilla``, ``ethos-pool``."""

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """Answer scenarios side by side.

        Args:
            scenarios: What is asked; attributes that would leak the gold are not in them.
            mode: The task's.
            seed: The run's seed; an item's own seeds depend on it and on the scenario alone.

        Returns:
            One prediction or error a scenario, in order; an error says why this scenario has no answer.

        Raises:
            EthosError: Nothing can be answered, such as a model that cannot be reached.
        """

    def close(self) -> None:
        """Release what it holds."""
