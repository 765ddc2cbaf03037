"""Looking back over many answers: ``python -m benchmarks.audit [--answers 10000] [--asked 50] [--json]``.

Fills a pool in a temporary folder with synthetic answers, past the pipeline, as rows that it would write: six comments
of 180 words and an answer of 150 each, by personas of the starter pool of whom few are asked often and most seldom.
Then measures what an auditor waits for, within a process and as a command.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert

from ethos.audit.reading import show_answer, show_persona
from ethos.audit.statistics import stats
from ethos.encoders.embedder import open_embedder
from ethos.llm import ModelIdentity
from ethos.persona import OriginKind
from ethos.pool.maintenance.full_text import Filter, search
from ethos.pool.starter import starter_panels
from ethos.pool.storage import schema
from ethos.pool.storage.database import Database
from ethos.pool.storage.ledger import faults
from ethos.pool.storage.personas import Store
from ethos.pool.storage.record import Record
from ethos.pool.storage.rows import put_model, text_id
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

BLOCK = 500  # answers of one transaction
MODES = ("overton", "steerable", "distributional")
START = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = (ModelIdentity("transformers:small"), ModelIdentity("openai:large"))


def fill(database: Database, answers: int, seed: int) -> None:
    """Write the starter pool's personas, and answers of which they are the panels."""
    store, rng = Store(database), random.Random(seed)
    panels = starter_panels()
    for panel in panels:
        store.add(panel.scenario, panel.personas, Origin(OriginKind.CURATED))
    people = [persona for panel in panels for persona in panel.personas]
    rng.shuffle(people)
    weights = [1 / (rank + 5) for rank in range(len(people))]
    words = " ".join(" ".join(persona.texts()) for persona in people).split()
    with database.write() as connection:
        for model in MODELS:
            put_model(connection, model)
    for start in range(0, answers, BLOCK):
        rows: dict[type[schema.Base], list[dict[str, Any]]] = {}
        for number in range(start, min(start + BLOCK, answers)):
            situation = f"{rng.choice(panels).scenario.situation}, case {number}"
            chosen = list(dict.fromkeys(rng.choices(people, weights, k=40)))[:6]
            _answer(
                rows, number, situation, [persona.id for persona in chosen], lambda n: " ".join(rng.choices(words, k=n))
            )
        with database.write() as connection:
            for table in sorted(rows, key=lambda t: schema.Base.metadata.sorted_tables.index(t.__table__)):
                connection.execute(insert(table).prefix_with("OR IGNORE"), rows[table])


def _answer(
    rows: dict[type[schema.Base], list[dict[str, Any]]],
    number: int,
    situation: str,
    personas: Sequence[str],
    written: Callable[[int], str],
) -> None:
    """Add the rows of one answer: seven calls with their prompts and completions, six seats."""
    at = (START + timedelta(minutes=40 * number)).isoformat(timespec="seconds")
    scenario, model = Scenario(situation), MODELS[number % 2]
    answer_id, record = f"{number:032x}", {"gate": {"decision": "hit", "score": 0.8, "threshold": 0.45}}

    def add(table: type[schema.Base], **row: Any) -> None:
        rows.setdefault(table, []).append(row)

    add(schema.ScenarioRow, id=scenario.key, situation=situation, options=[], created_at=at)
    said = [written(180) for _ in personas]
    output = written(150)
    prompts = [f'[{{"role": "user", "content": "{situation} {persona}"}}]' for persona in personas]
    prompts.append(json.dumps([{"role": "user", "content": "\n".join([situation, *said])}]))
    for place, (prompt, reply) in enumerate(zip(prompts, [*said, output], strict=True)):
        call_id, stage = f"{number:024x}{place:08x}", "main" if place == len(personas) else "comment"
        for text in (prompt, reply):
            add(schema.TextRow, id=text_id(text), content=text)
        add(
            schema.CallRow,
            **{"id": call_id, "key": call_id, "stage": stage, "model_id": model.id, "parameters": {}, "created_at": at},
            **{"prompt_id": text_id(prompt), "completion_id": text_id(reply), "reading": None, "finish_reason": "stop"},
            **{"prompt_tokens": 300, "completion_tokens": 200, "seconds": 1.0},
        )
        add(schema.AnswerCallRow, answer_id=answer_id, position=place, call_id=call_id, reused=False)
    nothing = {"distribution": None, "selection": None, "adds": [], "displaced": None}
    for rank, persona in enumerate(personas, start=1):
        call_id = f"{number:024x}{rank - 1:08x}"
        seat = {"source": "pool", "relevance": 0.7, "reason": "covers the values at stake", "record": nothing}
        add(
            schema.MemberRow,
            **{"answer_id": answer_id, "rank": rank, "persona_id": persona, "comment_call_id": call_id, **seat},
            **{"weight": 1 / 6, "influence": (7 - rank) / 21},
        )
    told = {"choice": None, "distribution": None, "influence_method": "share", "label_mass": None}
    counts = {"calls": {}, "tokens": {}, "timings": {"total": 7.0}, "warnings": [], "finish_reason": "stop"}
    add(
        schema.AnswerRow,
        **{"id": answer_id, "created_at": at, "mode": MODES[number % 3], "scenario_id": scenario.key, "seed": 0},
        **{"attribute": None, "options": [], "wording": "", "output": output, "prompt_set": "structured-2"},
        **{"version": "0", "record": {**record, **told, **counts, "models": {"main": model.name}}, "request": None},
    )


def median(work: Callable[[Any], object], given: Sequence[Any]) -> tuple[float, float]:
    """Median and greatest time of a call, milliseconds."""
    spent = []
    for one in given:
        began = time.perf_counter()
        work(one)
        spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent), max(spent)


def measure(folder: Path, answers: int, asked: int) -> dict[str, Any]:
    """What each thing an auditor does takes, and how large the files are."""
    database, embedder = Database(folder), open_embedder()
    began = time.perf_counter()
    fill(database, answers, seed=0)
    rows = [_row("fill the pool", (1000 * (time.perf_counter() - began),) * 2, 1)]
    store, record, rng = Store(database), Record(database), random.Random(1)
    people = [persona for persona, _ in store.personas()]
    some = [persona.id for persona in rng.sample(people, min(asked, len(people)))]
    words = [rng.choice(rng.choice(people).texts()).split()[0].strip('",') for _ in range(asked)]
    ids = [f"{rng.randrange(answers):032x}" for _ in range(asked)]

    def find(wanted: Filter) -> Callable[[str], object]:
        return lambda word: search(database, word, wanted, 20)

    narrow = Filter(mode="overton", model="large", since="2026-02", framework="ethics", stakeholder="nurse")
    for name, work, given in (
        ("search, first: words are taken in", find(Filter()), words[:1]),
        ("search, one word", find(Filter()), words),
        ("search, two words", lambda word: search(database, f"{word} care", Filter(), 20), words),
        ("search, all filters", find(narrow), words),
        ("persona", lambda one: show_persona(store, record, one, 50), some),
        ("show", lambda one: show_answer(record, one), ids),
        ("list", lambda _: record.answers(50), ids),
        ("stats", lambda _: stats(database, lambda texts: _encoded(embedder, texts)), [0]),
        ("verify", lambda _: _faults(database), [0]),
    ):
        rows.append(_row(name, median(work, given), len(given)))
    database.close()
    for name, arguments in (("persona", [some[0]]), ("search", ["care"])):
        command = [sys.executable, "-m", "ethos.cli", "audit", name, *arguments, "--json", "--pool", str(folder)]
        run = median(lambda _, told=command: subprocess.run(told, check=True, capture_output=True), range(5))
        rows.append(_row(f"ethos audit {name}, as a process", run, 5))
    sizes = {path.name: round(path.stat().st_size / 1e6, 1) for path in sorted(folder.glob("*.db"))}
    return {"answers": answers, "rows": rows, "size_mb": sizes}


def _encoded(embedder: Any, texts: Any) -> dict[str, Any]:
    listed = list(dict.fromkeys(texts))
    return dict(zip(listed, embedder.encode(listed), strict=True))


def _faults(database: Database) -> None:
    with database.read() as connection:
        assert not faults(connection)


def _row(name: str, spent: tuple[float, float], times: int) -> dict[str, Any]:
    return {"what": name, "median_ms": round(spent[0], 1), "most_ms": round(spent[1], 1), "times": times}


@click.command()
@click.option("--answers", type=int, default=10_000, show_default=True)
@click.option("--asked", type=int, default=50, show_default=True, help="Calls of each kind.")
@click.option("--keep", type=click.Path(path_type=Path), help="Leave the pool there.")
@click.option("--json", "as_json", is_flag=True)
def main(answers: int, asked: int, keep: Path | None, as_json: bool) -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as scratch:
        report = measure(keep or Path(scratch) / "pool", answers, asked)
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    table = Table("what", "median ms", "most ms", "times", title=f"{answers:,} answers")
    for row in report["rows"]:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    click.echo("; ".join(f"{name} {size} MB" for name, size in report["size_mb"].items()))


if __name__ == "__main__":
    main()
