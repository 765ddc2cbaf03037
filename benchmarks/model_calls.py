"""Model calls on this machine beside stock transformers: ``python -m benchmarks.model_calls [--precision float32]``.

The comments and the option readings of starter panels by the shipped 135M model: by `LocalModel`, by stock `generate`
one request after another, and by stock `generate` on a left-padded batch. All ways take turns in every round, so that
what else the machine does falls on all; ratios are medians over rounds of the ratio within a round. Comments are
greedy and end by themselves, so figures are in tokens that were used, a second.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.stock import Chat, Stock
from ethos.llm import Request, user
from ethos.llm.backends.transformers_local import LocalModel, Precision
from ethos.llm.engine.packed import PackedLinear
from ethos.llm.weights import SMOLLM2
from ethos.pool.starter import starter_panels
from ethos.prompts import aggregation_prompts, fill, prompt_set
from ethos.text.option_letters import letters

K = 6
SCENARIOS = 4
OPTIONS = "Options: A. Yes B. No C. It depends\nAnswer:"


@dataclass
class Way:
    """One way to do a task.

    Attributes:
        task: What is done.
        name: How it is done.
        run: Does it, and says how many tokens or readings came of it.
        rates: Of those a second, one a round.
    """

    task: str
    name: str
    run: Callable[[], int]
    rates: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Do it once more."""
        started = time.perf_counter()
        made = self.run()
        self.rates.append(made / (time.perf_counter() - started))


def comment_requests(tokens: int) -> list[list[Request]]:
    """For each of several scenarios the comments of its panel."""
    user_text = prompt_set("structured").comments["user"]
    return [
        [
            Request(user(fill(user_text, subject=panel.scenario.subject, persona=persona.line)), tokens, 0.0, seed)
            for seed, persona in enumerate(panel.personas)
        ]
        for panel in starter_panels()[:SCENARIOS]
    ]


def option_prompts(comments: Sequence[str], situation: str) -> dict[str, list[Chat]]:
    """As distributional mode asks, the comment before the question; and with what prompts share in front."""
    template, question = aggregation_prompts().distributional["choice"], f"{situation} Is this right?"
    rules = "Judge the situation as the person who made the comment would. Read it with care and be fair to it."
    return {
        "options, comment first": [
            user(fill(template, comment=c, question=f"{question}\n{OPTIONS}")) for c in comments
        ],
        "options, comment last": [
            user(f"{rules}\n\n{situation * 3}\n\n{OPTIONS}\n\nComment: {c[:120]}\nAnswer:") for c in comments
        ],
    }


def ways(ours: LocalModel, stock: Stock, tokens: int) -> list[Way]:
    """All ways of all tasks; the first way of a task is what the others are held against."""

    def write(*calls: Sequence[Request]) -> int:
        return sum(completion.completion_tokens for call in calls for completion in ours.generate(call))

    def alone(requests: Sequence[Request]) -> int:
        return sum(stock.generate([request]) for request in requests)

    first = comment_requests(tokens)[0]
    panels = comment_requests(tokens // 3)  # a third, so that all of it takes minutes
    everything = [request for panel in panels for request in panel]
    six, many = f"{K} comments of one scenario", f"{len(everything)} comments of {SCENARIOS} scenarios"
    found = [
        # Every other one: what is slow is the same for each, and a rate is what is compared.
        Way(six, "stock, one by one", lambda: alone(first[::2])),
        Way(six, "stock batch", lambda: stock.generate(first)),
        Way(six, "Ethos", lambda: write(first)),
        Way(many, "stock batch", lambda: stock.generate(everything)),
        Way(many, "Ethos, a call a scenario", lambda: write(*panels)),
        Way(many, "Ethos, one call", lambda: write(everything)),
    ]
    for task, prompts in _readings(ours, panels[0]).items():
        found += [
            Way(task, "stock, one by one", lambda prompts=prompts: len([*map(stock.option_probabilities, prompts)])),
            Way(task, "Ethos", lambda prompts=prompts: len(ours.option_probabilities(prompts, letters(3)))),
        ]
    return found


def _readings(ours: LocalModel, requests: Sequence[Request]) -> dict[str, list[Chat]]:
    return option_prompts([c.text for c in ours.generate(requests)], starter_panels()[0].scenario.situation)


def largest_difference(ours: LocalModel, stock: Stock, requests: Sequence[Request]) -> float:
    """Between our option probabilities and stock ones."""
    pairs = [
        (ours.option_probabilities(prompts, letters(3)), [*map(stock.option_probabilities, prompts)])
        for prompts in _readings(ours, requests).values()
    ]
    return max(
        abs(a - b)
        for readings, expected in pairs
        for reading, row in zip(readings, expected, strict=True)
        for a, b in zip(reading.probabilities, row, strict=True)
    )


def summary(measured: Sequence[Way]) -> list[dict[str, Any]]:
    """One row a way: median, lowest and highest rate, and the ratio to each way before it of the same task."""
    rows = []
    for way in measured:
        before = [other for other in measured[: measured.index(way)] if other.task == way.task]
        rows.append(
            {
                "task": way.task,
                "way": way.name,
                "median_per_s": statistics.median(way.rates),
                "lowest_per_s": min(way.rates),
                "highest_per_s": max(way.rates),
                "ratios": {
                    other.name: statistics.median(a / b for a, b in zip(way.rates, other.rates, strict=True))
                    for other in before
                },
            }
        )
    return rows


@click.command()
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", show_default=True)
@click.option("--tokens", default=120, show_default=True, help="Most tokens of a comment.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=240, show_default=True, help="No round starts that would end after this.")
@click.option("--threads", default=1, show_default=True, help="Of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(precision: Precision, tokens: int, rounds: int, seconds: int, threads: int, as_json: bool) -> None:
    """Measure comments and option readings on this machine."""
    begun = time.perf_counter()
    torch.set_num_threads(threads)
    ours, stock = LocalModel(SMOLLM2, precision), Stock(precision)
    warm_up = [Request(request.messages, 2, 0.0, 0) for request in comment_requests(2)[0]]
    stock.generate(warm_up)
    difference = largest_difference(ours, stock, warm_up)
    measured = ways(ours, stock, tokens)
    started = time.perf_counter()
    for done in range(rounds):
        now = time.perf_counter()
        if done and now + (now - started) / done > begun + seconds:
            break
        for way in measured:
            way.measure()
    report = {
        "precision": precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "packed_layers": sum(isinstance(layer, PackedLinear) for layer in ours._model.modules()),
        "rounds": len(measured[0].rates),
        "tokens": tokens,
        "largest_probability_difference": difference,
        "rows": summary(measured),
    }
    click.echo(json.dumps(report, indent=2)) if as_json else _show(report)


def _show(report: dict[str, Any]) -> None:
    table = Table("task", "way", "a second", "lowest to highest", "times")
    for row in report["rows"]:
        ratios = ", ".join(f"{ratio:.2f} x {name}" for name, ratio in row["ratios"].items())
        spread = f"{row['lowest_per_s']:.1f} to {row['highest_per_s']:.1f}"
        table.add_row(row["task"], row["way"], f"{row['median_per_s']:.1f}", spread, ratios)
    Console(width=130).print(table)
    click.echo(
        "{precision}, {threads} thread(s), torch {torch}, transformers {transformers}, {packed_layers} packed layers, "
        "medians of {rounds} round(s), at most {tokens} tokens a comment.\n"
        "Tokens a second for comments, prompts a second for options, whose probabilities differ from stock by "
        "{largest_probability_difference:.2g} at most.".format(**report)
    )


if __name__ == "__main__":
    main()
