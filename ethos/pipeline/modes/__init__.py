"""The three modes (paper section 3.3): how comments become one answer, one module a mode.

A reply that cannot be read is an error that shows the text; no mode substitutes a choice or a distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ethos.answer import Outcome
from ethos.encoders.embedder import Embedder
from ethos.errors import InputError, ModelError
from ethos.llm.calls import AnyCall, Query
from ethos.pipeline.modes.distributional import distributional
from ethos.pipeline.modes.overton import overton
from ethos.pipeline.modes.shared import STAGE, Aggregator, Asking, Task
from ethos.pipeline.modes.steerable import steerable
from ethos.scenario import AttributeKind, Mode, Scenario

__all__ = [
    "MODES",
    "STAGE",
    "Aggregator",
    "Asking",
    "Task",
    "check",
    "conclude",
    "distributional",
    "overton",
    "steerable",
]

# From queries, by the place of the task that has them, to their calls or the error they met.
Ask = Callable[[Mapping[int, Sequence[Query]]], Mapping[int, Sequence[AnyCall] | ModelError]]

MODES: Mapping[Mode, Aggregator] = {
    Mode.OVERTON: overton,
    Mode.STEERABLE: steerable,
    Mode.DISTRIBUTIONAL: distributional,
}


def conclude(
    tasks: Sequence[tuple[Mode, Task]], embedder: Embedder, ask: Ask, modes: Mapping[Mode, Aggregator] = MODES
) -> list[Outcome | ModelError]:
    """Run tasks to their outcomes together; the model requests of one step form one batch.

    Returns:
        One outcome a task, in order, or the error that this task alone would raise.
    """
    running = {place: modes[mode](task, embedder) for place, (mode, task) in enumerate(tasks)}
    ended: dict[int, Outcome | ModelError] = {}
    waiting: dict[int, Sequence[Query]] = {}

    def go_on(place: int, calls: Sequence[AnyCall] | None) -> None:
        try:
            # A generator that has not begun takes nothing but None.
            waiting[place] = running[place].send(calls) if calls is not None else next(running[place])
        except StopIteration as end:
            ended[place] = end.value
        except ModelError as error:
            ended[place] = error

    for place in running:
        go_on(place, None)
    while waiting:
        asked, waiting = waiting, {}
        for place, answered in ask(asked).items():
            if isinstance(answered, ModelError):
                ended[place] = answered
            else:
                go_on(place, answered)
    return [ended[place] for place in range(len(tasks))]


def check(mode: Mode, scenario: Scenario, k: int) -> None:
    """Refuse, before any work, a scenario that the mode cannot answer.

    Raises:
        InputError: Steerable without an attribute or with more than 9 personas, distributional without options or
            for a value.
    """
    attribute = scenario.attribute
    if mode is Mode.STEERABLE and k > 9:
        raise InputError(f"steerable mode reads the chosen comment's number as one digit, k is {k}", "lower --k to 9")
    if mode is Mode.OVERTON and attribute is not None:
        raise InputError("overton mode carries all views, so it takes no attribute", "use --mode steerable")
    if mode is Mode.STEERABLE and attribute is None:
        raise InputError("steerable mode needs a value or group to reflect", 'give one with --attribute "Autonomy"')
    if mode is Mode.DISTRIBUTIONAL and not scenario.options:
        raise InputError("distributional mode needs a question with options", 'repeat --option "Yes" --option "No"')
    if mode is Mode.DISTRIBUTIONAL and attribute is not None and attribute.kind is AttributeKind.VALUE:
        raise InputError("distributional mode answers for a country or group, not a value", "use --mode steerable")
