"""The report's part on ablations: attributes (Tables 7, 19), number of personas (Table 8), comment models (Table 5).

Knows the runs of a grid's variants and the paper's figures; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ethos.evaluation.analyses.ablations import GRIDS
from ethos.evaluation.analyses.paper_figures import OURS, PaperTable, family, paper
from ethos.evaluation.report.data import Result, Run, short_model
from ethos.evaluation.report.metric_names import TITLES, main_metric, named, scale
from ethos.evaluation.report.parts import NOTHING, Kind, Row, Section, Table, shown
from ethos.evaluation.tasks.task import TaskName
from ethos.persona import ATTRIBUTES, LABELS

_TITLES = {
    "attributes": "Attributes that a persona shows (Table 19)",
    "k": "Number of personas (Table 8)",
    "comment-model": "Who writes the comments (Table 5)",
}
_PRINTED = {"attributes": "19", "k": "8", "comment-model": "5"}


def ablation_section(run: Run) -> Section:
    """A table a grid, and what of it was not run."""
    tables, missing = [], []
    for grid in GRIDS:
        found = run.variants.get(grid, {})
        if not found:
            one = GRIDS[grid]()[0]
            missing.append(
                f"{_TITLES[grid]} was not run here. Each variant goes into a folder of its own: “ethos eval run … "
                f"{one.option} --out {run.folder.name}/{one.folder}”."
            )
        printed = paper().tables[_PRINTED[grid]]
        rows = (*_own_rows(grid, found), *_paper_rows(grid, printed))
        columns: tuple[str, ...] = ("", "task", "metric", "score", "items")
        if rows:
            notes = () if grid == "comment-model" else printed.notes
            tables.append(Table(_TITLES[grid], columns, rows, notes=notes, texts=frozenset({1, 2})))
    tables += [_writers_table(), _partial_table()]
    said = "Only what the paper calls “Ours” is varied; every variant is a run of its own on the same items and seed."
    return Section("ablations", "Ablations", (said,), tuple(missing), tuple(tables))


def _own_rows(grid: str, variants: Mapping[str, Run]) -> Iterator[Row]:
    for value in sorted(variants, key=lambda value: (len(value), value)):
        run = variants[value]
        for task in run.tasks:
            results = [result for result in run.of_task(task) if family(result.method) == OURS]
            yield from (_own_row(grid, value, run, result, results) for result in results)


def _own_row(grid: str, value: str, run: Run, result: Result, results: Sequence[Result]) -> Row:
    metric = main_metric(results)
    if grid == "comment-model":  # its folder's name is not quite the model's
        value = str(run.manifest.get("methods", {}).get(result.method, {}).get("comment_model") or value)
    label = f"{_value(grid, value)} · {result.method}, {short_model(result.model)}"
    found = result.scored.score.values.get(metric)
    return Row(
        (
            label,
            TITLES[TaskName(result.task.name)],
            named(metric),
            shown(found, scale(metric)),
            str(result.scored.score.scored),
        )
    )


def _paper_rows(grid: str, printed: PaperTable) -> Iterator[Row]:
    if grid == "comment-model":  # its rows have six figures each: a table of their own
        return
    for name, (figure,) in printed.rows.items():
        cells = (f"{_value(grid, name)} · Qwen2.5-7B", "Overton", "value coverage (%)", f"{figure:.2f}", NOTHING)
        yield Row(cells, Kind.PAPER)


def _writers_table() -> Table:
    """Table 5 as printed."""
    printed = paper().tables["5"]
    rows = []
    for name, figures in printed.rows.items():
        both = zip(printed.columns, figures, strict=True)
        cells = (f"{figure:.3f}" if column.startswith("Distributional") else f"{figure:.2f}" for column, figure in both)
        rows.append(Row((name, *cells), Kind.PAPER))
    return Table(f"{printed.title} (Table 5), as printed", ("", *printed.columns), tuple(rows), notes=printed.notes)


def _value(grid: str, value: str) -> str:
    if grid != "attributes":
        return f"k = {value}" if grid == "k" else value
    names = value.replace("+", " ").split()
    return "all six" if len(names) == len(ATTRIBUTES) else ", ".join(LABELS.get(name, name) for name in names)


def _partial_table() -> Table:
    """Table 7, whose two columns are rows of Table 19 for one of its models."""
    printed = paper().tables["7"]
    rows = tuple(
        Row((name, *(f"{figure:.2f}" for figure in figures)), Kind.PAPER) for name, figures in printed.rows.items()
    )
    return Table(f"{printed.title} (Table 7)", ("", *printed.columns), rows, "Ours are the rows of Table 19 above.")
