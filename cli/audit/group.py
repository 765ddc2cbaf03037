"""`ethos audit`: which personas made an answer, and which answers a persona took part in."""

from __future__ import annotations

from typing import Any

import click

from ethos.cli.audit.influence import influence, replay, show
from ethos.cli.audit.retention import export, forget, purge, verify
from ethos.cli.audit.search import diff, search, stats
from ethos.cli.options import as_json, folder_option, settings


@click.group()
def audit() -> None:
    """Look back: which personas made an answer, which answers a persona took part in.

    \b
    Start here:
      ethos audit list                                      what was answered, with ids
      ethos audit show ANSWER_ID --html page.html           all that made an answer
      ethos audit influence ANSWER_ID --method textual      who stands behind which sentence
      ethos audit verify                                    is the record as it was written?

    The beginning of an id will do wherever an id is asked for.
    """


@audit.command("list")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most N answers.")
@folder_option
@as_json
def list_(limit: int, as_json: bool, **given: Any) -> None:
    """List answers, newest first."""
    from ethos.audit.reading import list_answers
    from ethos.cli.output.render import print_json, table
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.record import Record

    database = Database(settings(given).pool)
    found = list_answers(Record(database), limit)
    database.close()
    if as_json:
        print_json(found)
    else:
        table(
            ("id", "at", "mode", "scenario", "answer"),
            [(a["answer_id"][:12], a["created_at"], a["mode"], a["scenario"][:60], a["output"][:60]) for a in found],
        )


@audit.command()
@click.argument("identifier", metavar="PERSONA_ID")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most N answers.")
@folder_option
@as_json
def persona(identifier: str, limit: int, as_json: bool, **given: Any) -> None:
    """Show the answers a persona took part in.

    Each with its rank in the panel and its influence. Ids of personas: `ethos audit show`, `ethos pool list`.
    """
    from ethos.audit.reading import show_persona
    from ethos.cli.output.render import print_json, table
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.personas import Store
    from ethos.pool.storage.record import Record

    database = Database(settings(given).pool)
    found = show_persona(Store(database), Record(database), identifier, limit)
    database.close()
    if as_json:
        print_json(found)
        return
    table(
        ("id", "at", "mode", "rank", "from", "influence", "scenario"),
        [
            (
                a["answer_id"][:12],
                a["created_at"],
                a["mode"],
                a["rank"],
                a["source"],
                a["influence"],
                a["scenario"][:60],
            )
            for a in found["answers"]
        ],
        f"{found['line']} ({found['status']})",
    )


for _command in (show, influence, replay, search, stats, diff, verify, export, purge, forget):
    audit.add_command(_command)
