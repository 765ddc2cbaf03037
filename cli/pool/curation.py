"""`ethos pool …` for those who look after a pool: calibrate its gate, end personas' lives, merge duplicates."""

from __future__ import annotations

import sys
from typing import Any

import click

from ethos.cli.options import as_json, pool_options, settings

DELTAS = (0.05, 0.1, 0.2)
EXIT_CHECK_FAILED = 4


@click.command()
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Most hits that may be poor, as a share.",
)
@click.option(
    "--floor",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of a scenario's own values that a panel must cover not to be poor.",
)
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of the bound.",
)
@click.option("--k", envvar="ETHOS_K", type=click.IntRange(1, 32), default=6, show_default=True, help="Panel size.")
@click.option("--clear", is_flag=True, help="Take the calibration back: the gate looks at relevance alone again.")
@pool_options
@as_json
def calibrate(delta: float, floor: float, confidence: float, clear: bool, as_json: bool, **given: Any) -> None:
    """Set the gate so that, with this confidence, at most a share DELTA of hits is poor.

    Each of the pool's own scenarios is asked as if the pool did not have it, and the panel found is held against the
    personas that were made for it. The bound is for scenarios like the pool's own.
    """
    from ethos.cli.output.render import print_json, progress_bar, table
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.retrieval.calibration import Target

    chosen = settings(given)
    with Ethos(settings=chosen) as ethos:
        if clear:
            ethos.pool.calibrate(None)
            click.echo("The gate looks at relevance alone again.")
            return
        with progress_bar("scenarios") as advance:
            trials = ethos.pool.trials(chosen.k, advance)
        rows = {d: ethos.pool.calibration(trials, Target(d, floor, confidence), chosen.k) for d in {*DELTAS, delta}}
        if rows[delta].hits:
            ethos.pool.calibrate(rows[delta])
    if as_json:
        stored = rows[delta].as_dict() if rows[delta].hits else None
        print_json({"stored": stored, "table": [rows[d].as_dict() for d in sorted(rows)]})
    else:
        table(
            ("bound", "demanded coverage", "hit rate", "poor hits", "interval"),
            [(f"{d:g}{' *' if d == delta else ''}", *_cells(rows[d])) for d in sorted(rows)],
            title=f"{len(trials)} held-out scenarios, panels of {chosen.k}, {confidence:.0%} confidence",
        )
    if not rows[delta].hits:
        click.echo(
            f"No demand keeps the bound {delta:g}, so nothing was stored and the gate is as it was. "
            "Let more hits be poor (--delta), ask less of a panel (--floor), or build the pool for more scenarios.",
            err=True,
        )
        sys.exit(EXIT_CHECK_FAILED)
    if not as_json:
        click.echo("* stored: the gate demands it from now on.")


def _cells(found: Any) -> tuple[object, ...]:
    low, high = found.interval
    if not found.hits:
        return ("cannot be kept", None, None, None)
    return (found.required, found.hit_rate, f"{found.failures} of {found.hits}", f"{low:.3f} to {high:.3f}")


def _marking(name: str, status: str, summary: str) -> click.Command:
    """One of the commands that give personas a status."""

    @click.command(name, help=summary)
    @click.argument("identifiers", metavar="ID…", nargs=-1, required=True)
    @click.option("--why", default="", help="Kept with the persona's history.")
    @pool_options
    @as_json
    def command(identifiers: tuple[str, ...], why: str, as_json: bool, **given: Any) -> None:
        _mark(identifiers, status, why, as_json, given)

    return command


def _mark(identifiers: tuple[str, ...], status: str, why: str, as_json: bool, given: dict[str, Any]) -> None:
    from ethos.cli.output.render import print_json
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.curation.lifecycle import Status, mark

    with Ethos(settings=settings(given)) as ethos:
        full = [ethos.pool.store.find(identifier) for identifier in identifiers]
        changed = mark(ethos.pool.database, full, Status(status), why)
    if as_json:
        print_json({"persona_ids": full, "status": status, "changed": changed})
    else:
        click.echo(f"{changed} of {len(full)} personas are now {status}.")


retire = _marking(
    "retire", "retired", "Never retrieve these personas again; the audit keeps them. Undo with `ethos pool approve`."
)
quarantine = _marking("quarantine", "quarantined", "Do not retrieve these personas until they are approved.")


@click.command()
@click.argument("identifiers", metavar="[ID]…", nargs=-1)
@click.option("--source", metavar="NAME", default="", help="All that were imported from there, as it was named then.")
@click.option("--why", default="", help="Kept with the persona's history.")
@pool_options
@as_json
def approve(identifiers: tuple[str, ...], source: str, why: str, as_json: bool, **given: Any) -> None:
    """Let these personas be retrieved."""
    from ethos.cli.output.render import print_json
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.exchange.storing import approve as approve_all

    if bool(identifiers) == bool(source):
        raise click.UsageError("give either IDs or --source")
    if identifiers:
        _mark(identifiers, "active", why, as_json, given)
        return
    with Ethos(settings=settings(given)) as ethos:
        changed = approve_all(ethos.pool.database, source, why)
    if as_json:
        print_json({"source": source, "status": "active", "changed": changed})
    else:
        click.echo(f"{changed} personas from {source} can now be retrieved.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be merged.")
@click.option("--list", "list_", is_flag=True, help="Show the merges that stand.")
@click.option("--undo", metavar="ID", default="", help="Take this merged persona out again.")
@pool_options
@as_json
def dedupe(dry_run: bool, list_: bool, undo: str, as_json: bool, **given: Any) -> None:
    """Merge personas that say the same in nearly the same words.

    Nothing is deleted: a duplicate is retired, and the persona that is kept serves in its place. Pairs made for one
    scenario are left alone.
    """
    from ethos.cli.output.render import print_json, table
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.curation import duplicates

    with Ethos(settings=settings(given)) as ethos:
        pool = ethos.pool
        if undo:
            kept = duplicates.undo(pool.database, pool.store.find(undo))
            click.echo(f"Undone; {kept[:12]} no longer stands for it.")
            return
        if list_:
            rows = duplicates.merges(pool.database)
        else:
            pairs = duplicates.find_duplicates(pool)
            if not dry_run:
                pairs = duplicates.merge(pool.database, pairs)
            rows = [pair.as_dict() for pair in pairs]
    if as_json:
        print_json(rows)
        return
    if rows:
        names = ("kept_id", "duplicate_id", "cosine", "overlap")
        shown = [[str(row[n])[:12] if n.endswith("_id") else row[n] for n in names] for row in rows]
        table(("kept", "duplicate", "cosine", "word overlap"), shown)
    done = "would be merged" if dry_run else "stand" if list_ else "merged"
    click.echo(f"{len(rows)} pairs {done}.")
