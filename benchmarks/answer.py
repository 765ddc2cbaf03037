"""What the pool and the record save: ``python -m benchmarks.answer [--vital DIR] [--quick] [--json]``.

With the shipped 135M model, on this machine, everything else included:

* a hit: an Overton answer whose panel the pool has, against the procedure that was published (a persona call, then one
  comment after another, then the summary) by stock transformers: the same weights in the same precision, the prompts of
  the hit, and as many tokens each. A model this small cannot keep to the format of the published persona call, so its
  reply is given the length of the panel's lines.
* fresh: the same answer with invented personas, by our prompts; which share of its time inventing takes.
* repeat: the very same request again, both times as a new process: interpreter, imports and all.
* build: personas for 32 scenarios, packed into full batches, against one scenario at a time, in turns.

With ``--vital DIR``, counted by a scripted model: the persona calls for every row of VITAL's OpinionQA file, row by row
as published, and with a pool, where a question is asked of many groups and needs one panel.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.stock import Stock
from ethos import Ethos, Settings
from ethos.answer import Decision, Sourcing
from ethos.encoders.embedder import open_embedder
from ethos.generation.drafts import Brief
from ethos.generation.generate import generate_personas
from ethos.llm import LanguageModel, Message, Request, user
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.opening import DEFAULT_MODEL, Endpoint, open_model
from ethos.pipeline.comments import STAGE as COMMENT
from ethos.pipeline.modes import STAGE as MAIN
from ethos.pipeline.panel import Assembly, PanelRequest, assemble
from ethos.pipeline.scenario_files import distinct_scenarios, read_items
from ethos.pool.build import build
from ethos.pool.curation.statistics import statistics as pool_statistics
from ethos.pool.pool import Pool
from ethos.pool.starter import install, starter_panels
from ethos.pool.storage.record import Record
from ethos.prompts import PromptSetName, fill, prompt_set
from ethos.scenario import Scenario

OPINIONQA = "vital_steerable_opinionqa.json"
ROUNDS = 5  # of building
CHUNK = 64  # rows retrieved side by side
REPEATED = "Should nurses be vaccinated against the flu?"
VERBS = ("Reading", "Selling", "Hiding", "Copying", "Keeping", "Burning", "Lending", "Searching for")
THINGS = ("the diary of a friend", "a borrowed bicycle", "an old debt", "a neighbour's letters")
UNKNOWN = [f"{verb} {thing}" for verb in VERBS for thing in THINGS]


def hit(folder: Path, precision: str, k: int) -> dict[str, Any]:
    """An Overton answer with personas of the pool, invented ones, and as published, all in one precision."""
    model = _loaded(precision)
    stock = Stock(model.identity.precision)
    scenario = Scenario(f"Is this right? {starter_panels()[0].scenario.situation}")  # near, but not what the pool has
    with Ethos(model=model, settings=Settings(pool=folder / f"hit-{precision}", k=k)) as ethos:
        install(ethos.pool)
        ethos.embedder.encode(["loads the encoder, which is no row's doing"])
        answer = ethos.answer(scenario)
        calls = [call for call in ethos.record.calls(answer.answer_id) if call["stage"] in (COMMENT, MAIN)]
    assert answer.panel.gate.decision is Decision.HIT
    with Ethos(model=model, settings=Settings(pool=folder / f"fresh-{precision}", k=k)) as ethos:
        fresh = ethos.answer(scenario, personas=Sourcing.FRESH)
    lines = "\n".join(member.persona.line for member in answer.panel.members)
    published = _published(scenario, stock, lines, calls)
    ours = answer.timings["total"]
    return {
        "precision": model.identity.precision,
        "hit": {"seconds": ours, "tokens": answer.tokens["completion"]},
        "published": published,
        "ratio": published["seconds"] / ours,
        "fresh": {
            "seconds": fresh.timings["total"],
            "tokens": fresh.tokens["completion"],
            "persona_share": fresh.timings["persona"] / fresh.timings["total"],
        },
    }


def _published(scenario: Scenario, stock: Stock, lines: str, calls: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The released procedure's calls, one after another, by stock transformers."""
    table = prompt_set(PromptSetName.RELEASED).personas
    text = fill(table["user"], k=6, subject=scenario.subject)
    invent = Request(user(text, table["system"]), table["max_tokens"], table["temperature"], 0)
    asked = [(invent, stock.tokens(lines)), *((_request(call), call["completion_tokens"]) for call in calls)]
    seconds = []
    for request, tokens in asked:
        started = time.perf_counter()
        stock.write(request, tokens)
        seconds.append(time.perf_counter() - started)
    return {"seconds": sum(seconds), "persona_seconds": seconds[0], "tokens": sum(tokens for _, tokens in asked)}


def _request(call: dict[str, Any]) -> Request:
    """What a recorded call asked."""
    messages = tuple(Message(**message) for message in json.loads(call["prompt"]))
    asked = call["parameters"]
    return Request(messages, asked["max_tokens"], asked["temperature"], asked["seed"])


def repeat(folder: Path, k: int) -> dict[str, Any]:
    """The same request twice, each time by a new process."""
    command = [sys.executable, "-m", "ethos.cli", "answer", REPEATED, "--json", "--k", str(k)]
    seconds, found = [], []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run([*command, "--pool", str(folder / "repeat")], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
        found.append(json.loads(done.stdout))
    assert [answer["reused"] for answer in found] == [False, True, True]
    again = min(seconds[1:])
    return {"first_seconds": seconds[0], "again_seconds": again, "ratio": seconds[0] / again}


def throughput(folder: Path, model: LanguageModel, scenarios: int, k: int, rounds: int) -> dict[str, Any]:
    """Personas a second, packed and not, with another seed each round; the ratios are the rounds' own."""
    asked, embedder = list(map(Scenario, UNKNOWN[:scenarios])), open_embedder()
    prompts = prompt_set(PromptSetName.STRUCTURED)
    widths = {"packed": len(asked), "one at a time": 1}
    speeds: dict[str, list[float]] = {name: [] for name in widths}
    for seed in range(rounds):
        for name, width in widths.items():
            pool = Pool(folder / f"{name}, {seed}", embedder)
            record, made = Record(pool.database), 0
            started = time.perf_counter()
            for start in range(0, len(asked), width):
                batch = asked[start : start + width]
                made += build(pool, record, batch, lambda: model, prompts, k, seed, lambda _: None).personas
            speeds[name].append(made / (time.perf_counter() - started))
            pool.close()
    ratios = [packed / single for packed, single in zip(*speeds.values(), strict=True)]
    return {
        "personas_a_second": {name: statistics.median(taken) for name, taken in speeds.items()},
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "k": k,
        "scenarios": scenarios,
        "rounds": rounds,
    }


def persona_calls(folder: Path, file: Path, k: int, limit: int | None) -> dict[str, Any]:
    """Persona calls for every row of a file: published, row by row; and with a pool that starts empty."""
    items = read_items(file)[:limit]
    prompts = prompt_set(PromptSetName.STRUCTURED)
    row_by_row, pooled = ScriptedModel(_distinct_personas()), ScriptedModel(_distinct_personas())
    for item in items:
        generate_personas(row_by_row, [Brief(item.scenario, k)], prompts, 0)
    pool = Pool(folder / "vital", open_embedder())
    record, request = Record(pool.database), PanelRequest(k, Sourcing.AUTO, prompts, 0)
    panels: list[object] = []
    for start in range(0, len(items), CHUNK):
        scenarios = [item.scenario for item in items[start : start + CHUNK]]
        panels += assemble(pool, record, scenarios, request, lambda: pooled)
    made = pool_statistics(pool.database)["scenarios_with_panel"]
    pool.close()
    assert all(isinstance(panel, Assembly) for panel in panels)
    calls = {name: sum(map(len, model.batches)) for name, model in (("row by row", row_by_row), ("pool", pooled))}
    return {
        "rows": len(items),
        "questions": len(distinct_scenarios(items)),
        "panels_made": made,
        "calls": calls,
        "ratio": calls["row by row"] / calls["pool"],
    }


def _distinct_personas() -> Callable[[Request], str]:
    """A persona within the schema, unlike all others."""
    number = count()

    def reply(request: Request) -> str:
        assert request.schema
        properties, n = json.loads(request.schema)["properties"], next(number)
        drawn = {name: properties[name]["enum"][0] for name in ("ethical_framework", "emotion")}
        named = {"name": f"Person {n}", "core_value": f"Value {n}", "right_duty": f"Duty {n}"}
        return json.dumps({**named, **drawn, "stakeholder_role": f"Role {n}"})

    return reply


def _loaded(precision: str) -> LanguageModel:
    """The shipped model with its weights in memory, since loading them is no row's doing."""
    model = open_model(DEFAULT_MODEL, Endpoint(), precision)
    model.generate([Request(user("Hello"), 1, 0.0, 0)])
    return model


def show(found: dict[str, Any]) -> None:
    """Print a table of what was measured."""
    table = Table("what", "with Ethos", "otherwise", "ratio")
    again, built = found["repeat"], found["build"]
    for one in found["hits"]:
        ours, published, fresh = one["hit"], one["published"], one["fresh"]
        table.add_row(
            f"Overton answer on a hit, against the published procedure, {one['precision']}",
            f"{ours['seconds']:.1f} s, {ours['tokens']:,} tokens",
            f"{published['seconds']:.1f} s, {published['tokens']:,} tokens",
            f"{one['ratio']:.1f}",
        )
        table.add_row(
            f"… against our own invented personas, {one['precision']}",
            f"{ours['seconds']:.1f} s",
            f"{fresh['seconds']:.1f} s, of which inventing {fresh['persona_share']:.0%}",
            f"{fresh['seconds'] / ours['seconds']:.1f}",
        )
    table.add_row(
        "the same request again, each a new process",
        f"{again['again_seconds']:.2f} s",
        f"{again['first_seconds']:.1f} s",
        f"{again['ratio']:.0f}",
    )
    table.add_row(
        f"building for {built['scenarios']} scenarios, packed, {built['rounds']} rounds",
        *(f"{speed:.2f} personas/s" for speed in built["personas_a_second"].values()),
        f"{built['ratio']:.1f} ({min(built['ratios']):.1f} to {max(built['ratios']):.1f})",
    )
    if vital := found.get("vital"):
        table.add_row(
            f"persona calls for {vital['rows']:,} rows of OpinionQA ({vital['questions']} questions)",
            f"{vital['calls']['pool']:,} for {vital['panels_made']} panels",
            f"{vital['calls']['row by row']:,}",
            f"{vital['ratio']:.1f}",
        )
    Console(width=120).print(table)


@click.command()
@click.option("--vital", type=click.Path(exists=True, file_okay=False, path_type=Path), help="VITAL's folder.")
@click.option("--k", default=6, show_default=True, type=click.IntRange(2, 9), help="Personas in a panel.")
@click.option("--quick", is_flag=True, help="Panels of two, two scenarios, 200 rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(vital: Path | None, k: int, quick: bool, as_json: bool) -> None:
    """Measure what the pool and the record save."""
    k, scenarios, rounds = (2, 2, 1) if quick else (k, len(UNKNOWN), ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, Any] = {"k": k}
        if vital:
            click.echo("… persona calls", err=True)
            found["vital"] = persona_calls(folder, vital / OPINIONQA, k, 200 if quick else None)
        click.echo("… the same request again", err=True)
        found["repeat"] = repeat(folder, k)
        click.echo("… building", err=True)
        found["build"] = throughput(folder, _loaded("auto"), scenarios, k, rounds)
        click.echo("… a hit", err=True)
        found["hits"] = [hit(folder, precision, k) for precision in ("auto", "float32")]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(found)
        click.echo(f"Panels of {k}, {DEFAULT_MODEL}, as precise as the processor likes it where nothing is said.")


if __name__ == "__main__":
    main()
