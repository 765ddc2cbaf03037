"""Metrics and intervals: against SciPy and scikit-learn on random inputs, and on small cases computed by hand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn import metrics as sklearn_metrics

from ethos.errors import InputError
from ethos.evaluation.metrics import metrics
from ethos.evaluation.metrics.intervals import Estimate, mean_interval, paired_difference, rate_interval

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
SHARES = st.floats(0, 1).map(lambda share: round(share, 6))
PAIRS = st.integers(2, 6).flatmap(
    lambda count: st.tuples(
        *[st.lists(SHARES, min_size=count, max_size=count).filter(lambda shares: sum(shares) > 0.01) for _ in "ab"]
    )
)


def normal(shares: Sequence[float]) -> list[float]:
    return [share / sum(shares) for share in shares]


@settings(deadline=None)
@given(LABELS)
def test_rates_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    counts = metrics.confusion(gold, predicted)
    labels = sorted({*gold, *predicted})
    if len(labels) > 1:
        assert counts.tolist() == sklearn_metrics.confusion_matrix(gold, predicted, labels=labels).tolist()
    with warnings.catch_warnings():  # of predictions that no gold has, which ours does without
        warnings.simplefilter("ignore")
        balanced = sklearn_metrics.balanced_accuracy_score(gold, predicted)
        f1 = sklearn_metrics.f1_score(gold, predicted, average="macro", zero_division=0)
    assert metrics.balanced_accuracy(counts) == pytest.approx(balanced)
    assert metrics.macro_f1(counts) == pytest.approx(f1)


@settings(deadline=None)
@given(LABELS)
def test_the_binary_setting_has_no_item_with_either_on_one_side(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    told, found = metrics.without(gold, predicted, 2)
    assert list(zip(told.tolist(), found.tolist(), strict=True)) == [pair for pair in pairs if 2 not in pair]


@settings(deadline=None)
@given(PAIRS)
def test_distances_are_scipys(pair: tuple[list[float], list[float]]) -> None:
    gold, predicted = map(normal, pair)
    found = metrics.js_distance(gold, predicted)
    with np.errstate(invalid="ignore"):  # of equal ones SciPy may take the root of a rounding error below zero
        assert found == pytest.approx(np.nan_to_num(jensenshannon(gold, predicted)), abs=1e-9)
    assert 0 <= found <= math.sqrt(math.log(2)) + 1e-9
    assert found == pytest.approx(metrics.js_distance(predicted, gold), abs=1e-7)
    assert metrics.total_variation(gold, predicted) == pytest.approx(
        sum(max(0.0, one - other) for one, other in zip(gold, predicted, strict=True))
    )


@settings(deadline=None)
@given(PAIRS)
def test_agreement_is_the_chance_that_one_of_the_likeliest_is_the_golds_first(
    pair: tuple[list[float], list[float]],
) -> None:
    gold, predicted = pair
    likeliest = [place for place, share in enumerate(predicted) if share >= max(predicted) - 1e-9]
    expected = 1 / len(likeliest) if gold.index(max(gold)) in likeliest else 0
    assert metrics.agreement(gold, predicted) == expected


@settings(deadline=None)
@given(st.lists(SHARES, min_size=2, max_size=60))
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    found = mean_interval(values)
    if np.ptp(values) == 0:
        assert (found.mean, found.low, found.high) == pytest.approx((values[0],) * 3)
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.n, found.mean, found.low, found.high) == pytest.approx((len(values), np.mean(values), low, high))


@settings(max_examples=20, deadline=None)
@given(LABELS.filter(lambda pairs: len(pairs) > 1), st.integers(0, 2**31))
def test_the_interval_of_a_rate_is_found_by_its_seed(pairs: list[tuple[int, int]], seed: int) -> None:
    counts = metrics.confusion(*zip(*pairs, strict=True))
    found = rate_interval(metrics.macro_f1, counts, seed)
    assert found == rate_interval(metrics.macro_f1, counts, seed)
    assert (found.n, found.mean) == (len(pairs), metrics.macro_f1(counts))
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high <= 1


def test_drawing_cells_is_drawing_items() -> None:
    rng = np.random.default_rng(3)
    gold = rng.integers(0, 3, 150)
    predicted = np.where(rng.random(150) < 0.6, gold, rng.integers(0, 3, 150))
    found = rate_interval(metrics.balanced_accuracy, metrics.confusion(gold, predicted))
    scipys = stats.bootstrap(
        (gold, predicted), lambda *pair: metrics.balanced_accuracy(metrics.confusion(*pair)), n_resamples=999,
        vectorized=False, paired=True, method="percentile", random_state=rng,
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((scipys.low, scipys.high), abs=0.01)


# Five cases by hand.


def test_by_hand_a_certain_guess_where_opinion_is_split() -> None:
    # m = (3/4, 1/4); KL(gold, m) = .5 ln(2/3) + .5 ln 2 = .143841; KL(guess, m) = ln(4/3) = .287682; the root of the
    # mean of both is .464501. Half of |1/2| + |1/2| is .5.
    gold, guess = (0.5, 0.5), (1.0, 0.0)
    assert metrics.js_distance(gold, guess) == pytest.approx(0.464501, abs=1e-6)
    assert metrics.total_variation(gold, guess) == 0.5


def test_by_hand_opposites_and_equals() -> None:
    assert metrics.js_distance((1.0, 0.0), (0.0, 1.0)) == pytest.approx(0.832555, abs=1e-6)  # the root of ln 2
    assert metrics.total_variation((1.0, 0.0), (0.0, 1.0)) == 1.0
    assert metrics.js_distance((0.1, 0.2, 0.7), (0.1, 0.2, 0.7)) == 0.0


def test_by_hand_rates_of_six_items() -> None:
    gold, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    counts = metrics.confusion(gold, predicted)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert metrics.balanced_accuracy(counts) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # F1: 2*2/(3+2), 2*1/(2+2), 2*1/(1+2)
    assert metrics.macro_f1(counts) == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    told, found = metrics.without(gold, predicted, 2)
    assert (told.tolist(), found.tolist()) == ([0, 0, 0, 1], [0, 0, 1, 1])
    assert metrics.balanced_accuracy(metrics.confusion(told, found)) == pytest.approx((2 / 3 + 1) / 2)


def test_by_hand_ties() -> None:
    assert metrics.agreement((0.2, 0.5, 0.3), (0.1, 0.8, 0.1)) == 1
    assert metrics.agreement((0.2, 0.5, 0.3), (0.8, 0.1, 0.1)) == 0
    assert metrics.agreement((0.2, 0.5, 0.3), (0.4, 0.4, 0.2)) == 0.5
    assert metrics.agreement((0.5, 0.5), (1.0, 0.0)) == 1  # the gold's first
    assert metrics.agreement((0.5, 0.5), (0.0, 1.0)) == 0
    assert metrics.agreement((0.1, 0.2, 0.3, 0.4), (0.25,) * 4) == 0.25


def test_by_hand_an_interval_of_three() -> None:
    # Mean 2, standard deviation 1, t(.975; 2) = 4.302653; half the width is 4.302653 / sqrt(3) = 2.484138.
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.n, found.mean) == (3, 2.0)
    assert (found.low, found.high) == pytest.approx((-0.484138, 4.484138), abs=1e-6)


def test_one_item_has_no_interval_and_none_no_mean() -> None:
    assert mean_interval([0.5]) == Estimate(1, 0.5)
    assert mean_interval([]) == Estimate(0, None, reason="no item has a value")
    assert rate_interval(metrics.macro_f1, metrics.confusion([], [])) == Estimate(0, None, reason="no item has a value")


def test_methods_are_compared_on_the_items_both_have() -> None:
    rng = np.random.default_rng(5)
    hard = rng.random(200)  # how hard items are sways both methods alike, which pairing takes out
    one = {str(place): hard[place] + 0.1 + 0.02 * rng.standard_normal() for place in range(200)}
    other = {str(place): hard[place] for place in range(20, 230) if place < 200} | {"more": 0.0}
    found = paired_difference(one, other, seed=1)
    assert (found.estimate.n, found.only_one, found.only_other) == (180, 20, 1)
    differences = [one[item] - other[item] for item in one if item in other]
    assert found.estimate.mean == pytest.approx(np.mean(differences))
    # So many items that the bootstrap agrees with Student.
    student = mean_interval(differences)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((student.low, student.high), abs=5e-4)
    assert found == paired_difference(one, other, seed=1)
    assert found != paired_difference(one, other, seed=2)


def test_results_without_common_items_are_not_compared() -> None:
    with pytest.raises(InputError, match="1 items are in both results"):
        paired_difference({"a": 1.0, "b": 1.0}, {"b": 1.0})


def test_equal_methods_differ_by_nothing() -> None:
    scores = {"a": 0.1, "b": 0.9, "c": 0.4}
    assert paired_difference(scores, scores).estimate == Estimate(3, 0.0, 0.0, 0.0)


def test_words_are_parted_by_blanks() -> None:
    assert metrics.words("A nurse's\n duty — well-being, above all. ") == 7
