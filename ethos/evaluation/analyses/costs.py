"""Cost of answers by stage: calls, tokens, seconds (appendix C), and pool against fresh.

Knows predictions by item; knows no file, and nothing of how a page looks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ethos.evaluation.metrics.intervals import Difference, Estimate, mean_interval, paired_difference
from ethos.evaluation.tasks.prediction import Prediction

TOTAL = "total"
STAGES = ("embed", "retrieve", "persona", "comment", "select", "main")  # in the order of work; others follow
REST = "the rest"


@dataclass(frozen=True, slots=True)
class Cost:
    """What an item costs with one method, as means over items.

    Attributes:
        items: How many.
        calls: Model calls.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        seconds: In all. Items that are answered side by side share their batch's time alike, so that the interval is
            too narrow; compare methods of one run, not runs.
        stages: Mean seconds by stage, in the order of work, with `REST` for what no stage claims.
        gates: How often the gate decided what; empty for methods without a pool.
    """

    items: int
    calls: Estimate
    prompt_tokens: Estimate
    completion_tokens: Estimate
    seconds: Estimate
    stages: Mapping[str, float]
    gates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Versus:
    """One method against another on the items both answered: what one has more.

    Attributes:
        quality: Of a metric; None where no metric has a value an item.
        calls: Model calls.
        tokens: Read and written together.
        seconds: In all.
    """

    quality: Difference | None
    calls: Difference
    tokens: Difference
    seconds: Difference


def calls(prediction: Prediction) -> float:
    """Model calls of one item."""
    return float(sum(prediction.calls.values()))


def tokens(prediction: Prediction) -> float:
    """Tokens read and written for one item."""
    return float(sum(prediction.tokens.values()))


def seconds(prediction: Prediction) -> float:
    """Seconds of one item: the total that the method tells, else the sum of its stages."""
    spent = prediction.seconds
    return float(spent[TOTAL]) if TOTAL in spent else float(sum(spent.values()))


def cost(predictions: Mapping[str, Prediction]) -> Cost:
    """What items cost on average."""
    rows = list(predictions.values())

    def of(measure: Callable[[Prediction], float]) -> Estimate:
        return mean_interval([measure(row) for row in rows])

    gates = [row.gate for row in rows if row.gate]
    return Cost(
        len(rows),
        of(calls),
        of(lambda row: float(row.tokens.get("prompt", 0))),
        of(lambda row: float(row.tokens.get("completion", 0))),
        of(seconds),
        _stages(rows),
        {gate: gates.count(gate) for gate in sorted(set(gates))},
    )


def versus(
    one: Mapping[str, Prediction], other: Mapping[str, Prediction], quality: tuple[Mapping[str, float], ...] = ()
) -> Versus:
    """Compare two methods, or the pool with fresh personas, item by item.

    Args:
        one: Predictions by item.
        other: The other method's.
        quality: A metric by item of the one and of the other; empty where there is none.

    Raises:
        InputError: Fewer than two items are in both.
    """

    def difference(measure: Callable[[Prediction], float]) -> Difference:
        left, right = ({item: measure(row) for item, row in rows.items()} for rows in (one, other))
        return paired_difference(left, right)

    return Versus(
        paired_difference(*quality) if quality else None, difference(calls), difference(tokens), difference(seconds)
    )


def in_order(stages: Collection[str]) -> list[str]:
    """Stages in the order of work; those of unknown order come after, and `REST` last."""
    others = sorted(set(stages) - {*STAGES, REST})
    return [*(stage for stage in STAGES if stage in stages), *others, *([REST] if REST in stages else [])]


def _stages(rows: list[Prediction]) -> dict[str, float]:
    ordered = in_order({stage for row in rows for stage in row.seconds if stage != TOTAL})
    means = {stage: sum(row.seconds.get(stage, 0.0) for row in rows) / len(rows) for stage in ordered}
    rest = sum(map(seconds, rows)) / max(1, len(rows)) - sum(means.values())
    if rest > 0.0005:  # what rounding leaves is no stage
        means[REST] = rest
    return means
