"""What each way of inventing personas costs and gives: ``python benchmarks/generation.py FILE [--limit N] [--json]``.

FILE holds scenarios in any form Ethos reads, such as VITAL's JSON; N of them are drawn by the seed. The embedded model
invents six personas for each, from an empty pool, in at most ``--attempts`` rounds. "recovered" counts the valid,
distinct personas of a scenario, or of its best reply where the prompts take a reply only whole; everything to the right
of it is about those. The Vendi score (Friedman & Dieng 2023) is the effective number of different value vectors, each
the mean of a persona's core value and right/duty; "of roles" is that of all stakeholder roles. Odd values raise it too,
hence the mean cosine of the values to their scenario beside it.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from ethos.encoders.embedder import Embedder, Vectors, open_embedder
from ethos.generation.drafts import Brief, Draft, Example
from ethos.generation.generate import generate_personas
from ethos.generation.persona_lines import read_lines
from ethos.generation.persona_schema import EXAMPLES
from ethos.generation.plan import planned
from ethos.llm import LanguageModel, Request, user
from ethos.llm.opening import DEFAULT_MODEL, Endpoint, open_model
from ethos.persona import ATTRIBUTES, LABELS, Persona
from ethos.pipeline.scenario_files import distinct_scenarios, read_items
from ethos.pool.curation.diversity import vendi
from ethos.pool.starter import starter_panels
from ethos.prompts import PromptSet, PromptSetName, prompt_set
from ethos.scenario import Scenario
from ethos.text.cleaning import fold

K = 6


@dataclass(frozen=True)
class Method:
    """One way of inventing personas."""

    prompts: PromptSet
    brief: Callable[[Scenario], Brief]


@dataclass(frozen=True)
class Run:
    """What all rows share."""

    seed: int
    attempts: int


def methods(scenarios: Sequence[Scenario], embedder: Embedder) -> dict[str, Method]:
    """The rows of the table."""
    examples = nearest_examples(scenarios, embedder)
    structured = prompt_set(PromptSetName.STRUCTURED)

    def alone(scenario: Scenario) -> Brief:
        return Brief(scenario, K)

    def with_examples(scenario: Scenario) -> Brief:
        return Brief(scenario, K, examples=examples[scenario.key])

    return {
        "paper": Method(prompt_set(PromptSetName.PAPER), alone),
        "released": Method(prompt_set(PromptSetName.RELEASED), alone),
        "structured": Method(structured, alone),
        "structured, plan": Method(planned(structured), alone),
        "structured, near": Method(structured, with_examples),
    }


def nearest_examples(scenarios: Sequence[Scenario], embedder: Embedder) -> dict[str, tuple[Example, ...]]:
    """For each scenario, by key, the personas of the starter pool's nearest other scenarios."""
    panels = starter_panels()
    held = embedder.encode([panel.scenario.situation for panel in panels])
    cosines = embedder.encode([scenario.situation for scenario in scenarios]) @ held.T
    found = {}
    for scenario, row in zip(scenarios, cosines, strict=True):
        near = [panels[i] for i in np.argsort(-row, kind="stable") if panels[i].scenario.key != scenario.key]
        shown = [Example(panel.scenario.subject, persona) for panel in near for persona in panel.personas]
        found[scenario.key] = tuple(shown[: EXAMPLES * K])
    return found


def recovered(draft: Draft) -> list[Persona]:
    """The personas of a scenario, complete or not; those of the best reply where none was accepted."""
    if draft.personas:
        return draft.personas
    return max((read_lines(draft.brief, call.completion.text)[0] for call in draft.calls), key=len)


def measure(method: Method, scenarios: Sequence[Scenario], model: LanguageModel, embedder: Embedder, run: Run) -> Any:
    """One row of the table."""
    started = time.perf_counter()
    briefs = [method.brief(scenario) for scenario in scenarios]
    drafts = generate_personas(model, briefs, method.prompts, run.seed, run.attempts)
    seconds = time.perf_counter() - started
    calls = [call.completion for draft in drafts for call in draft.calls]
    panels = [recovered(draft) for draft in drafts]
    personas = [persona for panel in panels for persona in panel]
    situations = embedder.encode([scenario.situation for scenario in scenarios])
    vectors = [values(panel, embedder) for panel in panels]
    cosines = np.concatenate([rows @ situation for rows, situation in zip(vectors, situations, strict=True)])
    return {
        "requests": len(calls),
        "rounds": min(run.attempts, 1 + max((f.attempt for draft in drafts for f in draft.failures), default=0)),
        "refused": sum(len(draft.failures) for draft in drafts) / len(calls),
        "incomplete": sum(draft.missing > 0 for draft in drafts),
        "personas": sum(len(draft.personas) for draft in drafts),
        "recovered": len(personas),
        "distinct": {a: len({fold(getattr(p, a)) for p in personas}) for a in ATTRIBUTES},
        "vendi_in_panel": float(np.mean([vendi(rows) for rows in vectors])),
        "vendi_overall": vendi(np.concatenate(vectors)),
        "vendi_roles": vendi(embedder.encode([p.stakeholder_role for p in personas])) if personas else 0.0,
        "cosine": float(cosines.mean()) if len(cosines) else None,
        "tokens_read": sum(call.prompt_tokens for call in calls),
        "tokens_written": sum(call.completion_tokens for call in calls),
        "seconds": seconds,
    }


def values(panel: Sequence[Persona], embedder: Embedder) -> Vectors:
    """Unit rows, one a persona: the mean of its two values."""
    if not panel:
        return np.empty((0, embedder.encode(["nobody"]).shape[1]), dtype=np.float32)
    pairs = embedder.encode([p.core_value for p in panel]) + embedder.encode([p.right_duty for p in panel])
    rows: Vectors = pairs / np.linalg.norm(pairs, axis=1, keepdims=True)
    return rows


def show(rows: dict[str, Any], scenarios: int) -> None:
    """Print the table, and a second one of distinct texts."""
    console = Console()
    table = Table(
        *("prompts", "requests", "rounds", "refused", "incomplete", "personas", "recovered"),
        *("Vendi in panel", "overall", "of roles", "cosine", "read", "written", "seconds"),
    )
    distinct = Table("distinct", "of", *LABELS.values())
    for name, row in rows.items():
        counts = (str(row["requests"]), str(row["rounds"]), f"{row['refused']:.0%}", f"{row['incomplete']}/{scenarios}")
        cosine = "" if row["cosine"] is None else f"{row['cosine']:.3f}"
        vendis = (f"{row['vendi_in_panel']:.2f}", f"{row['vendi_overall']:.1f}", f"{row['vendi_roles']:.1f}")
        costs = (f"{row['tokens_read']:,}", f"{row['tokens_written']:,}", f"{row['seconds']:.1f}")
        table.add_row(name, *counts, str(row["personas"]), str(row["recovered"]), *vendis, cosine, *costs)
        distinct.add_row(name, str(row["recovered"]), *(str(row["distinct"][a]) for a in ATTRIBUTES))
    console.print(table)
    console.print(distinct)


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--limit", default=12, show_default=True, type=click.IntRange(1), help="How many scenarios.")
@click.option("--attempts", default=2, show_default=True, type=click.IntRange(1), help="Rounds at most.")
@click.option("--seed", default=0, show_default=True, help="Of the scenarios and of generation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(file: Path, limit: int, attempts: int, seed: int, as_json: bool) -> None:
    """Measure generation on scenarios of FILE."""
    held = distinct_scenarios(read_items(file))
    scenarios = random.Random(seed).sample(held, min(limit, len(held)))
    model, embedder = open_model(DEFAULT_MODEL, Endpoint()), open_embedder()
    model.generate([Request(user("Hello"), 1, 0.0, 0)])  # loads the weights, which is no row's doing
    rows = {}
    for name, method in methods(scenarios, embedder).items():
        click.echo(f"… {name}", err=True)
        rows[name] = measure(method, scenarios, model, embedder, Run(seed, attempts))
    if as_json:
        click.echo(
            json.dumps({"rows": rows, "scenarios": len(scenarios), "seed": seed, "attempts": attempts}, indent=2)
        )
    else:
        show(rows, len(scenarios))
        click.echo(f"{len(scenarios)} scenarios, seed {seed}, at most {attempts} rounds, {model.identity.name}.")


if __name__ == "__main__":
    main()
