"""`ethos doctor`, and `ethos pool …` for the pool's file: verify, backup, restore, vacuum."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, model_options, pool_options, settings
from ethos.cli.pool.curation import EXIT_CHECK_FAILED


@click.command()
@click.option(
    "--repair", is_flag=True, help="Delete what is wrong and can be made again: vectors, the index's snapshot."
)
@pool_options
@as_json
def verify(repair: bool, as_json: bool, **given: Any) -> None:
    """Check that the pool is as it was written: pages, ledger, texts, vectors, index.

    Exits with 4 when something is wrong that is not repaired.
    """
    from ethos.cli.output.render import print_json, table
    from ethos.encoders.embedder import open_embedder
    from ethos.pool.maintenance.verification import verify
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.facts import embedder_name

    chosen = settings(given)
    database = Database(chosen.pool)
    checks = list(verify(database, open_embedder(chosen.embedder or embedder_name(chosen.pool)), repair))
    database.close()
    if as_json:
        print_json([check.as_dict() for check in checks])
    else:
        table(("check", "", "fix"), [(c.name, f"{c.count} faults" if c.count else "in order", c.fix) for c in checks])
        for check in checks:
            for fault in check.faults:
                click.echo(f"{check.name}: {fault}")
    if any(check.count and not check.repaired for check in checks):
        sys.exit(EXIT_CHECK_FAILED)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@pool_options
def backup(file: Path | None, **given: Any) -> None:
    """Copy the pool into FILE while it is in use, or into a dated file in its own folder."""
    from ethos.pool.maintenance import upkeep
    from ethos.pool.storage.database import Database

    database = Database(settings(given).pool)
    click.echo(upkeep.backup(database, file))
    database.close()


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@pool_options
def restore(file: Path, yes: bool, **given: Any) -> None:
    """Put the backup FILE back in place of the pool, of which a copy is kept."""
    from ethos.pool.maintenance import upkeep

    pool = settings(given).pool
    if not yes:
        click.confirm(f"Replace the pool {pool} by {file}?", abort=True, err=True)
    kept = upkeep.restore(pool, file)
    click.echo(f"Restored.{f' What was there is kept in {kept}.' if kept else ''}")


@click.command()
@pool_options
def vacuum(**given: Any) -> None:
    """Give the room of deleted rows back to the disk."""
    from ethos.pool.maintenance import upkeep
    from ethos.pool.storage.database import Database

    database = Database(settings(given).pool)
    done = upkeep.vacuum(database)
    database.close()
    click.echo(f"{done.before / 1e6:.1f} MB before, {done.after / 1e6:.1f} MB after.")


@click.command()
@click.option("--quick", is_flag=True, help="Load no encoder and no model, and call no endpoint.")
@model_options
@as_json
def doctor(quick: bool, as_json: bool, **given: Any) -> None:
    """Find out what would keep Ethos from working here, and how to fix it.

    Exits with 4 when something does not work.
    """
    from ethos.cli.output.render import print_json
    from ethos.pipeline.doctor import examine

    findings = []
    for finding in examine(settings(given), models=not quick):
        findings.append(finding)
        if not as_json:
            sign = {True: "works", False: "FAILS", None: "note"}[finding.works]
            click.echo(f"{sign:6} {finding.part}: {finding.detail}")
            if finding.fix:
                click.echo(f"       Fix: {finding.fix}")
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    if any(finding.works is False for finding in findings):
        sys.exit(EXIT_CHECK_FAILED)
