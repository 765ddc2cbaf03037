"""`ethos eval`: the paper's experiments, run, scored and reported."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ethos.answer import Sourcing
from ethos.cli.evaluate.report import annotate_command, judge_command, pool_size_command, report_command
from ethos.cli.evaluate.reproduce import reproduce_command
from ethos.cli.evaluate.score import score_command, trivial_command
from ethos.cli.options import as_json, settings
from ethos.errors import InputError
from ethos.evaluation.tasks.task import TaskName
from ethos.llm.opening import DEFAULT_MODEL, PRECISIONS
from ethos.persona import ATTRIBUTES
from ethos.prompts import PromptSetName

if TYPE_CHECKING:
    from ethos.evaluation.runs.runner import EvalReport

EXIT_PARTLY = 3
_TASKS = [name.value for name in TaskName]
MOST_REASONS = 5  # shown a cell; the file has all


@click.group("eval")
def evaluate() -> None:
    """Run the paper's experiments: tasks, methods, scores, reports."""


@evaluate.command()
@click.argument("files", metavar="TASKFILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--task",
    type=click.Choice(_TASKS),
    help="Which task a single TASKFILE is.  [default: recognised by its name or its fields]",
)
@click.option("--methods", required=True, metavar="NAME,…", help="vanilla, prompting, moe, modplural, ethos-paper, …")
@click.option(
    "--models",
    envvar="ETHOS_MODELS",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME,…",
    help="Main models: transformers:NAME_OR_FOLDER or openai:NAME.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The run's folder; resumed if it has one.")
@click.option("--limit", type=click.IntRange(1), help="At most N items of each task, drawn at random.")
@click.option("--sample-seed", type=int, default=0, show_default=True, help="Of the draw.")
@click.option("--ids", default="", metavar="ID,…|@FILE", help="Only these items; @FILE has one id a line.")
@click.option("--exclude-ids", default="", metavar="ID,…|@FILE", help="None of these items.")
@click.option("--comment-model", envvar="ETHOS_COMMENT_MODEL", default="", help="For Ethos.  [default: the main model]")
@click.option("--persona-model", envvar="ETHOS_PERSONA_MODEL", default="", help="For Ethos.  [default: the main model]")
@click.option(
    "--communities",
    default="",
    metavar="FILE|released",
    help='TOML that names the community models in tables perspectives, cultures, mixed: "left Reddit" = "…".',
)
@click.option("--community-model", default="", help="One model that speaks for every community instead.")
@click.option(
    "--pool", envvar="ETHOS_POOL", type=click.Path(path_type=Path), help="Of ethos-pool.  [default: the user's own]"
)
@click.option(
    "--personas",
    type=click.Choice([Sourcing.AUTO.value, Sourcing.POOL.value]),
    default=Sourcing.AUTO.value,
    show_default=True,
    help="Of ethos-pool: whether what the pool lacks is invented, or the item fails.",
)
@click.option(
    "--prompts",
    type=click.Choice([name.value for name in PromptSetName]),
    default=PromptSetName.STRUCTURED.value,
    show_default=True,
    help="Of ethos-pool; the fresh methods are named after theirs.",
)
@click.option("--embedder", envvar="ETHOS_EMBEDDER", default="", help="Encoder.  [default: the pool's own]")
@click.option("--k", envvar="ETHOS_K", type=int, default=6, show_default=True, help="Personas in a panel.")
@click.option(
    "--attributes",
    default=",".join(ATTRIBUTES),
    metavar="NAME,…",
    help="The persona attributes that the comment model sees.  [default: all six]",
)
@click.option("--seed", envvar="ETHOS_SEED", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--permute-options", is_flag=True, help="Ask every item with its options in another order.")
@click.option(
    "--precision",
    envvar="ETHOS_PRECISION",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="Of local models; only float32 promises the same answers in other batches.",
)
@click.option(
    "--base-url", envvar="ETHOS_BASE_URL", default="", help="Endpoint of openai: models; key in ETHOS_API_KEY."
)
@click.option("--in-flight", envvar="ETHOS_IN_FLIGHT", type=click.IntRange(1, 64), help="Most requests there at once.")
@as_json
def run(files: tuple[Path, ...], out: Path, as_json: bool, **given: Any) -> None:
    """Answer the items of VITAL's tasks by several methods with several models.

    Each TASKFILE is one of VITAL's five, or a file of the same shape. The predictions are VITAL's own rows with the
    answers filled in, one file for each task, method and model in the folder --out. A run that was stopped goes on
    where it stopped; items that fail are listed beside the others, and tried again by the next run.

    \b
    Methods:
      vanilla, prompting                         the main model alone
      moe                                        helped by a community model that it picks
      modplural, modplural-cultures, -mixed      community models comment
      ethos-paper, ethos-released, -structured   personas invented for every item
      ethos-pool                                 personas from --pool, which is copied and stays as it is

    \b
    Examples:
      ethos eval run vital_overton_valuekaleidoscope.json --methods vanilla,ethos-structured --limit 12 --out run
      ethos eval run vital_*.json --methods moe,modplural --communities communities.toml --models A,B --out run
    """
    from ethos.cli.output.render import print_json, progress_bar
    from ethos.evaluation.methods import MethodSettings
    from ethos.evaluation.methods.communities import read_communities
    from ethos.evaluation.runs.runner import Plan, run_evaluation
    from ethos.evaluation.tasks.loading import load_task, sample
    from ethos.llm.opening import open_model

    if given["task"] and len(files) > 1:
        raise click.UsageError("--task names the task of one TASKFILE")
    name = TaskName(given["task"]) if given["task"] else None
    drawn = (given["limit"], given["sample_seed"], _ids(given["ids"]), _ids(given["exclude_ids"]))
    shared = ("comment_model", "persona_model", "pool", "embedder", "k")
    plan = Plan(
        tasks=tuple(sample(load_task(path, name), *drawn) for path in files),
        methods=_names(given["methods"]),
        models=_names(given["models"]),
        folder=out,
        seed=given["seed"],
        settings=MethodSettings(
            **{option: given[option] for option in shared},
            attributes=_names(given["attributes"]),
            personas=Sourcing(given["personas"]),
            prompts=PromptSetName(given["prompts"]),
            communities=read_communities(given["communities"], given["community_model"]),
        ),
        permute_options=given["permute_options"],
    )
    endpoint = settings({"base_url": given["base_url"], "in_flight": given["in_flight"]}).endpoint
    with progress_bar("items") as advance:
        report = run_evaluation(
            plan,
            lambda so_far: advance(so_far.done, so_far.items),
            lambda model: open_model(model, endpoint, given["precision"]),
        )
    print_json(report.as_dict()) if as_json else _show(report)
    _tell(report, [len(task.odd) for task in plan.tasks])
    if report.failed:
        sys.exit(EXIT_PARTLY)


def _show(report: EvalReport) -> None:
    from ethos.cli.output.render import table

    for task in dict.fromkeys(cell.task for cell in report.cells):
        table(
            ("method", "model", "items", "answered", "before", "failed", "s an item", "tokens"),
            [
                (
                    cell.method,
                    cell.model.rpartition("/")[2],
                    cell.items,
                    cell.answered,
                    cell.skipped,
                    len(cell.failed),
                    cell.seconds / cell.answered if cell.answered else None,
                    cell.tokens,
                )
                for cell in report.cells
                if cell.task == task
            ],
            task,
        )
    click.echo(f"The predictions are in {report.folder}.")


def _tell(report: EvalReport, odd: list[int]) -> None:
    """On stderr, what a reader should know before trusting the predictions."""
    from ethos.evaluation.tasks.run_folder import failures_of

    for cell in report.cells:
        for reason, count in Counter(error.message for error in cell.failed.values()).most_common(MOST_REASONS):
            click.echo(f"{count} failed, {cell.task} by {cell.method}: {' '.join(reason.split())[:200]}", err=True)
        if cell.failed:
            click.echo(f"{failures_of(cell.results)} has them all; the same command tries them again.", err=True)
    for task, ids in report.leaked.items():
        if ids:
            click.echo(f"{len(ids)} items of {task} are in the pool already: its scores there say little.", err=True)
    if sum(odd):
        click.echo(f"{sum(odd)} rows of the files are odd; {report.folder / 'run.json'} names them.", err=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _ids(text: str) -> tuple[str, ...]:
    """Ids parted by commas, or the lines of a file.

    Raises:
        InputError: The file cannot be read.
    """
    if not text.startswith("@"):
        return _names(text)
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the ids in {text[1:]} cannot be read: {error}", "give a file with one id a line") from error
    return tuple(line.strip() for line in lines if line.strip())


for _command in (
    score_command,
    trivial_command,
    report_command,
    judge_command,
    annotate_command,
    pool_size_command,
    reproduce_command,
):
    evaluate.add_command(_command)
