"""Whether an answer depends on the order of comments or options, which it should not.

Everything shown takes each place once. Knows modes and models; knows no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ethos.audit.influence.leave_one_out import Case, Effect
from ethos.errors import InputError
from ethos.influence import leave_one_out, weighted_mean
from ethos.llm import LanguageModel
from ethos.llm.calls import Query, ReadingCall, ask
from ethos.pipeline.modes import STAGE
from ethos.scenario import Mode, Scenario
from ethos.text.option_letters import letters, written


def comment_order(case: Case, model: LanguageModel) -> Effect:
    """The probability of each comment to be selected, averaged over all rotations: each takes each place once.

    Raises:
        ModelError: As the model raises it.
    """
    count = len(case.task.comments)
    rotations = [_rotation(count, by) for by in range(count)]
    queries = [case.first_query(case.with_comments(order)) for order in rotations]
    calls = ask(model, STAGE, queries)
    read = [call.reading.probabilities for call in calls if isinstance(call, ReadingCall)]
    by_persona = np.array([_unrotated(row, by) for by, row in enumerate(read)])
    winners = [int(row.argmax()) for row in by_persona]
    first = int(np.argmax(case.outcome.selection))
    details = {
        "selected": case.who(first),
        "selected_in_rotations": [case.who(winner) for winner in winners],
        "stable": winners.count(first) / count,
        "by_place": np.mean(read, axis=0).tolist(),
        "asked": model.identity.name,
    }
    return Effect(tuple(by_persona.mean(axis=0).tolist()), details, tuple(calls))


def option_order(case: Case, model: LanguageModel) -> Effect:
    """The options' probabilities, averaged over all rotations of the options: each takes each letter once.

    The influences are those of a distributional answer from such means; None in the other modes.

    Raises:
        InputError: The options' probabilities were not read.
        ModelError: As the model raises it.
    """
    scenario = case.task.scenario
    if case.outcome.distribution is None:
        raise InputError("the answer has no probabilities of options whose order could matter")
    count = len(scenario.options)
    asked = [_reading_queries(case, _rotated(scenario, by)) for by in range(count)]
    calls = ask(model, STAGE, [query for queries in asked for query in queries])
    read = [call.reading.probabilities for call in calls if isinstance(call, ReadingCall)]
    each = len(asked[0])
    # (rotations, comments or 1, options), the options in their own order again.
    unrotated = np.array([[_unrotated(row, by) for row in read[by * each : (by + 1) * each]] for by in range(count)])
    weights = case.outcome.weights if case.mode is Mode.DISTRIBUTIONAL else (1.0,)
    wholes = [weighted_mean(rotation, weights) for rotation in unrotated]
    winners = [letters(count)[int(np.argmax(whole))] for whole in wholes]
    by_letter = np.mean([np.roll(whole, -by) for by, whole in enumerate(wholes)], axis=0)
    influences: tuple[float | None, ...] = (None,) * len(case.task.comments)
    if case.mode is Mode.DISTRIBUTIONAL:
        influences = leave_one_out(unrotated.mean(axis=0).tolist(), weights)
    details = {
        "choice": case.outcome.choice,
        "choice_in_rotations": winners,
        "stable": winners.count(str(case.outcome.choice)) / count,
        "distribution": np.mean(wholes, axis=0).tolist(),
        "by_letter": by_letter.tolist(),
        "wording_kept": not scenario.wording or bool(_rotated(scenario, 1).wording),
        "asked": model.identity.name,
    }
    return Effect(influences, details, tuple(calls))


def _reading_queries(case: Case, scenario: Scenario) -> list[Query]:
    """What the mode asks to read the options' probabilities, the calls before it as they are recorded."""
    task = replace(case.task, scenario=scenario)
    going = case.start(task)
    queries = next(going)
    if case.mode is not Mode.DISTRIBUTIONAL:
        queries = going.send([case.calls[0]])
    return list(queries)


def _rotation(count: int, by: int) -> tuple[int, ...]:
    return tuple((place + by) % count for place in range(count))


def _unrotated(row: Sequence[float], by: int) -> list[float]:
    """Numbers by place back to numbers by what stood there."""
    return [row[(place - by) % len(row)] for place in range(len(row))]


def _rotated(scenario: Scenario, by: int) -> Scenario:
    """The same question with its options in another order; in our own wording where its own cannot follow."""
    options = tuple(scenario.options[i] for i in _rotation(len(scenario.options), by))
    old, new = written(scenario.options), written(options)
    wording = scenario.wording.replace(old, new) if old in scenario.wording else ""
    return replace(scenario, options=options, wording=wording)
