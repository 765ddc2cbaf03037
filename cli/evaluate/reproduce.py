"""`ethos eval reproduce`: one of the paper's tables, from its configuration file to the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ethos.cli.options import settings
from ethos.llm.opening import PRECISIONS
from ethos.prompts import PromptSetName

if TYPE_CHECKING:
    from ethos.evaluation.runs.runner import EvalReport

EXIT_PARTLY = 3


@click.command("reproduce")
@click.argument("configuration")
@click.option(
    "--data",
    required=True,
    envvar="ETHOS_VITAL",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of VITAL's files.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="The run's folder.")
@click.option("--model", envvar="ETHOS_MODEL", default="", help="One model in every role instead of the checkpoints.")
@click.option(
    "--prompts",
    type=click.Choice([name.value for name in PromptSetName]),
    help="Of the personas; a small model follows structured ones only.  [default: the configuration's]",
)
@click.option("--nli", envvar="ETHOS_NLI", default="", help="Entailment model.  [default: the configuration's]")
@click.option("--limit", type=click.IntRange(1), help="At most N items of each task, drawn at random.")
@click.option("--precision", envvar="ETHOS_PRECISION", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--base-url", envvar="ETHOS_BASE_URL", default="", help="Endpoint of openai: models not named there.")
@click.option("--in-flight", envvar="ETHOS_IN_FLIGHT", type=click.IntRange(1, 64), help="Most requests at once.")
def reproduce_command(
    configuration: str,
    data: Path,
    out: Path,
    model: str,
    prompts: str | None,
    nli: str,
    limit: int | None,
    precision: str,
    base_url: str,
    in_flight: int | None,
) -> None:
    """Run what makes one of the paper's tables, and write its report into --out.

    CONFIGURATION is a TOML file or the name of a shipped one: table3, table4, table5, table6, table7, table8, table17,
    table18, table19, figure5. They name the paper's checkpoints and want a GPU, a key of OpenAI (OPENAI_API_KEY) and
    one of DeepSeek (DEEPSEEK_API_KEY). A run that was stopped goes on where it stopped.

    \b
    Examples:
      ethos eval reproduce table8 --data vital --out table8
      ethos eval reproduce table3 --data vital --out try --limit 2 --prompts structured \\
        --model transformers:HuggingFaceTB/SmolLM2-135M-Instruct
    """
    from ethos.cli.output.render import stages
    from ethos.encoders.embedder import open_embedder
    from ethos.encoders.entailment import EntailmentModel
    from ethos.evaluation.metrics.scoring import Judges
    from ethos.evaluation.report.data import gather
    from ethos.evaluation.report.report import make_report, write_report
    from ethos.evaluation.runs.configuration import load_configuration
    from ethos.evaluation.runs.reproduction import opener, reproduce

    chosen = load_configuration(configuration)
    if model:
        chosen = chosen.with_model(model)
    if prompts:
        chosen = chosen.with_prompts(PromptSetName(prompts))
    endpoint = settings({"base_url": base_url, "in_flight": in_flight}).endpoint
    plans = chosen.plans(data, out, limit)
    with stages() as progress:
        reports = list(reproduce(chosen, plans, opener(chosen, endpoint, precision), progress))
        entails, encoder = nli or chosen.nli, open_embedder()
        run = gather(out, Judges(EntailmentModel(entails) if entails else None, encoder), progress)
        written = write_report(make_report(run, encoder, progress), out)
    for note in chosen.notes:
        click.echo(f"Note: {note}", err=True)
    _tell(reports)
    click.echo(f"Report written to {written[0]} and {written[1]}.")
    if any(report.failed for report in reports):
        sys.exit(EXIT_PARTLY)


def _tell(reports: list[EvalReport]) -> None:
    """On stderr, what failed."""
    for report in reports:
        for cell in report.cells:
            if cell.failed:
                why = " ".join(next(iter(cell.failed.values())).message.split())[:200]
                click.echo(f"{len(cell.failed)} failed, {cell.task} by {cell.method}; the first: {why}", err=True)
