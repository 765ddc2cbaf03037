"""`ethos answer`."""

from __future__ import annotations

import sys
from typing import Any

import click

from ethos.answer import Sourcing
from ethos.cli.options import as_json, model_options, settings
from ethos.errors import InputError
from ethos.scenario import Mode


@click.command()
@click.argument("text")
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
@model_options
@as_json
def answer(
    text: str,
    mode: Mode,
    attribute: str | None,
    options: tuple[str, ...],
    personas: Sourcing,
    priors: tuple[str, ...],
    as_json: bool,
    **given: Any,
) -> None:
    """Answer TEXT (or - for standard input) from a panel of contrasting personas, and record how.

    \b
    Examples:
      ethos answer "Refusing a vaccine for political reasons"
      ethos answer "Refusing a vaccine" --mode steerable --attribute "Duty to protect others"
      ethos answer "Is air pollution a problem?" --mode distributional --attribute Kenya --option Yes --option No
    """
    from ethos.cli.render import print_json, show_answer, stages
    from ethos.pipeline import Ethos

    weights = dict(_prior(prior) for prior in priors)
    with stages() as progress, Ethos(settings=settings(given)) as ethos:
        result = ethos.answer(
            _text(text),
            mode,
            options=options,
            attribute=attribute,
            personas=personas,
            seed=given["seed"],
            priors=weights,
            progress=progress,
        ).as_dict()
    print_json(result) if as_json else show_answer(result)


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
