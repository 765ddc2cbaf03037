"""`ethos audit show`, `influence` and `replay`: what made an answer, and what would have made another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, folder_option, record_options, settings

METHODS = ("textual", "leave-one-out", "shapley", "runner-up", "order")


@click.command()
@click.argument("identifier", metavar="ANSWER_ID")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one self-contained page instead of text; an older one there is replaced.",
)
@folder_option
@as_json
def show(identifier: str, html: Path | None, as_json: bool, **given: Any) -> None:
    """Show all that made an answer.

    Gate, candidates, panel, comments, influences and every model call; the page and --json hold every prompt as sent
    and every reply as received. Ids of answers: `ethos audit list`.
    """
    from ethos.audit.lineage import lineage, lineage_page, save_page
    from ethos.cli.output.render import print_json
    from ethos.cli.output.render_audit import show_lineage
    from ethos.pool.storage.database import Database
    from ethos.pool.storage.record import Record

    database = Database(settings(given).pool)
    found = lineage(Record(database), identifier)
    database.close()
    if html is not None:
        save_page(lineage_page(found), html)
    if as_json:
        print_json(found)
    elif html is None:
        show_lineage(found)
    else:
        click.echo(f"Lineage of answer {found['answer_id'][:12]} written to {html}.")


@click.command()
@click.argument("identifier", metavar="ANSWER_ID")
@click.option("--method", type=click.Choice(METHODS), required=True, help="How influence is found; see above.")
@click.option(
    "--nli",
    envvar="ETHOS_NLI",
    default="",
    metavar="MODEL",
    help="For textual: an entailment classifier, folder or hub name.  [default: by embedding]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="For textual: from which likeness or probability on a comment supports a sentence.  [default: 0.6 by "
    "embedding, 0.5 by a classifier]",
)
@click.option(
    "--by",
    default="",
    metavar="MODEL",
    help="Ask this model, transformers:… or openai:…, in place of the one that answered.",
)
@record_options
@as_json
def influence(
    identifier: str, method: str, nli: str, threshold: float | None, by: str, as_json: bool, **given: Any
) -> None:
    """Find how much each persona moved an answer.

    An answer carries a cheap influence from the start; this finds others, stores them, and says on what they agree.

    \b
    textual        Overton: which comments support each sentence
    leave-one-out  Overton: how likely the answer is without each comment;
                   distributional: how far the options move, exact, no model call
    shapley        Overton, distributional: the same over all subsets of at most 6
    runner-up      steerable: the answer that the next best comment gives
    order          steerable, or with options: does the order of comments or of
                   options matter?
    """
    from ethos.audit.influence.methods import Method, agreement, find_influence, influences
    from ethos.cli.output.render import print_json, stages
    from ethos.cli.output.render_audit import show_influence
    from ethos.pipeline.ethos import Ethos

    with Ethos(settings=settings(given)) as ethos, stages() as progress:
        progress(f"finding influences: {method}")
        answer, found = find_influence(ethos, identifier, Method(method), nli=nli, threshold=threshold, by=by)
        known = influences(ethos.record, answer)
    result = {"answer_id": answer.answer_id, **found.as_dict(), "agreement": agreement(known)}
    if as_json:
        print_json(result)
    else:
        show_influence(result, {member.persona.id: member.persona.name for member in answer.panel.members})


@click.command()
@click.argument("identifier", metavar="ANSWER_ID")
@click.option("--without", multiple=True, metavar="PERSONA_ID", help="Answer without this member; may be repeated.")
@click.option(
    "--with",
    "added",
    multiple=True,
    metavar="PERSONA_ID",
    help="Answer with this persona of the pool too; may be repeated.",
)
@click.option("--record", is_flag=True, help="Store what the other panel answers, as an answer of its own.")
@record_options
@as_json
def replay(
    identifier: str, without: tuple[str, ...], added: tuple[str, ...], record: bool, as_json: bool, **given: Any
) -> None:
    """Run an answer again from its record.

    Each recorded call is sent again to the model that the record names. The output says whether everything is
    identical, or where it diverged. Exit code 4: it diverged.

    With --without or --with another panel answers: comments of those who stay are kept, prompts are composed anew,
    and both answers are shown.
    """
    from ethos.audit.panel_swap import swap
    from ethos.audit.replay import replay
    from ethos.cli.output.render import print_json, stages
    from ethos.cli.output.render_audit import show_replay, show_swap
    from ethos.pipeline.ethos import Ethos

    if record and not (without or added):
        raise click.UsageError("--record is for another panel: a replay that is identical is in the record already.")
    with Ethos(settings=settings(given)) as ethos, stages() as progress:
        progress("running the answer again")
        if without or added:
            swapped = swap(ethos, identifier, without, added, keep=record)
            print_json(swapped.as_dict()) if as_json else show_swap(swapped.as_dict())
            return
        again = replay(ethos, identifier).as_dict()
    print_json(again) if as_json else show_replay(again)
    if not again["identical"]:
        raise SystemExit(4)
