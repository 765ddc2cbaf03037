"""The report's first part: scores in the paper's layout, methods against each other, coverage against length.

Knows a run's results and the paper's figures; knows nothing of a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from ethos.errors import InputError
from ethos.evaluation.analyses.paper_figures import OURS, PaperTable, family, paper
from ethos.evaluation.metrics.intervals import Estimate, paired_difference
from ethos.evaluation.metrics.trivial import MEANINGS as TRIVIAL_MEANINGS
from ethos.evaluation.report.data import Result, Run, models_of, short_model
from ethos.evaluation.report.metric_names import (
    TITLES,
    WORDS,
    better,
    is_comparable,
    label,
    main_metric,
    named,
    scale,
)
from ethos.evaluation.report.parts import (
    NOTHING,
    Cloud,
    Kind,
    Line,
    Picture,
    Row,
    Section,
    Table,
    mark_best,
    number,
    shown,
)
from ethos.evaluation.report.plots import length_plot, scores_plot
from ethos.evaluation.tasks.task import TaskName

_MOST_LENGTH = 6  # methods in the plot of lengths that can still be told apart
_MOST_PAIRS = 15  # of one model; beyond, only pairs with Ethos are shown
_NONE = Estimate(0, None)


def score_sections(run: Run) -> Iterator[Section]:
    """One section a task."""
    for task in run.tasks:
        results = run.of_task(task)
        metric = main_metric(results)
        missing = []
        if all(result.scored.score.values.get(metric, _NONE).mean is None for result in results):
            reasons = {result.scored.score.values.get(metric, _NONE).reason for result in results} - {""}
            missing.append(f"{named(metric)}: {'; '.join(sorted(reasons)) or 'not computed'}.")
        if metric == "embedding_coverage":
            missing.append(
                "Value coverage by entailment was not computed, since no entailment model was named (--nli NAME). The "
                "embedding stand-in says how near the words are, and cannot be compared with the paper's figures."
            )
        missing += [
            f"{one.label}: no item was answered, {len(one.failures)} of {one.asked} failed; see “What was not run”."
            for one in run.unanswered
            if one.task == task
        ]
        tables = [_paper_table(TaskName(task), results, metric), _metrics_table(results)]
        tables += [table for table in (_strata_table(results), _paired_table(results, metric)) if table.rows]
        pictures = [picture for picture in (_scores_picture(results, metric), _length_picture(results)) if picture]
        yield Section(
            f"task-{task}",
            TITLES[TaskName(task)],
            (_said(results),),
            tuple(missing),
            tuple(tables),
            tuple(pictures),
        )


def _said(results: Sequence[Result]) -> str:
    items = {item.id for result in results for item in result.task.items}
    asked = max(result.asked for result in results)
    return f"{len(items)} of {asked} items were answered by some method or other."


def _paper_table(task: TaskName, results: Sequence[Result], metric: str) -> Table:
    """Models by methods, ours first, then who needs no model, then the paper's own rows."""
    printed = paper().of_task(task)
    assert printed, f"the paper has no table of {task}"
    methods = list(dict.fromkeys(result.method for result in results))
    by = {(result.model, result.method): result.scored.score.values.get(metric, _NONE) for result in results}
    comparable = is_comparable(task, metric)
    rows: list[Row] = []
    for model in models_of(results):
        found = [by.get((model, method)) for method in methods]
        row = Row((short_model(model), *(shown(one, scale(metric)) for one in found)))
        rows += mark_best([row], [[one.mean if one else None for one in found]], better(metric))
        if comparable and (name := paper().model(model)):
            rows.append(_printed_row(printed, name, methods, f"{name}, same checkpoint"))
    for name, score in _trivial(results, metric):
        rows.append(Row((f"{name}: {shown(score, scale(metric))}", *("" for _ in methods)), Kind.TRIVIAL))
    if comparable:
        same = {paper().model(model) for model in models_of(results)}
        rows += [_printed_row(printed, name, methods, name) for name in printed.rows if name not in same]
    notes = list(printed.notes) if comparable else []
    if comparable and not any(family(method) in printed.columns for method in methods):
        notes.append("None of the methods of this run is one of the paper's.")
    if comparable and any(family(method) == OURS and method != "ethos-paper" for method in methods):
        notes.append("Every Ethos method stands beside the paper's one; its own procedure is ethos-paper.")
    sources = {result.source for result in results if result.source and not result.source.startswith("vital_")}
    if comparable and sources:
        notes.append(f"The paper's rows are of VITAL; these items are of {', '.join(sorted(sources))}.")
    title = f"{printed.title} (Table {printed.number.rstrip('ab')})" if comparable else f"{named(metric)}, a stand-in"
    caption = f"{_capital(named(metric))}; {better(metric)} is better; 95% intervals in brackets."
    return Table(_capital(title), ("model", *methods), tuple(rows), caption, tuple(notes))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _printed_row(printed: PaperTable, name: str, methods: Sequence[str], label: str) -> Row:
    figures = [printed.figure(name, family(method)) for method in methods]
    texts = [_as_printed(printed, name, family(method), value) for method, value in zip(methods, figures, strict=True)]
    return Row((label, *texts), Kind.PAPER)


def _as_printed(printed: PaperTable, name: str, column: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    text = f"{value:.2f}" if printed.unit else f"{value:.3f}"
    if column == printed.columns[-1] and name in printed.intervals:
        low, high = printed.intervals[name]
        return f"{text} [{low:.2f}, {high:.2f}]"
    return text


def _trivial(results: Sequence[Result], metric: str) -> list[tuple[str, Estimate]]:
    """The trivial predictors' scores on the items of the result that has most."""
    widest = max(results, key=lambda result: len(result.task.items))
    found = ((name, score.values.get(metric)) for name, score in widest.scored.trivial.items())
    return [(name.replace("_", " "), one) for name, one in found if one is not None and one.mean is not None]


def _metrics_table(results: Sequence[Result]) -> Table:
    """Every metric of every result, trivial predictors below."""
    widest = max(results, key=lambda result: len(result.task.items))
    scores = [(result.label, Kind.OURS, result.scored.score) for result in results]
    scores += [(name.replace("_", " "), Kind.TRIVIAL, score) for name, score in widest.scored.trivial.items()]
    metrics = list(
        dict.fromkeys(n for _, _, score in scores for n, one in score.values.items() if one.mean is not None)
    )
    rows = [
        Row((label, *(shown(score.values.get(name), scale(name)) for name in metrics), str(score.scored)), kind)
        for label, kind, score in scores
    ]
    meanings = {name: text for result in results for name, text in result.scored.score.meanings.items()}
    notes = [f"{_capital(named(name))}: {meanings[name]}." for name in metrics if name in meanings]
    notes += [
        f"{_capital(name.replace('_', ' '))}: {text}."
        for name, text in TRIVIAL_MEANINGS.items()
        if name in widest.scored.trivial
    ]
    return Table("All metrics", ("", *map(named, metrics), "scored"), tuple(rows), notes=tuple(notes))


def _strata_table(results: Sequence[Result]) -> Table:
    """Scores by the gold's class, which models never see."""
    metric = main_metric(results)
    strata = sorted({name for result in results for name in result.scored.score.strata})
    rows = [
        Row((result.label, *(shown(result.scored.score.strata[name].get(metric), scale(metric)) for name in strata)))
        for result in results
        if set(strata) <= set(result.scored.score.strata)
    ]
    caption = f"{named(metric)} by the gold's class, which no model sees."
    return Table(
        "By class of the gold",
        ("", *(name.replace("_", " ") for name in strata)),
        tuple(rows) if strata else (),
        caption,
    )


def _paired_table(results: Sequence[Result], metric: str) -> Table:
    """Each two methods of a model on the items that both answered."""
    rows = []
    for model in models_of(results):
        of_model = [result for result in results if result.model == model]
        pairs = list(combinations(of_model, 2))
        if len(pairs) > _MOST_PAIRS:
            pairs = [both for both in pairs if OURS in (family(both[0].method), family(both[1].method))]
        for one, other in pairs:
            values = [result.scored.score.per_item.get(metric, {}) for result in (one, other)]
            try:
                found = paired_difference(values[0], values[1])
            except InputError:  # fewer than two items in common
                continue
            estimate = found.estimate
            assert estimate.low is not None
            assert estimate.high is not None
            apart = "yes" if estimate.low > 0 or estimate.high < 0 else "no"
            cells = (shown(estimate, scale(metric)), apart, str(estimate.n))
            rows.append(Row((f"{one.method} minus {other.method}, {short_model(model)}", *cells)))
    caption = (
        f"Mean difference of {named(metric)} on the items that both answered, with a 95% paired bootstrap interval; "
        f"{better(metric)} is better. Not corrected for the number of pairs, and too narrow for few items."
    )
    return Table(
        "Methods against each other", ("pair", "difference", "interval excludes 0", "items"), tuple(rows), caption
    )


def _scores_picture(results: Sequence[Result], metric: str) -> Picture | None:
    lines = [Line(r.label, one) for r in results if (one := r.scored.score.values.get(metric)) and one.mean is not None]
    if not lines:
        return None
    lines += [Line(name, one, Kind.TRIVIAL) for name, one in _trivial(results, metric)]
    printed = paper().of_task(results[0].task.name)
    for result in results:
        name = paper().model(result.model)
        value = printed.figure(name, family(result.method)) if printed and name else None
        if printed and value is not None and is_comparable(result.task.name, metric):
            lines.append(
                Line(f"paper: {family(result.method)}, {name}", Estimate(0, value / printed.scale()), Kind.PAPER)
            )
    lines = list({line.label: line for line in lines}.values())  # several methods may be the paper's one
    axis = f"{label(metric)}; {better(metric)} is better"
    told = "; ".join(f"{line.label} {number(line.estimate.mean or 0.0)}" for line in lines)
    caption = "Dots are methods with their 95% intervals; squares need no model; diamonds are the paper's figures."
    return Picture(scores_plot(lines, axis), caption, f"{axis}: {told}")


def _length_picture(results: Sequence[Result]) -> Picture | None:
    """Coverage against words; only an Overton score has both."""
    clouds = []
    for result in results[:_MOST_LENGTH]:
        per_item = result.scored.score.per_item
        covered, length = per_item.get(main_metric(results), {}), per_item.get(WORDS, {})
        both = [item for item in covered if item in length]
        if both:
            clouds.append(Cloud(result.label, tuple(length[i] for i in both), tuple(covered[i] for i in both)))
    if not clouds:
        return None
    caption = (
        "Coverage against the length of an answer: a dot an item, a diamond a method's mean. A longer answer covers "
        "more by chance, so a method that is higher only because it is further to the right has won nothing."
    )
    if len(results) > _MOST_LENGTH:
        caption += f" The first {_MOST_LENGTH} of {len(results)} results."
    told = "; ".join(f"{c.label}: {sum(c.lengths) / len(c.lengths):.0f} words on average" for c in clouds)
    return Picture(length_plot(clouds, label(main_metric(results))), caption, told)
