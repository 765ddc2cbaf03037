"""How lineages, influences and replays look to people. Knows plain result values and rich; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from ethos.cli.output.render import console, show_answer, table


def show_lineage(found: dict[str, Any]) -> None:
    """A whole lineage, but for the texts of prompts and replies."""
    show_answer(found)
    embedder = found["embedder"]
    names = {member["persona_id"]: member["name"] for member in found["panel"]}
    out = console()
    if found["withheld"]:
        out.print("[yellow]Note:[/] this record withholds what was asked and said: digests, or nothing, stand for it")
    for who, change in found["since"].items():
        shown = f"{change['status']} since {change['created_at']}: {change['reason']}"
        out.print(f"[yellow]Note:[/] {escape(names[who])} is {escape(shown)}")
    _seats(found["panel"])
    if found["candidates"]:
        table(
            ("persona", "relevance", "what became of it"),
            [(one["name"], one["relevance"], one["fate"]) for one in found["candidates"]],
            "Candidates",
        )
    _influences(found["attributions"], names)
    for one in found["attributions"]:
        _details(one["details"], names)
    _agreement(found["agreement"])
    table(
        ("stage", "call", "prompt", "read", "written", "finished", "seconds", "reused"),
        [
            (
                c["stage"],
                c["id"][:12],
                c["prompt_id"][:12],
                c["prompt_tokens"],
                c["completion_tokens"],
                c["finish_reason"] or "reading",
                c["seconds"],
                "yes" if c["reused"] else "no",
            )
            for c in found["model_calls"]
        ],
        "Model calls",
    )
    for model in dict.fromkeys(_model(call) for call in found["model_calls"]):
        out.print(f"[dim]{escape(model)}[/]")
    encoder = f"{embedder['name']} {embedder['revision']}" if embedder else "not recorded"
    out.print(
        f"[dim]Made at {found['created_at']} by Ethos {found['version']}; prompts {escape(found['prompts'])}, "
        f"seed {found['seed']}, embedder {escape(encoder)}. Prompts and replies: --json or --html FILE.[/]"
    )


def _model(call: dict[str, Any]) -> str:
    """Who was asked, in full."""
    parts = (call["model"], f"revision {call['model_revision'] or 'not reported'}", call["model_precision"])
    return f"{call['stage'].capitalize()}: {', '.join(part for part in parts if part)}"


def _seats(panel: Sequence[dict[str, Any]]) -> None:
    """Why each member was chosen, and what weighs for it."""
    numbers = [name for name in ("weight", "selection_probability", "distribution") if name in panel[0]]
    shown = {"weight": "prior", "selection_probability": "selected", "distribution": "options"}
    table(
        ("persona", *(shown[name] for name in numbers), "why chosen"),
        [(member["name"], *(_numbers(member[name]) for name in numbers), member["reason"]) for member in panel],
        "Panel",
    )


def _numbers(value: float | list[float] | None) -> object:
    return " ".join(f"{one:.3f}" for one in value) if isinstance(value, list) else value


def show_influence(found: dict[str, Any], names: Mapping[str, str]) -> None:
    """What one method found."""
    _influences([found], names)
    _details(found["details"], names)
    _agreement(found["agreement"])


def _details(details: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """What only one method has."""
    out = console()
    for sentence in details.get("sentences", ()):
        whose = ", ".join(names[one] for one in sentence["supported_by"]) or "unsupported"
        out.print(f"{escape(sentence['text'])} [dim]({escape(whose)})[/]")
    if details.get("dropped"):
        out.print(f"[yellow]In no sentence:[/] {escape(', '.join(names[one] for one in details['dropped']))}")
    if details.get("floor") is not None:
        above = sum(details["above_floor"])
        out.print(
            f"Noise floor from re-ordered passages: {details['floor']:.4f}; {above} of {len(names)} are above it."
        )
    if "runner_up" in details:
        shown = "the same answer" if details["same"] else "another answer"
        out.print(
            f"Margin {details['margin']:.3f}. The runner-up, {escape(names[details['runner_up']])}, gives {shown}:"
        )
        out.print(Panel(Text(details["output"]), border_style="dim"))
    for what, part in (("selected comment", details), ("chosen option", details.get("options", {}))):
        if "stable" in part:
            shown = "chosen option" if "choice_in_rotations" in part else what
            out.print(f"The {shown} is the same in {part['stable']:.0%} of the rotations.")


def show_replay(again: dict[str, Any]) -> None:
    """Whether a replay was identical, and where not."""
    out = console()
    if again["identical"]:
        out.print(f"[green]Identical:[/] all {again['calls']} calls and the answer, in {again['seconds']:.2f} s.")
        return
    out.print(f"[yellow]Diverged[/] in {len(again['divergences'])} places of {again['calls']} calls:")
    for one in again["divergences"]:
        where = f"call {one['number']} ({one['stage']})" if one["number"] else one["stage"]
        at = "" if one["character"] is None else f", at character {one['character']}"
        out.print(f"  {where}: {escape(one['what'])}{at}")
        if one["character"] is not None:
            out.print(f"    was {escape(repr(one['recorded']))}\n    is  {escape(repr(one['replayed']))}")


def show_swap(found: dict[str, Any]) -> None:
    """An answer beside the one that another panel gives."""
    out, before, after = console(), found["before"], found["after"]
    for answer, title in ((before, "As recorded"), (after, "With the other panel")):
        out.print(Panel(Text(answer["output"]), title=title, title_align="left"))
    table(
        ("persona", "influence before", "influence after"),
        [
            (name, *(by_id.get(who) for by_id in (_own(before), _own(after))))
            for who, name in {m["persona_id"]: m["name"] for m in (*before["panel"], *after["panel"])}.items()
        ],
    )
    if found["first_difference"] is None:
        out.print("The text of the answer is the same.")
    else:
        out.print(f"The text differs from character {found['first_difference']} on.")
    if found["distance"] is not None:
        out.print(f"JS distance of the options (natural log): {found['distance']:.4f}")
    for warning in after["warnings"]:
        out.print(f"[yellow]Note:[/] {escape(warning)}")
    shown = (
        f"Recorded: ethos audit show {after['answer_id'][:12]}" if found["recorded"] else "Not stored; --record does."
    )
    out.print(f"[dim]{shown}[/]")


def _own(answer: dict[str, Any]) -> dict[str, float | None]:
    return {member["persona_id"]: member["influence"] for member in answer["panel"]}


def _influences(attributions: list[dict[str, Any]], names: Mapping[str, str]) -> None:
    table(
        ("persona", *(one["method"] for one in attributions)),
        [(name, *(one["influences"].get(who) for one in attributions)) for who, name in names.items()],
        "Influence",
    )
    for one in attributions:
        console().print(f"[dim]{escape(one['method'])}: {escape(one['meaning'])}.[/]")


def _agreement(pairs: list[dict[str, Any]]) -> None:
    if pairs:
        rows = [(" and ".join(pair["methods"]), pair["spearman"]) for pair in pairs]
        table(("methods", "Spearman"), rows, "What the methods agree on")
