"""`ethos audit …` over many answers: search, stats, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, folder_option, pool_options, settings
from ethos.scenario import Mode


@click.command()
@click.argument("query", metavar="WORD…", nargs=-1, required=True)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["answer", "persona", "scenario"]),
    multiple=True,
    help="Only such; may be repeated.",
)
@click.option("--mode", type=click.Choice([mode.value for mode in Mode]), help="Only answers in this mode.")
@click.option("--model", metavar="NAME", default="", help="A part of the name of a model that took part.")
@click.option("--since", metavar="TIME", default="", help="UTC: 2026-11-21, or 2026-11-21T17:30.")
@click.option("--until", metavar="TIME", default="", help="To the end of this day, or of this minute.")
@click.option("--framework", metavar="NAME", default="", help="A part of the framework of somebody in the panel.")
@click.option("--stakeholder", metavar="NAME", default="", help="A part of the role of somebody in the panel.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most N hits.")
@folder_option
@as_json
def search(query: tuple[str, ...], kinds: tuple[str, ...], limit: int, as_json: bool, **given: Any) -> None:
    """Full text over scenarios, personas and answers.

    What holds all WORDs, the best first; an answer has its comments with it. With a filter, a persona or scenario is
    found if such an answer has it.

    \b
    "informed consent"   words that stand together (quote them for the shell too)
    vaccin*              a beginning
    """
    from ethos.cli.output.render import print_json, table
    from ethos.pool.maintenance.full_text import KINDS, Filter, search
    from ethos.pool.storage.database import Database

    named = ("mode", "model", "since", "until", "framework", "stakeholder")
    wanted = Filter(
        **{name: given[name] or "" for name in named}, kinds=tuple(kind for kind in KINDS if kind in (kinds or KINDS))
    )
    database = Database(settings(given).pool)
    hits = search(database, " ".join(query), wanted, limit)
    database.close()
    if as_json:
        print_json([hit.as_dict() for hit in hits])
    else:
        table(
            ("kind", "id", "at", "about", "found"),
            [(hit.kind, hit.id[:12], hit.at, hit.title[:60], hit.excerpt) for hit in hits],
        )


@click.command()
@click.option(
    "--plot",
    "picture",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw it too: .png, .svg or .pdf.",
)
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="Personas in the table.")
@pool_options
@as_json
def stats(picture: Path | None, limit: int, as_json: bool, **given: Any) -> None:
    """Tell who dominates and who never gets a say.

    Over all answers, by persona, ethical framework and stakeholder: seats in panels, influence, and how concentrated
    they are. Influence is each answer's cheap exact one, scaled to sum to 1 within the answer, so that modes can be
    compared.
    """
    from ethos.audit.statistics import stats
    from ethos.cli.output.render import print_json, table
    from ethos.pipeline.ethos import Ethos

    with Ethos(settings=settings(given)) as ethos:
        found = stats(ethos.pool.database, ethos.pool.vectors)
    if picture:
        from ethos.audit.plot import plot

        plot(found, picture)
    if as_json:
        print_json(found.as_dict())
        return
    click.echo(f"{found.answers} answers, {found.with_influence} with influences that can be shared out.")
    for what, say in (
        ("persona", found.personas),
        ("framework", found.frameworks),
        ("stakeholder", found.stakeholders),
    ):
        shown = [one for one in say.standings if one.seats][: limit if what == "persona" else None]
        table(
            (what, "personas", "seats", "share of seats", "share of influence"),
            [(one.name, one.personas, one.seats, one.seat_share, one.influence_share) for one in shown],
        )
        for measure in ("seats", "influence"):
            if at := getattr(say, measure):
                click.echo(f"{measure}: Gini {at.gini:.3f}, top 5 hold {at.top:.1%}, Herfindahl {at.herfindahl:.4f}")
        named = [*(one.name for one in say.never[:5]), *(["…"] if len(say.never) > 5 else [])]
        click.echo(
            f"Never asked: {len(say.never)} of {len(say.standings)}" + (f" ({', '.join(named)})" if named else "")
        )


@click.command()
@click.argument("one", metavar="ANSWER_ID")
@click.argument("other", metavar="ANSWER_ID")
@folder_option
@as_json
def diff(one: str, other: str, as_json: bool, **given: Any) -> None:
    """Show in what two answers differ.

    In the order in which an answer is made: question, settings, panel, prompts, comments, outcome.
    """
    from ethos.audit.comparison import diff
    from ethos.cli.output.render import print_json, table
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.record import Record

    database = Database(settings(given).pool)
    found = diff(Record(database), one, other)
    database.close()
    if as_json:
        print_json([difference.as_dict() for difference in found])
    elif found:
        table(
            ("of", "what", one[:12], other[:12]),
            [(d.part, d.what, _short(d.one), _short(d.other)) for d in found],
        )
    else:
        click.echo("They are the same, but for time.")


def _short(value: object) -> object:
    return value if value is None or isinstance(value, float) or len(str(value)) <= 160 else f"{str(value)[:159]}…"
