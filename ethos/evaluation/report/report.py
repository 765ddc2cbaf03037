"""The report of a run: its sections in order, from what was read of the run's folder.

Knows what sections there are; what is in each is theirs to know.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ethos.encoders.embedder import Embedder
from ethos.errors import InputError
from ethos.evaluation.analyses.paper_figures import paper
from ethos.evaluation.report.ablations import ablation_section
from ethos.evaluation.report.costs import comments_section, cost_section, pool_section
from ethos.evaluation.report.data import Result, Run, Unanswered, short_model
from ethos.evaluation.report.judges import judge_section
from ethos.evaluation.report.metric_names import is_comparable, main_metric
from ethos.evaluation.report.page import html, markdown
from ethos.evaluation.report.parts import Kind, Report, Row, Section, Table
from ethos.evaluation.report.run import (
    data_section,
    made_section,
    persona_section,
    sample_section,
    small_models,
    undone_section,
)
from ethos.evaluation.report.scores import score_sections
from ethos.evaluation.tasks.task import TaskName
from ethos.pool.curation.page import save
from ethos.pool.storage.rows import now

HTML, MARKDOWN = "report.html", "report.md"


def make_report(run: Run, embedder: Embedder | None, progress: Callable[[str], None]) -> Report:
    """The report of a run.

    Args:
        run: What was read of its folder.
        embedder: Places personas on the map; None leaves them out.
        progress: Told which part is being made.
    """
    progress("scores")
    sections = list(score_sections(run))
    progress("costs, comments, judges, ablations")
    sections += [cost_section(run), pool_section(run), comments_section(run), judge_section(run), ablation_section(run)]
    progress("personas")
    sections += [persona_section(run, embedder), sample_section(run)]
    sections += [made_section(run), undone_section(run), data_section(run), _other_section(run), _method_section()]
    return Report(
        f"Evaluation report: {run.folder.resolve().name}", now(), _tiles(run), _warnings(run), tuple(sections)
    )


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write the page and the Markdown file into a folder; an older report there is replaced.

    Raises:
        InputError: They cannot be written.
    """
    paths = folder / HTML, folder / MARKDOWN
    save(html(report), paths[0])
    try:
        paths[1].write_text(markdown(report), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{paths[1]} cannot be written: {error.strerror}", "make room, or move the run") from error
    return paths


def _tiles(run: Run) -> tuple[tuple[str, str], ...]:
    results, nothing = run.everything, run.nothing_came
    asked: list[Result | Unanswered] = [*results, *nothing]
    answered = sum(len(result.predictions) for result in results)
    failed = sum(len(one.failures) for one in asked)
    tasks = {str(result.task.name) for result in results} | {one.task for one in nothing}
    counts = (
        (len(tasks), "task{s}"),
        (len({one.method for one in asked}), "method{s}"),
        (len({one.model for one in asked}), "main model{s}"),
        (answered, "item{s} answered"),
        (failed, "item{s} failed"),
    )
    return tuple((f"{count:,}", text.format(s="" if count == 1 else "s")) for count, text in counts)


def _warnings(run: Run) -> tuple[str, ...]:
    warnings = []
    if small := small_models(run):
        warnings.append(
            f"{', '.join(map(short_model, small))}: a demonstration model of fewer than a billion parameters. What it "
            "writes shows that the machinery works, and says nothing about how good a method is."
        )
    if leaked := sum(len(run.leaked(task) or []) for task in run.about.get("tasks", {})):
        warnings.append(
            f"Leakage: the pool of ethos-pool holds personas for {leaked} of the items of this run; see “The data”."
        )
    fewest = min((result.scored.score.scored for result in run.everything), default=0)
    if 0 < fewest < 100:
        warnings.append(f"Few items: the smallest result scores {fewest}. The intervals say how little that tells.")
    return tuple(warnings)


def _other_section(run: Run) -> Section:
    """The paper's tables that no part above holds."""
    tables = []
    shown = {
        printed.number
        for task in run.tasks
        if (printed := paper().of_task(task)) and is_comparable(TaskName(task), main_metric(run.of_task(task)))
    }
    for number in ("3", "4", "17a", "17b", "18a", "18b"):
        printed = paper().tables[number]
        if number not in shown:
            places = 2 if printed.unit else 3
            rows = tuple(
                Row((name, *(f"{figure:.{places}f}" for figure in figures)), Kind.PAPER)
                for name, figures in printed.rows.items()
            )
            title = f"{printed.title} (Table {number.rstrip('ab')})"
            tables.append(Table(title, ("", *printed.columns), rows, notes=printed.notes))
    said = f"Tables of {paper().source}, as printed, that stand beside nothing of this run."
    return Section("paper", "The paper's other tables", (said,), tables=tuple(tables))


def _method_section() -> Section:
    lines = (
        "Intervals of means are by Student's t over items; of differences, by a paired percentile bootstrap. "
        "Items count as independent, which many groups asked one question are not quite.",
        "Rows marked “no model” are trivial predictors: most look at the gold, which no method can. A method not "
        "above them has shown nothing.",
        "The paper's figures are as printed; where its setting is not stated, a note says so. Nothing is corrected.",
        "The page holds no script and loads nothing.",
    )
    return Section("method", "How the figures are made", lines)
