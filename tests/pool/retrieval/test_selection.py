"""Choosing a panel: distinct, covering, and the same whatever the order of the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethos.answer import Decision
from ethos.persona import Persona, clashes
from ethos.pool.retrieval import selection
from ethos.pool.retrieval.demand import values_at_stake
from ethos.pool.retrieval.gate import decide, eligible
from ethos.pool.retrieval.selection import Candidates, slots

TEXTS = 4  # texts an attribute can have in the drawn candidates
VECTORS = np.eye(2 * TEXTS, dtype=np.float32)  # unlike values: each covers itself alone


class Candidate(NamedTuple):
    """A persona with how relevant it is and the rows of its two values."""

    persona: Persona
    relevance: float
    values: tuple[int, int]


class Choice(NamedTuple):
    """Who was chosen, and what that covers."""

    candidate: Candidate
    gain: float


def arrays(some: Sequence[Candidate]) -> tuple[list[Candidate], Candidates]:
    """Candidates in their order, and as the selection takes them."""
    ordered = sorted(some, key=lambda one: (-one.relevance, one.persona.id))
    relevance = np.array([one.relevance for one in ordered])
    values = np.array([one.values for one in ordered], dtype=np.int64).reshape(-1, 2)
    return ordered, Candidates(relevance, values, slots(one.persona.texts() for one in ordered))


def choose(some: Sequence[Candidate], vectors: Any, k: int) -> list[Choice]:
    """The choice where each value is at stake as much as the candidates who hold it are near."""
    ordered, candidates = arrays(some)
    votes = np.zeros(len(vectors))
    for one in ordered:  # sums depend on their order
        votes[list(one.values)] += np.exp(one.relevance / 0.1)
    chosen = selection.choose(candidates, vectors, votes / max(votes.sum(), 1.0), k)
    return [Choice(ordered[one.row], one.gain) for one in chosen]


def persona(*numbers: int) -> Persona:
    names = ("name", "value", "ethics", "right", "emotion", "role")
    return Persona(*(f"{name} {number}" for name, number in zip(names, numbers, strict=True)))


def candidate(number: int, relevance: float, values: tuple[int, int] | None = None) -> Candidate:
    """One that shares no attribute with another number's."""
    return Candidate(persona(*[number] * 6), relevance, values or (2 * number, 2 * number + 1))


def distinct(some: Sequence[Candidate]) -> bool:
    return not any(clashes(one.persona, [other.persona]) for one, other in combinations(some, 2))


@st.composite
def candidates(draw: Any) -> list[Candidate]:
    numbers = st.tuples(*[st.integers(0, TEXTS - 1)] * 6)
    drawn = draw(st.lists(numbers, unique=True, max_size=10))
    # Few distinct relevances, so that equals are common.
    relevances = st.sampled_from([-0.1, 0.5, 0.6, 0.61, 1.0])
    return [Candidate(persona(*n), draw(relevances), (n[1], TEXTS + n[3])) for n in drawn]


@settings(deadline=None)
@given(candidates(), st.integers(0, 6))
def test_the_chosen_differ_in_every_attribute_and_are_k_whenever_k_of_the_candidates_do(
    given_: list[Candidate], k: int
) -> None:
    chosen = [c.candidate for c in choose(given_, VECTORS, k)]
    assert len(chosen) <= k
    for position, one in enumerate(chosen):
        assert one in given_
        assert clashes(one.persona, [other.persona for other in chosen[:position]]) == []
    if len(chosen) < k:
        # No k of the candidates differ in every attribute: all of them are tried.
        assert not any(distinct(some) for some in combinations(given_, len(chosen) + 1))


@settings(deadline=None)
@given(candidates(), st.data())
def test_the_order_of_the_candidates_changes_nothing(given_: list[Candidate], data: Any) -> None:
    assert choose(data.draw(st.permutations(given_)), VECTORS, 4) == choose(given_, VECTORS, 4)


@settings(deadline=None)
@given(candidates())
def test_gains_fall_and_sum_to_at_most_one(given_: list[Candidate]) -> None:
    gains = [one.gain for one in choose(given_, VECTORS, 6)]
    assert all(gain >= 0.0 for gain in gains)
    assert sum(gains) <= 1.0 + 1e-9
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(gains))


def test_six_who_differ_are_all_chosen() -> None:
    six = [candidate(number, 0.5 + number / 100) for number in range(6)]
    chosen = choose(six, np.eye(12, dtype=np.float32), 6)
    assert {c.candidate.persona.id for c in chosen} == {c.persona.id for c in six}
    assert sum(c.gain for c in chosen) == pytest.approx(1.0)


def test_a_new_value_beats_a_more_relevant_repetition() -> None:
    # The first two want the same in other words: rows 2 and 3 equal rows 0 and 1.
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 1, 2, 3]]
    first, again, other = candidate(0, 0.9), candidate(1, 0.89), candidate(2, 0.8)
    chosen = choose([again, other, first], vectors, 2)
    assert [c.candidate for c in chosen] == [first, other]
    # Votes e^9, e^8.9 and e^8, each for two values.
    assert [c.gain for c in chosen] == pytest.approx([0.838132, 0.161868], abs=1e-6)


def test_values_count_as_the_same_from_a_cosine_of_0_7() -> None:
    vectors = np.array([[1, 0, 0], [0.71, 0.7042, 0], [0.69, 0, 0.7238]], dtype=np.float32)
    first, near, far = (candidate(n, 0.5, (n, n)) for n in range(3))
    gains = {c.candidate: c.gain for c in choose([first, near], vectors, 2)}
    assert sorted(gains.values()) == pytest.approx([0.0, 1.0])
    gains = {c.candidate: c.gain for c in choose([first, far], vectors, 2)}
    assert sorted(gains.values()) == pytest.approx([0.5, 0.5])


def test_of_equal_gains_the_most_relevant_comes_first_and_then_the_smallest_id() -> None:
    vectors = np.ones((6, 1), dtype=np.float32)  # everybody covers everything
    high, *equal = candidate(0, 0.9), candidate(1, 0.5), candidate(2, 0.5)
    expected = [high, *sorted(equal, key=lambda c: c.persona.id)]
    assert [c.candidate for c in choose([*equal, high], vectors, 3)] == expected


def test_fewer_than_k_are_chosen_when_all_clash() -> None:
    same_emotion = [Candidate(persona(n, n, n, n, 0, n), 0.9 - n / 10, (n, TEXTS + n)) for n in range(4)]
    assert [c.candidate for c in choose(same_emotion, VECTORS, 3)] == [same_emotion[0]]


def test_attributes_that_differ_only_in_case_clash() -> None:
    ana = Persona("Ana", "Life", "Care", "Duty", "Joy", "Nurse")
    ben = Persona("Ben", "Truth", "Law", "Right", "JOY", "Judge")
    chosen = choose([Candidate(ana, 0.9, (0, 1)), Candidate(ben, 0.8, (2, 3))], VECTORS, 2)
    assert [c.candidate.persona for c in chosen] == [ana]


def test_nobody_is_chosen_of_no_candidates_or_for_no_place() -> None:
    assert choose([], np.empty((0, 0), dtype=np.float32), 6) == []
    assert choose([candidate(0, 0.9)], VECTORS, 0) == []


@pytest.mark.parametrize(
    ("relevances", "chosen", "k", "expected"),
    [
        ([0.4, 0.9, 0.7], 2, 2, (Decision.HIT, 0.7, 0.5)),
        ([0.4, 0.9, 0.7], 2, 3, (Decision.PARTIAL, 0.4, 0.5)),
        # Near enough, but one repeats an attribute of the other.
        ([0.9, 0.7], 1, 2, (Decision.PARTIAL, 0.7, 0.5)),
        ([0.4, 0.3], 0, 2, (Decision.MISS, 0.3, 0.5)),
        ([0.9], 1, 6, (Decision.PARTIAL, 0.9, 0.5)),
        ([], 0, 6, (Decision.MISS, 0.0, 0.5)),
        ([0.12345678], 0, 1, (Decision.MISS, 0.123457, 0.5)),
    ],
)
def test_the_gate_tells_hit_partial_and_miss(relevances: list[float], chosen: int, k: int, expected: object) -> None:
    _, found = arrays([candidate(number, relevance) for number, relevance in enumerate(relevances)])
    gate = decide(found, chosen, k, 0.5, 0.25, 0.0)
    assert (gate.decision, gate.score, gate.threshold) == expected


def test_a_candidate_at_the_threshold_is_kept() -> None:
    _, found = arrays([candidate(0, 0.5), candidate(1, 0.499999), candidate(2, 0.8)])
    assert eligible(found, 0.5).relevance.tolist() == [0.8, 0.5]


def unit(*numbers: float) -> Any:
    row = np.array(numbers, dtype=np.float32)
    return row / np.linalg.norm(row)


def test_the_values_of_nearer_scenarios_are_more_at_stake() -> None:
    neighbours = np.stack([unit(1, 0, 0, 0), unit(0, 1, 0, 0)])
    values = np.stack([unit(0, 0, 1, 0), unit(0, 0, 0, 1)])
    stakes = values_at_stake(unit(1, 0.1, 0, 0), neighbours, np.eye(2, dtype=bool), values)
    assert stakes.sum() == pytest.approx(1.0)
    assert stakes[0] > stakes[1] > 0


def test_of_values_found_alike_the_one_the_scenario_is_about_is_more_at_stake() -> None:
    query = unit(1, 0, 0)
    stakes = values_at_stake(
        query, query[None, :], np.ones((1, 2), dtype=bool), np.stack([unit(1, 1, 0), unit(0, 0, 1)])
    )
    assert stakes[0] > stakes[1] > 0
