"""`ethos answer`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ethos.answer import Sourcing
from ethos.cli.options import as_json, model_options, settings
from ethos.errors import InputError
from ethos.pipeline.settings import Settings
from ethos.scenario import Mode

EXIT_PARTLY = 3


@click.command()
@click.argument("text", required=False)
@click.option("--input", "input_", type=click.Path(path_type=Path), help="Answer every scenario of this file instead.")
@click.option("--output", type=click.Path(path_type=Path), help="JSON lines to append the answers of --input to.")
@click.option(
    "--mode",
    envvar="ETHOS_MODE",
    type=click.Choice([m.value for m in Mode]),
    default=Mode.OVERTON.value,
    show_default=True,
    help="One answer with all views, as one value or group would, or a population's distribution.",
)
@click.option(
    "--attribute",
    envvar="ETHOS_ATTRIBUTE",
    help='Value, group or country: "Autonomy", "POLPARTY_Democrat", "Kenya".',
)
@click.option("--option", "options", multiple=True, help="One option of a question; repeat it for each.")
@click.option(
    "--personas",
    envvar="ETHOS_PERSONAS",
    type=click.Choice([m.value for m in Sourcing]),
    default=Sourcing.AUTO.value,
    show_default=True,
    help="From the pool with the missing ones invented, from the pool only, or invented anew (the paper).",
)
@click.option(
    "--prior",
    "priors",
    multiple=True,
    metavar="ID=WEIGHT",
    help="Weight of a persona in a distribution; 1 for the others.",
)
@click.option(
    "--reuse/--no-reuse",
    envvar="ETHOS_REUSE",
    default=True,
    show_default=True,
    help="Look up the answer if the very same request was answered before.",
)
@click.option("--stream", is_flag=True, help="Print the answer's text while it is written, and nothing else.")
@click.option("--profile", is_flag=True, envvar="ETHOS_PROFILE", help="Show what it cost, stage by stage.")
@model_options
@as_json
def answer(
    text: str | None,
    input_: Path | None,
    output: Path | None,
    mode: Mode,
    attribute: str | None,
    options: tuple[str, ...],
    personas: Sourcing,
    priors: tuple[str, ...],
    reuse: bool,
    stream: bool,
    profile: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Answer TEXT (or - for standard input) with a panel of contrasting personas, and record the answer.

    No medical advice: personas are invented, and a view on a panel is not thereby a good one.

    \b
    Examples:
      ethos answer "Refusing a vaccine for political reasons"
      ethos answer "Refusing a vaccine" --mode steerable --attribute "Duty to protect others"
      ethos answer "Is air pollution a problem?" --mode distributional --attribute Kenya --option Yes --option No
      ethos answer --input vital_steerable_opinionqa.json --output answers.jsonl

    With --input and --output, answer a file in batches; formats as in `ethos pool build`. A row with its own mode or
    attribute keeps it. A stopped run continues where it stopped; failed rows are listed in OUTPUT.failed.
    """
    if (text is None) == (input_ is None) or (input_ is None) != (output is None):
        raise click.UsageError("give TEXT, or --input FILE with --output FILE")
    if stream and (input_ or as_json):
        raise click.UsageError("--stream prints one answer as text; drop --input and --json")
    if input_ and options:
        raise click.UsageError("--option is for TEXT; the rows of --input carry their own")
    terms = {"personas": personas, "seed": given["seed"], "priors": dict(map(_prior, priors)), "reuse": reuse}
    if input_ and output:
        from ethos.cli.answer.batch import run_batch

        report = run_batch(input_, output, mode, attribute, terms, settings(given), profile, as_json)
        if report.failed:
            sys.exit(EXIT_PARTLY)
        return
    assert text is not None
    asked = {"options": options, "attribute": attribute, **terms}
    _answer_one(_text(text), mode, asked, settings(given), stream=stream, profile=profile, as_json=as_json)


def _answer_one(
    text: str, mode: Mode, asked: dict[str, Any], chosen: Settings, *, stream: bool, profile: bool, as_json: bool
) -> None:
    from ethos.cli.output.render import (
        print_json,
        show_answer,
        show_piece,
        show_recorded,
        show_spending,
        show_step,
        stages,
    )
    from ethos.pipeline.costs import spending
    from ethos.pipeline.ethos import Ethos

    if stream:
        with Ethos(settings=chosen) as ethos:
            result = ethos.answer(text, mode, on_text=show_piece, progress=show_step, **asked)
        show_recorded(result.answer_id)
    else:
        with stages() as progress, Ethos(settings=chosen) as ethos:
            result = ethos.answer(text, mode, progress=progress, **asked)
        print_json(result.as_dict()) if as_json else show_answer(result.as_dict())
    if profile:
        show_spending(spending([result]), on_stderr=as_json or stream)


def _text(text: str) -> str:
    if text != "-":
        return text
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 (byte {error.start})", "send it as UTF-8") from error


def _prior(text: str) -> tuple[str, float]:
    identifier, _, weight = text.partition("=")
    try:
        return identifier, float(weight)
    except ValueError:
        raise InputError(f"the prior {text!r} is not ID=WEIGHT", "write for example --prior 3fa2b1=2.5") from None
