"""The report's second part: what answers cost, pool against fresh, and how varied comments and personas are.

Knows a run's results; knows nothing of a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ethos.errors import InputError
from ethos.evaluation.analyses.costs import Cost, Versus, cost, in_order, versus
from ethos.evaluation.analyses.ngrams import diversity
from ethos.evaluation.analyses.paper_figures import OURS, family, paper
from ethos.evaluation.analyses.pool_size import Size
from ethos.evaluation.methods.registry import POOLED
from ethos.evaluation.metrics.intervals import Difference, Estimate
from ethos.evaluation.report.data import Run, models_of, short_model
from ethos.evaluation.report.metric_names import TITLES, main_metric, named, scale
from ethos.evaluation.report.parts import NOTHING, Kind, Picture, Row, Section, Table, shown
from ethos.evaluation.report.plots import growth_plot, stages_plot
from ethos.evaluation.tasks.task import TaskName
from ethos.scenario import Mode

_GRAMS = (2, 3)
_SHARED = (
    "Means of an item; 95% intervals in brackets. Items that are answered side by side share their batch's time alike, "
    "so the intervals of seconds are too narrow."
)


def cost_section(run: Run) -> Section:
    """Calls, tokens, seconds and stages (appendix C)."""
    tables, pictures = [], []
    for task in run.tasks:
        results = run.of_task(task)
        costs = {result.label: cost(result.predictions) for result in results if result.predictions}
        if not any(one.calls.mean or one.seconds.mean for one in costs.values()):
            continue
        title = TITLES[TaskName(task)]
        tables.append(_cost_table(title, costs))
        held = in_order({stage for one in costs.values() for stage in one.stages})
        stages = {label: {name: one.stages.get(name, 0.0) for name in held} for label, one in costs.items()}
        if held:
            told = "; ".join(
                f"{label}: " + ", ".join(f"{stage} {spent:.2f} s" for stage, spent in of_one.items())
                for label, of_one in stages.items()
            )
            pictures.append(
                Picture(
                    stages_plot(stages, f"{title}: seconds an item, mean"),
                    f"{title}: mean seconds of an item by stage.",
                    told,
                )
            )
    printed = paper().latency
    said = (
        f"The paper gives {printed['ethos']} s for six comments, {printed['modplural']} s with ModPlural, on an A100 "
        "with Qwen2.5-7B (appendix C); it does not time the stage that invents personas, which is timed here."
    )
    missing = () if tables else ("No result tells its calls or seconds.",)
    return Section("costs", "What answers cost", (said,), missing, tuple(tables), tuple(pictures))


def pool_section(run: Run) -> Section:
    """Every pool method against every fresh one of the same model, item by item."""
    rows, notes = [], []
    for task in run.tasks:
        results = run.of_task(task)
        metric = main_metric(results)
        for model in models_of(results):
            of_model = [r for r in results if r.model == model and family(r.method) == OURS]
            pools = [r for r in of_model if r.method == POOLED]
            for pool, fresh in ((p, f) for p in pools for f in of_model if f not in pools):
                quality = tuple(r.scored.score.per_item.get(metric, {}) for r in (pool, fresh))
                try:
                    found = versus(pool.predictions, fresh.predictions, quality if all(quality) else ())
                except InputError as error:
                    notes.append(f"{pool.method} and {fresh.method} on {task}: {error.message}.")
                    continue
                label = f"{TITLES[TaskName(task)]}, {short_model(model)}: {pool.method} minus {fresh.method}"
                rows.append(_versus_row(label, metric, found))
    caption = (
        "What the pool has more than fresh personas on the items that both answered, means with 95% paired bootstrap "
        "intervals (of seconds too narrow, since items of a batch share its time). Fewer calls, tokens and seconds are "
        "better."
    )
    columns = ("", "metric", "quality", "calls", "tokens", "seconds", "items")
    table = Table("Pool minus fresh", columns, tuple(rows), caption, tuple(notes), texts=frozenset({1}))
    missing = () if rows else ("No task was run both from the pool and with fresh personas.",)
    growth = growth_parts(run)
    return Section("pool", "Pool against fresh", (), missing, ((table,) if rows else ()) + growth[0], growth[1])


def growth_parts(run: Run) -> tuple[tuple[Table, ...], tuple[Picture, ...]]:
    """Pool size against coverage and hit rate, where it was measured."""
    if not run.sizes:
        return (), ()
    rows = tuple(
        Row(
            (
                str(size.scenarios),
                str(size.personas),
                *(shown(estimate) for estimate in _rates(size).values()),
                str(size.coverage.n),
            )
        )
        for size in run.sizes
    )
    table = Table(
        "Size of the pool",
        ("scenarios known", "personas", *_rates(run.sizes[0]), "unseen scenarios"),
        rows,
        "No language model: personas made of gold values, asked for situations that the pool never saw.",
    )
    series = {name: [_rates(size)[name].mean or 0.0 for size in run.sizes] for name in _rates(run.sizes[0])}
    sizes = [size.scenarios for size in run.sizes]
    told = "; ".join(f"{said}: {', '.join(f'{value:.2f}' for value in values)}" for said, values in series.items())
    picture = Picture(
        growth_plot(sizes, series, "scenarios that the pool knows"), "How much a pool serves as it grows.", told
    )
    return (table,), (picture,)


def _rates(size: Size) -> dict[str, Estimate]:
    return {"gold values covered": size.coverage, "hits": size.hit_rate, "partial hits": size.partial_rate}


def comments_section(run: Run) -> Section:
    """N-grams of comments (Table 6)."""
    rows = []
    for task in run.tasks:
        for result in run.of_task(task):
            sets = [one.comments for one in result.predictions.values() if one.comments]
            rows += list(_gram_rows(f"{TITLES[TaskName(task)]}, {result.label}", sets))
    printed = paper().tables["6"]
    for mode in Mode:
        for method in ("modplural", OURS):
            figures = [printed.figure(str(mode).capitalize(), f"{n}-grams, {method}") for n in _GRAMS]
            cells = [NOTHING if value is None else f"{value:.2f}" for value in figures]
            label = f"{str(mode).capitalize()}, {method}"
            rows.append(Row((label, NOTHING, NOTHING, cells[0], cells[1], *([NOTHING] * 4)), Kind.PAPER))
    notes = (
        *printed.notes,
        "Distinct share: distinct 3-grams of an item over all its 3-grams. Said twice: the share of an item's distinct "
        "3-grams that two or more of its comments have. Both are shares of 1; the first falls with length.",
    )
    columns = (
        "", "items", "words a comment", "2-grams an item", "3-grams an item", "2-grams a comment", "3-grams a comment",
        "distinct share", "said twice",
    )  # fmt: skip
    caption = (
        "Distinct n-grams over all comments of an item, and within one comment; means. A count grows with the length "
        "and number of comments, so compare rows of like length only."
    )
    table = Table("N-grams of comments (Table 6)", columns, tuple(rows), caption, notes)
    missing = () if any(row.kind is Kind.OURS for row in rows) else ("No method of this run wrote comments.",)
    return Section("comments", "How varied comments are", (), missing, (table,))


def _gram_rows(label: str, sets: Sequence[Sequence[str]]) -> Iterator[Row]:
    try:
        two, three = (diversity(sets, n) for n in _GRAMS)
    except InputError:  # no comments, or none of three words
        return
    counts = (two.over_set, three.over_set, two.per_text, three.per_text)
    yield Row(
        (
            label,
            str(two.items),
            f"{two.words:.0f}",
            *(f"{count:.2f}" for count in counts),
            f"{three.share:.3f}",
            f"{three.overlap:.3f}",
        )
    )


def _cost_table(title: str, costs: dict[str, Cost]) -> Table:
    rows = []
    for label, one in costs.items():
        gates = ", ".join(f"{count} {gate}" for gate, count in one.gates.items()) or NOTHING
        means = (f"{estimate.mean or 0.0:,.1f}" for estimate in (one.calls, one.prompt_tokens, one.completion_tokens))
        rows.append(Row((label, *means, _seconds(one.seconds), gates, str(one.items))))
    columns = ("", "calls", "tokens read", "tokens written", "seconds", "gate", "items")
    return Table(title, columns, tuple(rows), _SHARED, texts=frozenset({5}))


def _versus_row(label: str, metric: str, found: Versus) -> Row:
    quality = shown(found.quality.estimate, scale(metric)) if found.quality else NOTHING
    counts = (_signed(found.calls), _signed(found.tokens), _signed(found.seconds))
    return Row((label, named(metric), quality, *counts, str(found.calls.estimate.n)))


def _signed(found: Difference) -> str:
    one = found.estimate
    return f"{one.mean or 0.0:+,.2f} [{one.low or 0.0:+,.2f}, {one.high or 0.0:+,.2f}]"


def _seconds(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return f"{one.mean or 0.0:.2f}"
    return f"{one.mean or 0.0:.2f} [{one.low:.2f}, {one.high:.2f}]"
