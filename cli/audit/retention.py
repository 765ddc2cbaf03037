"""`ethos audit …` for those who answer for the record: verify, export, purge, forget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, folder_option, settings
from ethos.cli.pool.curation import EXIT_CHECK_FAILED


def _pool(given: dict[str, Any]) -> Path:
    """The pool's folder, which must be there: of a pool made just now it would be true that all is in order."""
    from ethos.errors import InputError
    from ethos.pool.storage.database import FILE

    folder = settings(given).pool
    if not (folder / FILE).exists():
        raise InputError(f"there is no pool in {folder}", "name its folder with --pool")
    return folder


@click.command()
@click.option("--anchor", "kept", default="", metavar="NUMBER:LINK", help="As an earlier run printed it.")
@folder_option
@as_json
def verify(kept: str, as_json: bool, **given: Any) -> None:
    """Check that the record is as it was written.

    No row of any table was changed, taken away, put in or moved behind Ethos' back; each that was is named by table and
    key, and the exit code is 4. Vectors, texts and index: `ethos pool verify`.

    Who may write the whole file could make the whole chain anew. Keep the anchor that is printed somewhere else, and
    give it to a later run: it holds as long as the past is the same.
    """
    from ethos.cli.output.render import print_json, table
    from ethos.pool.maintenance.anchor import anchor, departures
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.ledger import faults, last

    database = Database(_pool(given))
    with database.read() as connection:
        found = [*(departures(connection, kept) if kept else ()), *faults(connection)]
        notes, now = last(connection), anchor(connection)
    database.close()
    if as_json:
        print_json({"notes": notes, "anchor": now, "faults": [fault.as_dict() for fault in found]})
    elif found:
        table(("table", "row", "what is wrong"), [(fault.table, fault.key, fault.cause) for fault in found])
    else:
        click.echo(f"In order: {notes} notes, and every row as its newest note says.\nAnchor: {now}")
    if found:
        sys.exit(EXIT_CHECK_FAILED)


@click.command()
@click.argument("file", metavar="OUT.jsonl|OUT.prov.json|OUT.provn", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--answer", "answers", metavar="ID", multiple=True, help="Only this answer; may be repeated.")
@folder_option
def export(file: Path, answers: tuple[str, ...], **given: Any) -> None:
    """Write answers as JSON lines or W3C provenance.

    The ending of OUT chooses. An answer is a line, which pandas.read_json("OUT.jsonl", lines=True) and DuckDB's
    FROM 'OUT.jsonl' load as they are; PROV-JSON and PROV-N need pip install 'ethos-pool[prov]'.

    An export holds what was asked and said. Look through it before you share it.
    """
    from ethos.audit.export import export
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.record import Record

    database = Database(_pool(given))
    count = export(Record(database), file, answers)
    database.close()
    click.echo(f"{count} answers written to {file}.")


@click.command()
@click.option(
    "--older-than",
    metavar="AGE",
    required=True,
    envvar="ETHOS_AUDIT_RETENTION",
    help="Hours, days, weeks or years: 36h, 180d, 26w, 2y.",
)
@click.option("--dry-run", is_flag=True, help="Only report what would be deleted.")
@folder_option
@as_json
def purge(older_than: str, dry_run: bool, as_json: bool, **given: Any) -> None:
    """Delete answers older than AGE, without asking.

    With them goes what only they used: calls, texts, failed attempts, scenarios that no persona was made for. Personas
    stay. The ledger still verifies; backups are not touched.
    """
    from ethos.cli.output.render import print_json
    from ethos.pool.maintenance.retention import moment, purge
    from ethos.pool.storage.database import Database

    database = Database(_pool(given))
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
@click.option(
    "--backups",
    is_flag=True,
    help="Delete the copies in backups/ too; they are named otherwise, and may hold it.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@folder_option
@as_json
def forget(scenario: str, with_personas: bool, backups: bool, yes: bool, as_json: bool, **given: Any) -> None:
    """Remove a scenario and its answers for good.

    Its text leaves every file of the pool: rows, vectors, indexes, log and free pages. SCENARIO is the text as it was
    asked, or a scenario's id (`ethos audit search --kind scenario`). The personas made for it stay, since they are not
    about who asked, but no question finds them by it any more. The ledger still verifies. This cannot be undone.
    """
    from ethos.cli.output.render import print_json
    from ethos.pool.maintenance.forgetting import forget
    from ethos.pool.storage.database import Database

    pool = _pool(given)
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
