"""Causal influence: what an answer would have been, or how likely, without a persona or in another order.

Prompts are composed by the modes themselves, so that what differs is what was taken out or moved, and nothing else.
Every function says what it did in an `Effect`. Knows modes and models; knows no record.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ethos.answer import Outcome
from ethos.encoders.embedder import Embedder
from ethos.errors import InputError
from ethos.influence import distance, leave_one_out, weighted_mean
from ethos.llm import LanguageModel, Message, OptionReading, ScoringModel
from ethos.llm.calls import AnyCall, Query, ReadingCall, ReadingRequest, ask
from ethos.pipeline.modes import MODES, STAGE, Asking, Task
from ethos.scenario import Mode

MOST_SUBSETS_OF = 6  # personas: 64 subsets
REORDERINGS = 8  # of the passages, for the noise floor
MOST_DISTANCE = math.sqrt(math.log(2))  # between two distributions, JS, base e


@dataclass(frozen=True, slots=True)
class Effect:
    """How much each persona moved an answer.

    Attributes:
        influences: One a persona, in panel order; None where undefined.
        details: What else was found, as plain JSON values.
        calls: The model calls that were made.
    """

    influences: tuple[float | None, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[AnyCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """An answer, as what its influences are computed from.

    Attributes:
        mode: How comments became the answer.
        task: The same task that the mode was given.
        outcome: What it made of it.
        calls: Its own recorded calls of the main model.
        embedder: Compares texts.
    """

    mode: Mode
    task: Task
    outcome: Outcome
    calls: tuple[AnyCall, ...]
    embedder: Embedder

    def start(self, task: Task) -> Asking[Outcome]:
        """The mode at work on a task."""
        return MODES[self.mode](task, self.embedder)

    def with_comments(self, positions: Iterable[int]) -> Task:
        """The task with these comments only, in this order."""
        chosen = list(positions)
        return replace(
            self.task,
            comments=[self.task.comments[i] for i in chosen],
            weights=tuple(self.task.weights[i] for i in chosen),
        )

    def first_query(self, task: Task) -> Query:
        """What the mode asks first of a task."""
        return next(self.start(task))[0]

    def who(self, position: int) -> str:
        """The persona at a place of the panel, by id."""
        return self.task.comments[position].persona_id

    def check(self) -> None:
        """Make sure that this version composes the prompts that the answer was made with.

        Raises:
            InputError: It does not, so nothing it computes would be about that answer.
        """
        if self.first_query(self.task).key(self.calls[0].identity) != self.calls[0].key:
            raise InputError(
                "this version of Ethos composes other prompts than the answer was made with",
                "use the version that `ethos audit show` names",
            )


def passages_left_out(case: Case, model: ScoringModel) -> Effect:
    """How much less likely an Overton answer is without each comment, in nats a token.

    The noise floor is the most that the same passages in another order change it.
    """
    everybody = tuple(range(len(case.task.comments)))
    orders = _reorderings(len(everybody), case.task.seed)
    without = [tuple(i for i in everybody if i != left_out) for left_out in everybody]
    whole, *rest = _per_token(case, model, [everybody, *without, *orders])
    influences = tuple(whole - value for value in rest[: len(everybody)])
    details = {"per_token": whole, **_floor(influences, whole, rest[len(everybody) :]), **_scored_by(model)}
    return Effect(influences, details)


def passages_shapley(case: Case, model: ScoringModel) -> Effect:
    """Each comment's Shapley value in the likelihood of an Overton answer, in nats a token, over all subsets.

    Raises:
        InputError: The panel has too many personas.
    """
    count = len(case.task.comments)
    _check_subsets(count)
    subsets = [tuple(i for i in range(count) if chosen >> i & 1) for chosen in range(1 << count)]
    orders = _reorderings(count, case.task.seed)
    values = _per_token(case, model, [*subsets, *orders])
    worth = values[: len(subsets)]
    influences = shapley(worth, count)
    details = {
        "per_token": worth[-1],
        "per_token_without_any": worth[0],
        **_floor(influences, worth[-1], values[len(subsets) :]),
        **_scored_by(model),
    }
    return Effect(influences, details)


def distribution_left_out(case: Case) -> Effect:
    """JS distance that each persona's absence makes; exact, without any model call."""
    return Effect(leave_one_out(case.outcome.distributions, case.outcome.weights))


def distribution_shapley(case: Case) -> Effect:
    """Each persona's Shapley value in how near a panel comes to the answer's distribution; they sum to 1.

    Exact, without any model call. A panel is worth 1 less its JS distance from the answer, as a share of the most there
    can be; nobody is worth 0.

    Raises:
        InputError: The panel has too many personas.
    """
    distributions, weights = case.outcome.distributions, case.outcome.weights
    count = len(distributions)
    _check_subsets(count)
    whole = weighted_mean(distributions, weights)

    def worth(chosen: int) -> float:
        inside = [i for i in range(count) if chosen >> i & 1]
        if sum(weights[i] for i in inside) <= 0:
            return 0.0
        part = weighted_mean([distributions[i] for i in inside], [weights[i] for i in inside])
        return 1.0 - distance(whole, part) / MOST_DISTANCE

    return Effect(shapley([worth(chosen) for chosen in range(1 << count)], count))


def runner_up(case: Case, model: LanguageModel) -> Effect:
    """How far a steered answer moves when the selected comment is not there, and the next best one is taken.

    Raises:
        InputError: There is no other comment, or the model gave no other any probability.
        ModelError: As the model raises it.
    """
    selection = case.outcome.selection
    order = sorted(range(len(selection)), key=lambda i: -selection[i])
    rest = [i for i in range(len(selection)) if i != order[0]]
    left = sum(selection[i] for i in rest)
    if left <= 0:
        raise InputError("no other comment has any probability to be selected, so there is no runner-up")
    going = case.start(case.with_comments(rest))
    [query] = next(going)
    selected = case.calls[0]
    assert isinstance(query, ReadingRequest), "a steered answer begins with a selection"
    assert isinstance(selected, ReadingCall), "a steered answer begins with a selection"
    again = tuple(selection[i] / left for i in rest)
    reading = OptionReading(again, selected.reading.mass, 0, 0.0)
    made = ReadingCall(STAGE, selected.identity, query.messages, query.labels, reading)
    outcome, calls = _finish(going, [made], lambda queries: ask(model, STAGE, queries))
    moved = _moved(case, outcome)
    influences = tuple(moved if i == order[0] else 0.0 for i in range(len(selection)))
    details = {
        "selected": case.who(order[0]),
        "runner_up": case.who(order[1]),
        "margin": selection[order[0]] - selection[order[1]],
        "output": outcome.output,
        "choice": outcome.choice,
        "distribution": outcome.distribution and list(outcome.distribution),
        "same": (outcome.output, outcome.choice) == (case.outcome.output, case.outcome.choice),
        "asked": model.identity.name,
    }
    return Effect(influences, details, tuple(calls))


def shapley(worth: Sequence[float], count: int) -> tuple[float, ...]:
    """Shapley values from the worth of every subset; they sum to the worth of all less that of nobody.

    Args:
        worth: Of each subset of `count` players, by its bit mask.
        count: How many players there are.
    """
    share = [math.factorial(n) * math.factorial(count - n - 1) / math.factorial(count) for n in range(count)]
    return tuple(
        sum(
            share[mask.bit_count()] * (worth[mask | 1 << player] - worth[mask])
            for mask in range(1 << count)
            if not mask >> player & 1
        )
        for player in range(count)
    )


def _per_token(case: Case, model: ScoringModel, orders: Sequence[tuple[int, ...]]) -> list[float]:
    """Mean log probability of a token of the answer after these comments in these orders; nats."""
    pairs: list[tuple[tuple[Message, ...], str]] = []
    for order in orders:
        query = case.first_query(case.with_comments(order))
        pairs.append((query.messages, case.outcome.output))
    return [likelihood.per_token for likelihood in model.log_likelihoods(pairs)]


def _floor(influences: Sequence[float], whole: float, reordered: Sequence[float]) -> dict[str, Any]:
    """The noise floor, and whose influence is above it; None where there is no other order."""
    floor = max((abs(whole - value) for value in reordered), default=None)
    above = None if floor is None else [abs(influence) > floor for influence in influences]
    return {"floor": floor, "above_floor": above, "reordered": len(reordered)}


def _scored_by(model: ScoringModel) -> dict[str, str]:
    return {"asked": model.identity.name}


def _reorderings(count: int, seed: int) -> list[tuple[int, ...]]:
    """Some other orders of `count` passages, distinct, the same for the same seed."""
    wanted = min(REORDERINGS, math.factorial(count) - 1)
    drawn, order, found = random.Random(seed), list(range(count)), dict.fromkeys([tuple(range(count))])
    while len(found) <= wanted:
        drawn.shuffle(order)
        found[tuple(order)] = None
    return list(found)[1:]


def _check_subsets(count: int) -> None:
    if count > MOST_SUBSETS_OF:
        raise InputError(
            f"{count} personas have {2**count:,} subsets, and Shapley values need them all",
            f"ask for leave-one-out; Shapley values are for {MOST_SUBSETS_OF} personas at most",
        )


def _finish(
    going: Asking[Outcome], calls: Sequence[AnyCall], answered: Callable[[Sequence[Query]], Sequence[AnyCall]]
) -> tuple[Outcome, list[AnyCall]]:
    """Take a mode on from its first calls to its outcome; returns the further calls as well."""
    made: list[AnyCall] = []
    try:
        while True:
            calls = answered(going.send(calls))
            made += calls
    except StopIteration as end:
        return end.value, made


def _moved(case: Case, other: Outcome) -> float:
    """How far another outcome is from the answer: JS distance of the options, else 1 less the texts' cosine."""
    if case.outcome.distribution is not None and other.distribution is not None:
        return distance(case.outcome.distribution, other.distribution)
    one, two = case.embedder.encode([case.outcome.output, other.output])
    return max(0.0, 1.0 - float(one @ two))
