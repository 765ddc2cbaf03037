"""`ethos pool …` for personas that come and go: export, import, push, pull; and the change of embedder."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ethos.cli.options import as_json, pool_options, settings
from ethos.persona import OriginKind

EXIT_ERROR = 1
EXIT_PARTLY = 3
SHOWN = 20  # refused rows

F = TypeVar("F", bound=Callable[..., Any])


def _selection(command: F) -> F:
    kinds = click.Choice([kind.value for kind in OriginKind])
    for option in (
        click.option("--vectors", is_flag=True, help="With the stored vectors; in Parquet only."),
        click.option("--active", is_flag=True, help="Only personas that may be retrieved."),
        click.option("--only", type=kinds, help="Only rows of this kind of origin."),
    ):
        command = option(command)
    return command


def _terms(command: F) -> F:
    for option in (
        click.option(
            "--report",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write the report, with every refused row, as JSON.",
        ),
        click.option("--skip-bad", is_flag=True, help="Leave refused rows out, and import the others."),
        click.option("--licence", default="", help="Of rows that name none."),
        click.option("--source", default="", help="What to call where they come from.  [default: its own name]"),
        click.option(
            "--trust",
            is_flag=True,
            help="Accept the origins, statuses, panels and vectors of the file; its personas can be retrieved at once.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@_selection
@click.option("--force", is_flag=True, help="Replace what is there.")
@pool_options
@as_json
def export(out: Path, only: str | None, active: bool, vectors: bool, force: bool, as_json: bool, **given: Any) -> None:
    """Write the pool's personas to OUT: a .jsonl or .parquet file, or else a dataset folder.

    One row is a persona, a scenario it was made for, and how it came to be. A manifest with checksums goes with it.
    Answers are never exported. Scenarios are, where somebody was made for them: look through them before you share
    them, for they may hold personal text.

    \b
    Examples:
      ethos pool export personas.jsonl --active
      ethos pool export my-dataset/ --only curated
    """
    from ethos.cli.output.render import print_json

    manifest = _export(out, only, active, vectors, force, given)
    if as_json:
        print_json(manifest.as_dict())
    else:
        click.echo(
            f"{manifest.rows} rows written to {out}: {manifest.personas} personas for {manifest.scenarios} scenarios."
        )


@click.command("import")
@click.argument("path", metavar="IN", type=click.Path(path_type=Path))
@_terms
@pool_options
@as_json
def import_(path: Path, as_json: bool, **given: Any) -> None:
    """Import personas from IN: a .jsonl or .parquet file, a dataset folder, or another pool's folder.

    All rows or none: if one is invalid, nothing is stored and each invalid row is listed (see --skip-bad). New personas
    are quarantined until `ethos pool approve --source NAME`; known ones gain an origin and keep their status. Origins
    that the file states are stored as its claim, unless you give --trust.

    Exit codes: 1 rows were refused and nothing was stored, 3 rows were refused and the others stored.

    \b
    Examples:
      ethos pool import personas.jsonl --source "Clinic A" --licence CC-BY-4.0
      ethos pool import ../other-pool --trust
    """
    _import(path, as_json, given)


@click.command()
@click.argument("repo")
@_selection
@click.option("--public", is_flag=True, help="Let everybody read a repository that is made now.")
@pool_options
@as_json
def push(repo: str, only: str | None, active: bool, vectors: bool, public: bool, as_json: bool, **given: Any) -> None:
    """Upload the pool's personas to the Hugging Face hub as the dataset REPO (OWNER/NAME).

    A new repository is private. Needs `pip install 'ethos-pool[hub]'` and `hf auth login`. Scenarios may hold personal
    text: export to a folder and look through it first.
    """
    from ethos.cli.output.render import print_json
    from ethos.pool.exchange import hub as exchange_hub

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "dataset"
        manifest = _export(made, only, active, vectors, False, given)
        address = exchange_hub.push(made, repo, public)
    if as_json:
        print_json({"repo": repo, "address": address, **manifest.as_dict()})
    else:
        click.echo(f"{manifest.rows} rows pushed: {address}")


@click.command()
@click.argument("repo")
@click.option("--revision", default="", help="A commit; also a branch or tag.  [default: the newest]")
@_terms
@pool_options
@as_json
def pull(repo: str, revision: str, source: str, as_json: bool, **given: Any) -> None:
    """Download the dataset REPO (OWNER/NAME) from the Hugging Face hub and import it, as `ethos pool import` does."""
    from ethos.pool.exchange import hub as exchange_hub

    with tempfile.TemporaryDirectory() as folder:
        commit = exchange_hub.pull(repo, revision, Path(folder))
        click.echo(f"Pulled {repo} at {commit}.", err=True)
        _import(Path(folder), as_json, {**given, "source": source or f"{repo}@{commit[:12]}"})


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--drop-old", is_flag=True, help="Delete the vectors of all other encoders when the new ones are there.")
@pool_options
@as_json
def reembed(name: str, drop_old: bool, as_json: bool, **given: Any) -> None:
    """Encode the pool anew with the encoder NAME, a folder or hub name, and use it from then on.

    A run that was stopped goes on where it stopped; until the end the pool works with its old encoder. The gate's
    calibration is for one encoder: calibrate again afterwards.
    """
    from dataclasses import asdict

    from ethos.cli.output.render import print_json, progress_bar
    from ethos.encoders.embedder import open_embedder
    from ethos.pool.maintenance.reembedding import reembed as encode
    from ethos.pool.storage.database import Database

    database = Database(settings(given).pool)
    try:
        with progress_bar("texts") as advance:
            done = encode(database, open_embedder(name), advance, drop_old=drop_old)
    finally:
        database.close()
    if as_json:
        print_json({"embedder": name, **asdict(done)})
        return
    click.echo(
        f"{done.encoded} of {done.texts} texts encoded, {done.dropped} old vectors dropped. The pool uses {name}."
    )
    if done.calibration_stale:
        click.echo("The gate's calibration was for the old encoder: run `ethos pool calibrate`.", err=True)


def _export(out: Path, only: str | None, active: bool, vectors: bool, force: bool, given: dict[str, Any]) -> Any:
    from ethos.cli.output.render import progress_bar
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.exchange.export import export as write
    from ethos.pool.exchange.pools import Selection

    chosen = Selection(OriginKind(only) if only else None, active)
    with Ethos(settings=settings(given)) as ethos, progress_bar("rows") as advance:
        return write(ethos.pool.database, out, chosen, ethos.embedder.identity, advance, vectors=vectors, force=force)


def _import(path: Path, as_json: bool, given: dict[str, Any]) -> None:
    from ethos.cli.output.render import print_json, progress_bar, stages
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.exchange.files import opened
    from ethos.pool.exchange.importing import import_rows, source_name, terms
    from ethos.pool.maintenance.reembedding import encode_missing

    chosen = settings(given)
    with opened(path, chosen.pool) as source, Ethos(settings=chosen) as ethos:
        name = source_name(given["source"] or source.name)
        agreed = terms(source, ethos.embedder, name, given["licence"], trust=given["trust"])
        with stages() as show:
            found = import_rows(
                ethos.pool.database,
                source,
                agreed,
                lambda did, rows: show(f"{rows:,} rows {did}"),
                given["skip_bad"],
            )
        if found.stored and found.stored.links:
            with progress_bar("texts encoded") as advance:
                encode_missing(ethos.pool.database, ethos.embedder, advance)
    if given["report"]:
        given["report"].write_text(json.dumps(found.as_dict(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)
    if found.refused:
        sys.exit(EXIT_PARTLY if found.stored else EXIT_ERROR)


def _show(found: Any) -> None:
    for refusal in found.refusals[:SHOWN]:
        click.echo(f"Refused: {refusal.place}: {refusal.cause}", err=True)
    if found.refused > SHOWN:
        click.echo(f"… and {found.refused - SHOWN} more: see --report FILE or --json.", err=True)
    if found.stored is None:
        click.echo(
            f"{found.refused} of {found.rows} rows cannot be used, so nothing was stored. Mend them, or leave them out "
            "with --skip-bad.",
            err=True,
        )
        return
    click.echo(
        f"{found.rows} rows: {found.stored.personas} new personas, {found.stored.origins} new origins, "
        f"{found.repeated} repeat what is known, {found.refused} refused."
    )
    if not found.trusted:
        click.echo(f'None is retrieved before it is approved: ethos pool approve --source "{found.source}"')
