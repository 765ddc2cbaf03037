"""`ethos pool`: build a pool and look at it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, model_options, pool_options, settings
from ethos.cli.pool.curation import approve, calibrate, dedupe, quarantine, retire
from ethos.cli.pool.exchange import export, import_, pull, push, reembed
from ethos.cli.pool.lint import lint
from ethos.cli.pool.maintenance import backup, restore, vacuum, verify
from ethos.cli.pool.report import report
from ethos.persona import LABELS

EXIT_PARTLY = 3


@click.group()
def pool() -> None:
    """Build a pool of personas, look at it, and look after it."""


for _command in (
    approve,
    backup,
    calibrate,
    dedupe,
    export,
    import_,
    lint,
    pull,
    push,
    quarantine,
    reembed,
    report,
    restore,
    retire,
    vacuum,
    verify,
):
    pool.add_command(_command)


@pool.command()
@pool_options
@as_json
def init(as_json: bool, **given: Any) -> None:
    """Install the starter pool: 112 health scenarios with six personas each, written for Ethos.

    Needs no language model; a pool that has it already is left as it is.
    """
    from ethos.cli.output.render import print_json
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.curation.statistics import statistics
    from ethos.pool.starter import install

    with Ethos(settings=settings(given)) as ethos:
        new = install(ethos.pool)
        held = statistics(ethos.pool.database)["personas"]
        where = str(ethos.settings.pool)
    if as_json:
        print_json({"new_personas": new, "personas": held, "pool": where})
    else:
        click.echo(f"{new} new personas, {held} in the pool {where}.")


@pool.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--limit", type=click.IntRange(1), help="Only the first N scenarios.")
@model_options
@as_json
def build(files: tuple[Path, ...], limit: int | None, as_json: bool, **given: Any) -> None:
    """Invent personas for the scenarios in FILES and store them.

    A file has one scenario a line, or is JSON lines, or VITAL's JSON as it is. One question asked of many groups
    makes one set of personas. A build that was stopped goes on where it stopped.

    \b
    Examples:
      ethos pool build scenarios.txt
      ethos pool build vital_overton_valuekaleidoscope.json --limit 20 --persona-model openai:gpt-4o
    """
    from ethos.cli.pool.build import run_build

    report = run_build(files, limit, settings(given), given["seed"], as_json)
    if report.failed:
        sys.exit(EXIT_PARTLY)


@pool.command()
@pool_options
@as_json
def stats(as_json: bool, **given: Any) -> None:
    """Count what the pool holds."""
    from ethos.cli.output.render import print_json, table
    from ethos.pool.curation.statistics import statistics
    from ethos.pool.storage.database import Database

    chosen = settings(given)
    database = Database(chosen.pool)
    try:
        numbers = {"pool": str(database.path), **statistics(database)}
    finally:
        database.close()
    calibrated, holds = None, False
    if numbers["calibration"] or chosen.embedder:
        from ethos.pipeline.ethos import (
            Ethos,  # late: the index says whether a calibration applies, and checks encoders
        )

        with Ethos(settings=chosen) as ethos:
            calibrated = ethos.pool.calibrated()
            holds = calibrated is not None and ethos.pool.holds(calibrated)
    numbers["calibration_holds"] = holds
    if as_json:
        print_json(numbers)
        return
    table(
        ("what", "count"),
        [(name.replace("_", " "), value) for name, value in numbers.items() if type(value) in (int, str)],
    )
    for name in ("status", "origin_kinds", "distinct"):
        counts: Any = numbers[name]
        table(
            (name.replace("_", " "), "count"),
            [(LABELS.get(key, key), count) for key, count in counts.items()],
        )
    click.echo(calibrated.sentence if calibrated else "The gate is not calibrated: see `ethos pool calibrate --help`.")
    if calibrated and not holds:
        click.echo(
            "It does not hold for this pool as it is now, nor is it asked for: run `ethos pool calibrate` again."
        )


@pool.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most N personas.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out the first N.")
@pool_options
@as_json
def list_(limit: int, offset: int, as_json: bool, **given: Any) -> None:
    """List personas, oldest first."""
    from ethos.cli.output.render import print_json, table
    from ethos.pipeline.ethos import Ethos

    with Ethos(settings=settings(given)) as ethos:
        found = ethos.pool.store.personas(limit, offset)
    if as_json:
        print_json([{"persona_id": p.id, **p.as_dict(), "status": status} for p, status in found])
    else:
        table(("id", *LABELS.values()), [(p.id[:12], *p.texts()) for p, _ in found])


@pool.command()
@click.argument("identifier", metavar="ID")
@pool_options
@as_json
def show(identifier: str, as_json: bool, **given: Any) -> None:
    """Show one persona and its origins; ID may be the start of an id."""
    from ethos.cli.output.render import print_json, table
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.curation.lifecycle import history

    with Ethos(settings=settings(given)) as ethos:
        full = ethos.pool.store.find(identifier)
        persona, status = ethos.pool.store.persona(full)
        origins = ethos.pool.store.origins(full)
        changes = history(ethos.pool.database, full)
    if as_json:
        print_json(
            {
                "persona_id": full,
                **persona.as_dict(),
                "status": status,
                "line": persona.line,
                "origins": origins,
                "status_changes": changes,
            }
        )
        return
    table(
        ("attribute", "text"),
        [("id", full), *((LABELS[a], text) for a, text in persona.as_dict().items()), ("status", status)],
    )
    table(
        ("made", "by", "prompts", "seed", "for", "at"),
        [
            (
                o["kind"],
                o["model"] or o["source"],
                o["prompt_set"],
                o["seed"],
                o["situation"],
                o["created_at"],
            )
            for o in origins
        ],
    )
    if changes:
        table(("status", "why", "at"), [tuple(change.values()) for change in changes])


@pool.command()
@click.argument("text")
@click.option("-k", "count", type=click.IntRange(1), default=6, show_default=True, help="How many.")
@pool_options
@as_json
def search(text: str, count: int, as_json: bool, **given: Any) -> None:
    """Find the personas made for the scenarios nearest to TEXT."""
    from ethos.cli.output.render import print_json, table
    from ethos.pool.pool import open_pool
    from ethos.text.cleaning import MAX_SCENARIO_CHARACTERS, clean

    chosen = settings(given)
    with open_pool(chosen.pool, chosen.embedder) as opened:
        found = opened.search(clean(text, "text", MAX_SCENARIO_CHARACTERS), count)
    if as_json:
        print_json(
            [
                {
                    "persona_id": c.persona.id,
                    **c.persona.as_dict(),
                    "relevance": c.relevance,
                    "made_for": c.situation,
                }
                for c in found
            ]
        )
    else:
        table(
            ("relevance", "id", "line", "made for"),
            [(c.relevance, c.persona.id[:12], c.persona.line, c.situation) for c in found],
        )
