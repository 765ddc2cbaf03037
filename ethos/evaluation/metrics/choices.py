"""Which options a prediction chooses, and with what probabilities; what cannot be read is an error, never a guess."""

from __future__ import annotations

from dataclasses import dataclass

from ethos.errors import InputError
from ethos.evaluation.metrics.metrics import ties
from ethos.evaluation.tasks.gold import read_distribution
from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.task import Item, TaskName
from ethos.scenario import Mode
from ethos.text.option_letters import letters, read_label

_ROUNDING = 1e-3  # by which a prediction may miss a sum of 1 without a note


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a prediction says of an item with options.

    Attributes:
        options: The index of the chosen option; several where a distribution has equals.
        distribution: One share an option, summing to 1; empty where the prediction has none.
        normalised: Whether the distribution's own sum was another.
    """

    options: tuple[int, ...]
    distribution: tuple[float, ...]
    normalised: bool


def chosen(item: Item, prediction: Prediction, task: TaskName) -> Chosen:
    """Read a prediction.

    The gold of a value question is a label, so that the written choice counts before the probabilities; elsewhere
    it is a distribution, and the most likely option counts. Modular Pluralism's files have no choice but the text.

    Raises:
        InputError: The prediction is no distribution over the options, or chooses none of them.
        UnreadableReply: The text does not begin with an option's letter.
    """
    count = len(item.scenario.options)
    distribution: tuple[float, ...] = ()
    total = 1.0
    if prediction.distribution:
        distribution, total = read_distribution(list(prediction.distribution), count, "prediction")
    elif task.mode is Mode.DISTRIBUTIONAL:
        raise InputError("there is no distribution")
    normalised = abs(total - 1) > _ROUNDING
    if distribution and (task is not TaskName.STEERABLE_VALUES or prediction.choice is None):
        return Chosen(ties(distribution), distribution, normalised)
    choice = prediction.choice
    if choice is None:
        labels = letters(count)
        choice = labels.index(read_label(prediction.output, labels))
    if not 0 <= choice < count:
        raise InputError(f"option {choice} is none of {count}")
    return Chosen((choice,), distribution, normalised)
