"""`ethos eval score` and `ethos eval trivial`: what a file of results is worth, and what guessing would be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ethos.cli.options import as_json
from ethos.evaluation.tasks.task import Oddity, TaskName

if TYPE_CHECKING:
    from ethos.evaluation.metrics.intervals import Estimate
    from ethos.evaluation.metrics.scoring import Judges, Score

_FILE = click.Path(path_type=Path, dir_okay=False)
_TITLES = {
    "uniform": "uniform",
    "always_a": "always A",
    "group_blind_majority": "group-blind majority",
    "mean_of_other_countries": "mean of other countries",
    "common_values": "common values",
}
_OF_VALUES = 10  # gold values in the table; --json has all

_task = click.option(
    "--task",
    type=click.Choice([name.value for name in TaskName]),
    help="Which task a file is of.  [default: recognised from the file]",
)
_nli = click.option(
    "--nli", envvar="ETHOS_NLI", default="", metavar="MODEL", help="Entailment classifier for value coverage."
)
_embedding = click.option(
    "--embedding", is_flag=True, help="Also find the stand-in embedding_coverage, which is no value coverage."
)


@click.command("score")
@click.argument("file", type=_FILE)
@click.option("--gold", type=_FILE, help="The task's file.  [default: the gold in the results' own rows]")
@click.option("--against", type=_FILE, help="Other results on the same items, to compare with by paired bootstrap.")
@_task
@_nli
@_embedding
@as_json
def score_command(
    file: Path, gold: Path | None, against: Path | None, task: str | None, nli: str, embedding: bool, as_json: bool
) -> None:
    """Score a file of results, ours or Modular Pluralism's, with trivial predictors beside it.

    The file is a JSON list or JSON lines of a task's rows with "output" or "pred_distribution" filled in. Items that
    are missing, failed or cannot be read are counted, and never scored as something.

    \b
      ethos eval score results/steerable_opinionqa.vanilla.jsonl
      ethos eval score overton.json --nli microsoft/deberta-v2-xlarge-mnli --json
    """
    from ethos.cli.output.render import console, print_json, progress_bar, table
    from ethos.evaluation.metrics.scoring import differences, score_file

    name = TaskName(task) if task else None
    with progress_bar("answers judged") as progress:
        judges = _judges(nli, embedding, progress)
        found = score_file(file, gold, name, judges)
        other = score_file(against, gold, name, judges).score if against else None
    compared = differences(found.score, other) if other else {}
    if as_json:
        more = {"against": str(against), "differences": {key: one.as_dict() for key, one in compared.items()}}
        print_json({**found.as_dict(), **(more if other else {})})
        return
    own = found.score
    title = " · ".join(filter(None, (own.task.value, own.method, own.model)))
    _show(title, {"this file": own, **found.trivial}, own.notes)
    unscored = f"{len(own.missing)} missing, {len(own.failed)} failed, {len(own.unreadable)} unreadable"
    console().print(f"{own.scored} of {own.items} items scored; {unscored}.")
    for what, reasons in (("failed", own.failed), ("unreadable", own.unreadable)):
        for item, why in list(reasons.items())[:3]:
            console().print(f"  {what} {item}: {why}", markup=False)
    if own.per_value:
        rows = [(value, one.n, shown(one)) for value, one in list(own.per_value.items())[:_OF_VALUES]]
        table(("gold value", "situations", "coverage"), rows, "The most frequent gold values")
    if compared:
        rows = [(key, one.estimate.n, shown(one.estimate)) for key, one in compared.items()]
        table(("metric", "items in both", "this minus the other"), rows, f"Against {against}, paired bootstrap")


@click.command("trivial")
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
@_task
@_nli
@_embedding
@as_json
def trivial_command(files: tuple[Path, ...], task: str | None, nli: str, embedding: bool, as_json: bool) -> None:
    """Score trivial predictors on tasks' files: uniform, always A, a majority blind to the group, other countries.

    What a method scores means little where these score the same.
    """
    from ethos.cli.output.render import console, print_json, progress_bar
    from ethos.evaluation.metrics.scoring import trivial_scores
    from ethos.evaluation.metrics.trivial import MEANINGS
    from ethos.evaluation.tasks.loading import load_task

    with progress_bar("answers judged") as progress:
        judges = _judges(nli, embedding, progress)
        tasks = [load_task(file, TaskName(task) if task else None) for file in files]
        found = [(one, trivial_scores(one, judges)) for one in tasks]
    if as_json:
        print_json(
            [
                {
                    "task": one.name.value,
                    "source": one.source,
                    "items": len(one.items),
                    "odd": [{"item": odd.item, "what": odd.what, "left_out": odd.left_out} for odd in one.odd],
                    "trivial": {name: score.as_dict() for name, score in scores.items()},
                }
                for one, scores in found
            ]
        )
        return
    for one, scores in found:
        _show(f"{one.name} · {one.source}: {len(one.items)} items", scores, ())
        for name in scores:
            console().print(f"{_TITLES[name]}: {MEANINGS[name]}.", style="dim", markup=False)
        for line in _oddities(one.odd):
            console().print(line, markup=False)


def shown(estimate: Estimate | None) -> str:
    """``0.234 [0.201, 0.267]``; a dash where nothing is."""
    from ethos.cli.output.render import NONE

    if estimate is None or estimate.mean is None:
        return NONE
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.3f}"
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _judges(nli: str, embedding: bool, progress: Callable[[int, int], None]) -> Judges:
    from ethos.encoders.embedder import open_embedder
    from ethos.encoders.entailment import EntailmentModel
    from ethos.evaluation.metrics.scoring import Judges

    return Judges(EntailmentModel(nli) if nli else None, open_embedder() if embedding else None, progress)


def _show(title: str, scores: Mapping[str, Score], notes: Sequence[str]) -> None:
    """One column a predictor, one row a metric, then the metrics by the gold's class."""
    from ethos.cli.output.render import console, table

    metrics = list(dict.fromkeys(name for score in scores.values() for name in score.values))
    classes = list(dict.fromkeys(name for score in scores.values() for name in score.strata))
    rows = [(metric, *(_cell(score.values.get(metric), score) for score in scores.values())) for metric in metrics] + [
        (f"{metric}, {name}", *(_cell(score.strata[name].get(metric), score) for score in scores.values()))
        for name in classes
        for metric in metrics
    ]
    console().print(title, style="bold", markup=False)
    table(("", *(_TITLES.get(name, name) for name in scores)), rows)
    first = next(iter(scores.values()))
    reasons = {one.reason: None for one in first.values.values() if one.reason}
    meanings = {name: first.meanings[name] for name, one in first.values.items() if one.mean is not None}
    for line in [*(f"{name}: {meaning}." for name, meaning in meanings.items()), *reasons, *notes]:
        console().print(line, style="dim", markup=False)


def _cell(estimate: Estimate | None, score: Score) -> str:
    """The estimate, and on how many items it rests where that is not all."""
    fewer = estimate is not None and estimate.mean is not None and estimate.n != score.items
    return f"{shown(estimate)}{f', n={estimate.n}' if estimate and fewer else ''}"


def _oddities(odd: Sequence[Oddity]) -> Iterator[str]:
    for (what, left_out), count in Counter((one.what, one.left_out) for one in odd).most_common():
        yield f"{'Left out' if left_out else 'Odd'}, {count} {'row' if count == 1 else 'rows'}: {what}"
