"""How results look to people: tables and panels on stdout, progress on stderr.

Knows plain result values and rich; computes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ethos.pipeline.costs import Spending

NONE = "\N{EN DASH}"

MEANING = {
    "hit": "the pool has a full panel for this scenario",
    "partial": "part of the panel comes from the pool, the rest was invented now",
    "miss": "the pool has nothing near enough; the panel was invented now",
    "fresh": "the pool was not asked; the panel was invented now, as in the paper",
}


def console() -> Console:
    """Standard output, for data; 100 columns where it is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """A spinner on stderr that names the stage; plain lines where stderr is not a terminal."""
    stderr = Console(stderr=True)
    if not stderr.is_terminal:
        yield show_step
        return
    with stderr.status("starting") as status:
        yield lambda text: status.update(text)


def show_step(text: str) -> None:
    """A line on stderr."""
    click.echo(f"… {text}", err=True)


def show_piece(text: str) -> None:
    """A piece of an answer on stdout, at once."""
    click.echo(text, nl=False)
    sys.stdout.flush()


def show_recorded(answer_id: str) -> None:
    """The end of a text that was shown in pieces, and where to look it up."""
    click.echo()
    click.echo(f"Recorded: ethos audit show {answer_id[:12]}", err=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr; one line a tenth where stderr is not a terminal."""
    stderr = Console(stderr=True)
    if not stderr.is_terminal:
        shown = -1

        def advance(done: int, total: int) -> None:
            nonlocal shown
            tenth = 10 * done // max(1, total)
            if tenth > shown:
                shown = tenth
                click.echo(f"… {done} of {total} {what}", err=True)

        yield advance
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table on stdout."""
    shown = Table(*columns, title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for row in rows:
        shown.add_row(*(escape(_text(cell)) for cell in row))
    console().print(shown)


def _text(cell: object) -> str:
    if cell is None:
        return NONE
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def show_answer(answer: dict[str, Any], comments: bool = True) -> None:
    """An answer with its panel, comments and influences."""
    out = console()
    gate = answer["gate"]
    out.print(Text(f"{answer['mode'].capitalize()} · {answer['scenario']}", style="bold"))
    if answer["attribute"]:
        out.print(f"Steered to: {escape(answer['attribute'])}")
    score = f"score {gate['score']:.2f}, threshold {gate['threshold']:.2f}"
    out.print(f"Gate: [bold]{gate['decision']}[/] ({score}): {MEANING[gate['decision']]}")
    if gate["coverage"] is not None:
        demand = f", {gate['required']:.0%} are demanded" if gate["required"] else ""
        out.print(f"The pool's panel covers {gate['coverage']:.0%} of the values estimated to be at stake{demand}.")
    out.print(_panel_table(answer))
    if comments:
        for member in answer["panel"]:
            cut = " …(cut)" if member["comment_finish_reason"] == "length" else ""
            out.print(
                Panel(
                    Text(member["comment"] + cut),
                    title=escape(member["name"]),
                    title_align="left",
                    border_style="dim",
                )
            )
    body: list[Any] = [Text(answer["output"])]
    if answer.get("distribution"):
        body.append(_bars(answer["options"], answer["distribution"]))
    out.print(Panel(Group(*body), title="Answer", title_align="left", border_style="green"))
    out.print(f"[dim]Influence is the {escape(answer['influence_method'])}.[/]")
    for warning in answer["warnings"]:
        out.print(f"[yellow]Note:[/] {escape(warning)}")
    seconds, calls = answer["timings"], answer["calls"]
    if answer["reused"]:
        out.print(f"[dim]Looked up: the same request was answered at {answer['created_at']}; --no-reuse asks anew.[/]")
    else:
        spent = ", ".join(f"{stage} {seconds[stage]:.2f} s" for stage in seconds)
        made = f"{calls['persona']} persona, {calls['comment']} comment, {calls['main']} main calls"
        out.print(f"[dim]{made}; {spent}[/]")
    out.print(f"[dim]Recorded: ethos audit show {answer['answer_id'][:12]}[/]")


def _panel_table(answer: dict[str, Any]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, expand=True)
    shown.add_column("#")
    shown.add_column("Persona", ratio=1)
    shown.add_column("Core value · framework · right/duty · emotion · stakeholder", ratio=3)
    shown.add_column("From")
    shown.add_column("Relevance", justify="right")
    shown.add_column("Influence", justify="right")
    texts = ("core_value", "ethical_framework", "right_duty", "emotion", "stakeholder_role")
    for member in answer["panel"]:
        influence = member["influence"]
        shown.add_row(
            str(member["rank"]),
            escape(member["name"]),
            escape(" · ".join(member[name] for name in texts)),
            member["source"],
            f"{member['relevance']:.2f}",
            NONE if influence is None else f"{influence:.3f}",
        )
    return shown


def _bars(options: Sequence[str], distribution: Sequence[float]) -> Table:
    shown = Table(box=None, show_header=False, padding=(0, 1))
    for letter, option, probability in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", options, distribution, strict=False):
        shown.add_row(f"{letter}.", escape(option), "█" * round(30 * probability), f"{probability:.3f}")
    return shown


def show_spending(cost: Spending, on_stderr: bool) -> None:
    """Where the seconds of one answer or many went, and what did not have to be made."""
    total = cost.seconds.get("total", 0.0)
    shown = Table(box=box.SIMPLE_HEAD, title="Time by stage", title_justify="left")
    for name in ("stage", "seconds", "share", ""):
        shown.add_column(name, justify="left" if name in ("stage", "") else "right")
    between = total - sum(spent for stage, spent in cost.seconds.items() if stage != "total")
    for stage, spent in {**cost.seconds, "total": between}.items():
        share = spent / total if total else 0.0
        name = "the rest" if stage == "total" else stage
        shown.add_row(name, f"{spent:.3f}", f"{share:.0%}", "█" * round(40 * share))
    out = Console(stderr=True, highlight=False) if on_stderr else console()
    out.print(shown)
    calls = ", ".join(f"{count} {stage}" for stage, count in cost.calls.items())
    read, written = cost.tokens.get("prompt", 0), cost.tokens.get("completion", 0)
    out.print(f"{total:.3f} s in all. Calls made: {calls or 'none'}; {read:,} tokens read, {written:,} written.")
    out.print(
        f"{cost.from_pool} of {cost.personas} personas came from the pool, {cost.comments_reused} comments and "
        f"{cost.reused} of {cost.answers} answers from the record."
    )
