"""`ethos audit …` for those who answer for the record: verify, export, purge, forget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ethos.cli.care import EXIT_CHECK_FAILED
from ethos.cli.options import as_json, pool_options, settings


@click.command()
@pool_options
@as_json
def verify(as_json: bool, **given: Any) -> None:
    """Check that every row is as it was written: none changed, missing, put in or moved.

    Exits with 4 when one is not, and names its table and key. Vectors, texts and index: `ethos pool verify`.
    """
    from ethos.cli.render import print_json, table
    from ethos.pool.database import Database
    from ethos.pool.ledger import faults, last

    database = Database(settings(given).pool)
    with database.read() as connection:
        found, notes = faults(connection), last(connection)
    database.close()
    if as_json:
        print_json({"notes": notes, "faults": [fault.as_dict() for fault in found]})
    elif found:
        table(("table", "row", "what is wrong"), [(fault.table, fault.key, fault.cause) for fault in found])
    else:
        click.echo(f"In order: {notes} notes, and every row as its newest note says.")
    if found:
        sys.exit(EXIT_CHECK_FAILED)


@click.command()
@click.argument("file", metavar="OUT.jsonl|OUT.prov.json|OUT.provn", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--answer", "answers", metavar="ID", multiple=True, help="Only this answer; may be repeated.")
@pool_options
def export(file: Path, answers: tuple[str, ...], **given: Any) -> None:
    """Write answers as JSON lines, or as W3C provenance, by the ending of OUT.

    JSON lines load in one call: pandas.read_json("OUT.jsonl", lines=True), or in DuckDB FROM 'OUT.jsonl'.

    An export holds what was asked and said. Look through it before you share it.
    """
    from ethos.audit_export import export
    from ethos.pool.database import Database
    from ethos.pool.record import Record

    database = Database(settings(given).pool)
    count = export(Record(database), file, answers)
    database.close()
    click.echo(f"{count} answers written to {file}.")


@click.command()
@click.option(
    "--older-than", metavar="AGE", required=True, envvar="ETHOS_AUDIT_RETENTION", help="36h, 180d, 26w or 2y."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@pool_options
@as_json
def purge(older_than: str, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Delete answers that are older than AGE, and what only they used: calls, texts, scenarios without personas.

    Personas stay. The ledger still verifies; backups are not touched.
    """
    from ethos.cli.render import print_json
    from ethos.pool.database import Database
    from ethos.pool.purging import moment, purge

    database = Database(settings(given).pool)
    done = purge(database, moment(older_than), dry_run)
    database.close()
    if as_json:
        print_json(done.as_dict())
        return
    click.echo(
        f"{done.answers} answers from before {done.before}, {done.calls} calls, {done.texts} texts, "
        f"{done.failures} failures and {done.scenarios} scenarios {'would go' if dry_run else 'are deleted'}."
    )


@click.command()
@click.argument("scenario", metavar="SCENARIO")
@click.option("--with-personas", is_flag=True, help="Delete the personas made for it too, unless others use them.")
@click.option("--backups", is_flag=True, help="Delete every copy in the pool's folder of backups.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pool_options
@as_json
def forget(scenario: str, with_personas: bool, backups: bool, yes: bool, as_json: bool, **given: Any) -> None:
    """Remove a scenario's text, and all that was answered to it, from every file of the pool.

    SCENARIO is the text as it was asked, or a scenario's id. The personas made for it stay, since they are not about
    who asked, but no question finds them by it any more. The ledger still verifies. This cannot be undone.
    """
    from ethos.cli.render import print_json
    from ethos.pool.database import Database
    from ethos.pool.forgetting import forget

    pool = settings(given).pool
    if not yes:
        click.confirm(f"Remove this scenario and its answers from {pool} for good?", abort=True, err=True)
    database = Database(pool)
    done = forget(database, scenario, with_personas=with_personas, backups=backups)
    database.close()
    if as_json:
        print_json(done.as_dict())
        return
    click.echo(
        f"Forgotten: {done.scenarios} scenarios, {done.answers} answers, {done.calls} calls, {done.failures} failures; "
        f"{done.redacted} rows of others no longer quote it."
    )
    click.echo(
        f"Of the personas made for it {done.personas_kept} stay, {done.personas_lost} of them out of reach of any "
        f"question, and {done.personas_deleted} are deleted."
    )
    for row in done.elsewhere:
        click.echo(f"The text is left as a part of other words: {row}")
    for copy in done.backups:
        click.echo(
            f"{'Deleted' if done.backups_deleted else 'Not touched, and may hold it (--backups deletes it)'}: {copy}"
        )
