"""`ethos eval …` over a run's folder: report, judge, annotate, pool-size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, settings
from ethos.llm.opening import DEFAULT_MODEL, PRECISIONS

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)

EXIT_PARTLY = 3


def _pair_options(command: Any) -> Any:
    """Which two methods are compared, on what."""
    for option in (
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the draw."),
        click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most N items."),
        click.option("--of-model", metavar="NAME", default="", help="Main model; needed where there are several."),
        click.option("--against", metavar="METHOD", required=True, help="The second method."),
        click.option("--method", metavar="METHOD", required=True, help="The first method; its wins are reported."),
        click.option("--task", metavar="TASK", default="overton_valuekaleidoscope", show_default=True),
    ):
        command = option(command)
    return command


@click.command("report")
@click.argument("folder", type=_FOLDER)
@click.option("--nli", metavar="NAME", default="", envvar="ETHOS_NLI", help="Entailment model for value coverage.")
@click.option("--embedder", envvar="ETHOS_EMBEDDER", default="", help="Encoder of the map and of the stand-in.")
@as_json
def report_command(folder: Path, nli: str, embedder: str, as_json: bool) -> None:
    """Write report.html and report.md into FOLDER, a run's: scores beside the paper's and beside trivial guesses.

    The page works offline and runs no script. Without --nli, value coverage is not computed, and the report says so.
    With --json the scores are printed and nothing is written.
    """
    from ethos.cli.output.render import print_json, stages
    from ethos.encoders.embedder import open_embedder
    from ethos.encoders.entailment import EntailmentModel
    from ethos.evaluation.metrics.scoring import Judges
    from ethos.evaluation.report.data import gather
    from ethos.evaluation.report.report import make_report, write_report

    encoder = open_embedder(embedder) if embedder else open_embedder()
    # The stand-in takes a tenth of a second an answer, and nobody needs it beside the real thing.
    judges = Judges(nli=EntailmentModel(nli)) if nli else Judges(embedder=encoder)
    with stages() as progress:
        run = gather(folder, judges, progress)
        if not as_json:
            written = write_report(make_report(run, encoder, progress), folder)
    if as_json:
        print_json([result.scored.as_dict() for result in run.results])
    else:
        click.echo(f"Report written to {written[0]} and {written[1]}.")


@click.command("judge")
@click.argument("folder", type=_FOLDER)
@_pair_options
@click.option(
    "--judge",
    "judges",
    metavar="MODEL",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    help="Who judges: transformers:NAME_OR_FOLDER or openai:NAME; repeat it for several.",
)
@click.option("--precision", envvar="ETHOS_PRECISION", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option(
    "--base-url", envvar="ETHOS_BASE_URL", default="", help="Endpoint of openai: judges; key in ETHOS_API_KEY."
)
@click.option("--in-flight", envvar="ETHOS_IN_FLIGHT", type=click.IntRange(1, 64), help="Most requests there at once.")
@as_json
def judge_command(folder: Path, judges: tuple[str, ...], seed: int, as_json: bool, **given: Any) -> None:
    """Let models judge which of two methods of a run answered better, each pair in both orders.

    Verdicts are kept in FOLDER/judge, and what is judged is not judged again. Two or more judges of the same pairs get
    Fleiss' kappa in the report. Exit code 3: some replies could not be read; they count for nobody.
    """
    from ethos.cli.output.render import print_json, progress_bar, table
    from ethos.evaluation.judging.judge import judge, judge_prompt, tally
    from ethos.evaluation.judging.pairwise import Comparison, keep, left_over, read_judgements
    from ethos.llm.opening import open_model

    endpoint = settings({name: given[name] for name in ("base_url", "in_flight")}).endpoint
    model, pairs = _pairs(folder, given, seed)
    prompt = f"{judge_prompt()['version']} {judge_prompt()['content']}"
    found = {}
    for name in judges:
        comparison = Comparison(given["task"], given["method"], given["against"], model, name, prompt)
        path = comparison.path(folder)
        asked = left_over(path, comparison, pairs)
        with progress_bar("pairs judged") as progress:
            keep(path, comparison, judge(open_model(name, endpoint, given["precision"]), asked, seed, progress))
        found[name] = tally(read_judgements(path)[1])
    if as_json:
        print_json({name: one.as_dict() for name, one in found.items()})
    else:
        rows = [(name, t.wins, t.ties, t.losses, t.unreadable, t.win_rate, t.low, t.high) for name, t in found.items()]
        table(("judge", "wins", "ties", "losses", "unreadable", "win rate", "low", "high"), rows)
    if any(one.unreadable for one in found.values()):
        raise click.exceptions.Exit(EXIT_PARTLY)


@click.group("annotate")
def annotate_command() -> None:
    """Let people judge which of two methods answered better: a blind sheet out, and their verdicts in."""


@annotate_command.command("out")
@click.argument("folder", type=_FOLDER)
@_pair_options
@click.option("--sheet", type=_FILE, required=True, help="The CSV file to hand out.")
@click.option("--key", type=_FILE, required=True, help="Which side is whose; keep it from the annotators.")
def annotate_out(folder: Path, sheet: Path, key: Path, seed: int, **given: Any) -> None:
    """Write a sheet with pairs of answers in random order, and its key; neither file may exist."""
    import json

    from ethos.evaluation.judging.annotation import write_sheet
    from ethos.evaluation.judging.annotation_files import write_new

    model, pairs = _pairs(folder, given, seed)
    about = {"task": given["task"], "first": given["method"], "second": given["against"], "model": model}
    made = write_sheet(pairs, about, seed)
    write_new({sheet: made.text, key: json.dumps(made.key, ensure_ascii=False, indent=2) + "\n"})
    click.echo(f"{len(pairs)} pairs written to {sheet}; the key is in {key}.")


@annotate_command.command("in")
@click.argument("folder", type=_FOLDER)
@click.option("--sheet", type=_FILE, required=True, help="The sheet as the annotator filled it.")
@click.option("--key", type=_FILE, required=True, help="Its key.")
@click.option("--annotator", metavar="NAME", required=True, help="Whose verdicts they are; a pseudonym will do.")
def annotate_in(folder: Path, sheet: Path, key: Path, annotator: str) -> None:
    """Read a filled sheet; its verdicts stand in the report beside those of models."""
    from ethos.evaluation.judging.annotation import read_key, read_sheet
    from ethos.evaluation.judging.annotation_files import keep_new, read_text

    known = read_key(read_text(key))
    judgements = read_sheet(read_text(sheet), known)
    path = keep_new(folder, known, annotator, judgements)
    click.echo(f"{len(judgements)} verdicts of {annotator} kept in {path}.")


@click.command("pool-size")
@click.argument("folder", type=_FOLDER)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--sizes", default="", help="Situations that the pool knows, parted by commas.  [default: 25 to 800]")
@click.option("--asked", type=click.IntRange(2), default=300, show_default=True, help="Unseen situations.")
@click.option("--k", type=click.IntRange(1, 32), default=6, show_default=True, help="Personas in a panel.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of who is on which side.")
@as_json
def pool_size_command(folder: Path, file: Path, sizes: str, asked: int, k: int, seed: int, as_json: bool) -> None:
    """Measure how much a pool serves as it grows, on the Overton situations of FILE, for the report of FOLDER.

    No language model: personas are made of gold values, and asked for situations that the pool never saw.
    """
    import json
    from tempfile import TemporaryDirectory

    from ethos.cli.output.render import print_json, stages, table
    from ethos.encoders.embedder import open_embedder
    from ethos.errors import InputError
    from ethos.evaluation.analyses.pool_size import SIZES, grow
    from ethos.evaluation.report.data import POOL_SIZE
    from ethos.evaluation.tasks.loading import load_task
    from ethos.evaluation.tasks.task import TaskName

    try:
        wanted = [int(size) for size in sizes.split(",")] if sizes else list(SIZES)
    except ValueError as error:
        raise InputError(
            f"the sizes {sizes!r} are no numbers parted by commas", "for example --sizes 50,100"
        ) from error
    task = load_task(file, TaskName.OVERTON_VALUES)
    with TemporaryDirectory() as pool, stages() as progress:
        found = list(grow(Path(pool), task.items, open_embedder(), k, wanted, asked, seed, progress))
    if left := sorted(set(wanted) - {one.scenarios for one in found}):
        click.echo(f"{file} has too few situations for a pool of {', '.join(map(str, left))}.", err=True)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [one.as_dict() for one in found]
    (folder / POOL_SIZE).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(rows)
        return
    columns = ("scenarios", "personas", "hit rate", "partial", "coverage", "low", "high")
    shown = [(o.scenarios, o.personas, o.hit_rate.mean, o.partial_rate.mean, *_ends(o.coverage)) for o in found]
    table(columns, shown)


def _ends(estimate: Any) -> tuple[Any, Any, Any]:
    return estimate.mean, estimate.low, estimate.high


def _pairs(folder: Path, given: dict[str, Any], seed: int) -> tuple[str, Any]:
    """The model, and the pairs of two methods' answers."""
    from ethos.evaluation.judging.pairwise import answers_of, pairs_of

    one, other = (answers_of(folder, given["task"], given[name], given["of_model"]) for name in ("method", "against"))
    return one.model, pairs_of(one.task, one.answered, other.answered, given["limit"], seed)
