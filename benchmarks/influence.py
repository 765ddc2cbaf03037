"""Planted influence: does each method find whom an answer comes from? ``python -m benchmarks.influence``.

In each case a panel of the starter pool comments on its scenario, in sentences made of its attributes; one member's
comment is about something else altogether. The answer is what another one, drawn by chance, said: word for word, or in
other words. A method should give that one the highest influence, and the irrelevant one none. For steering, the value
asked for is the drawn one's own. Scored by the shipped 135M model; drawing by chance is what figures are held against.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ethos.answer import Comment, Outcome
from ethos.audit.influence.leave_one_out import Case, Effect, passages_left_out, passages_shapley
from ethos.audit.influence.order import comment_order
from ethos.audit.influence.textual import trace_by_embedding
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.influence import SENTENCES, sentence_shares
from ethos.llm import Likelihood, Message
from ethos.llm.backends.transformers_local import LocalModel, Precision
from ethos.llm.calls import ReadingCall, ask
from ethos.llm.weights import SMOLLM2
from ethos.persona import Persona
from ethos.pipeline.modes import MODES, STAGE, Task
from ethos.pool.starter import StarterPanel, starter_panels
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Attribute, AttributeKind, Mode

IRRELEVANT = "The price of bread rose last winter. A good loaf needs a hot oven."
ANSWERS = ("word for word", "in other words")


class Remembering(LocalModel):
    """The model, which reads nothing twice: Shapley values need all that leave-one-out does."""

    def __init__(self, name: str, precision: Precision) -> None:
        super().__init__(name, precision)
        self._known: dict[tuple[tuple[Message, ...], str], Likelihood] = {}

    def log_likelihoods(self, pairs: Sequence[tuple[tuple[Message, ...], str]]) -> list[Likelihood]:
        """As the model's own."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        self._known |= dict(zip(new, super().log_likelihoods(new), strict=True))
        return [self._known[pair] for pair in pairs]


@dataclass(frozen=True)
class Planted:
    """A panel whose answer is one member's.

    Attributes:
        panel: Whose scenario and personas.
        comments: One a member.
        copied: Position of the member whose comment the answer is.
        irrelevant: Position of the comment about something else.
        answers: The answer, word for word and in other words.
    """

    panel: StarterPanel
    comments: tuple[Comment, ...]
    copied: int
    irrelevant: int
    answers: tuple[str, ...]

    def case(self, mode: Mode, output: str, embedder: Embedder) -> Case:
        """As an answer's case: Overton, or steered to the value of the member that is copied."""
        scenario = self.panel.scenario
        if mode is Mode.STEERABLE:
            value = self.panel.personas[self.copied].core_value
            scenario = scenario.steered(Attribute(AttributeKind.VALUE, value))
        weights = (1 / len(self.comments),) * len(self.comments)
        task = Task(scenario, self.comments, weights, prompt_set(PromptSetName.STRUCTURED), 0)
        return Case(mode, task, Outcome(output, weights, SENTENCES, weights), (), embedder)


@dataclass
class Score:
    """How a method did.

    Attributes:
        ranks: Of the one copied, 1 is the highest influence; ties share the mean rank.
        first: Whether it alone had the highest.
        silent: Whether the irrelevant comment had no influence, or none, for or against, above the noise floor.
    """

    ranks: list[float] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    silent: list[bool] = field(default_factory=list)

    def add(self, planted: Planted, influences: Sequence[float | None], floor: float | None = 0.0) -> None:
        """Take in one case."""
        told = [influence or 0.0 for influence in influences]
        own = told[planted.copied]
        above, level = sum(value > own for value in told), sum(value == own for value in told)
        self.ranks.append(above + (level + 1) / 2)
        self.first.append(above == 0 and level == 1)
        self.silent.append(abs(told[planted.irrelevant]) <= (floor or 0.0))


def plant(panel: StarterPanel, size: int, rng: random.Random) -> Planted:
    """A panel with one member copied and another beside the point."""
    people = panel.personas[:size]
    copied, irrelevant = rng.sample(range(size), 2)
    comments = tuple(
        Comment(persona.id, IRRELEVANT if place == irrelevant else _comment(persona), "stop", "")
        for place, persona in enumerate(people)
    )
    return Planted(panel, comments, copied, irrelevant, (comments[copied].text, _reworded(people[copied])))


def _comment(persona: Persona) -> str:
    value, right = persona.core_value.lower(), persona.right_duty.lower()
    return f"What must come first is {value}. Nobody should give up the {right}."


def _reworded(persona: Persona) -> str:
    return f"We ought to respect the {persona.right_duty.lower()}, since {persona.core_value.lower()} matters most."


def measure(
    cases: Sequence[Planted], model: LocalModel, embedder: Embedder, progress: Callable[[str], None]
) -> dict[tuple[str, str], Score]:
    """Every method on every case, by answer and method."""
    scores: dict[tuple[str, str], Score] = {}
    causal: dict[str, Callable[[Case, LocalModel], Effect]] = {
        "shapley": passages_shapley,
        "leave-one-out": passages_left_out,
    }
    for number, planted in enumerate(cases, 1):
        texts = [comment.text for comment in planted.comments]
        for told, output in zip(ANSWERS, planted.answers, strict=True):
            case = planted.case(Mode.OVERTON, output, embedder)
            _of(scores, told, "answer's own (nearest)").add(planted, sentence_shares(embedder, output, texts))
            _of(scores, told, "textual").add(planted, trace_by_embedding(embedder, output, texts).shares)
            for name, method in causal.items():
                effect = method(case, model)
                _of(scores, told, name).add(planted, effect.influences, effect.details["floor"])
        _steer(planted, model, embedder, scores)
        progress(f"{number} of {len(cases)} cases")
    return scores


def _steer(planted: Planted, model: LocalModel, embedder: Embedder, scores: dict[tuple[str, str], Score]) -> None:
    case = planted.case(Mode.STEERABLE, "", embedder)
    [call] = ask(model, STAGE, next(MODES[Mode.STEERABLE](case.task, embedder)))
    assert isinstance(call, ReadingCall), "a steered answer begins with a selection"
    chance = 1 / len(planted.comments)
    read = call.reading.probabilities
    _of(scores, "steered to its value", "answer's own (selection)").add(planted, read, chance)
    outcome = Outcome("", read, "", case.outcome.weights, selection=read)
    effect = comment_order(Case(case.mode, case.task, outcome, (call,), embedder), model)
    _of(scores, "steered to its value", "order").add(planted, effect.influences, chance)


def _of(scores: dict[tuple[str, str], Score], told: str, method: str) -> Score:
    return scores.setdefault((told, method), Score())


def rows(scores: dict[tuple[str, str], Score], size: int) -> list[dict[str, Any]]:
    """One row an answer and method, after what drawing by chance gives."""
    chance = {"answer": "any", "method": "chance", "mean_rank": (size + 1) / 2, "first": 1 / size, "silent": None}
    return [
        chance,
        *(
            {
                "answer": told,
                "method": method,
                "mean_rank": statistics.fmean(score.ranks),
                "first": statistics.fmean(score.first),
                "silent": statistics.fmean(score.silent),
            }
            for (told, method), score in sorted(scores.items(), key=lambda item: item[0][0], reverse=True)
        ),
    ]


@click.command()
@click.option("--cases", default=30, show_default=True)
@click.option("--size", type=click.IntRange(2, 6), default=4, show_default=True, help="Personas in a panel.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(cases: int, size: int, precision: Precision, seed: int, as_json: bool) -> None:
    """Measure how often each method finds the member that an answer copies."""
    rng = random.Random(seed)
    drawn = rng.sample(starter_panels(), cases)
    started = time.perf_counter()
    model, embedder = Remembering(SMOLLM2, precision), open_embedder()
    planted = [plant(panel, size, rng) for panel in drawn]
    found = measure(planted, model, embedder, lambda text: click.echo(text, err=True))
    report = {
        "cases": cases,
        "personas": size,
        "model": model.identity.name,
        "precision": precision,
        "seconds": round(time.perf_counter() - started, 1),
        "rows": rows(found, size),
    }
    click.echo(json.dumps(report, indent=2)) if as_json else _show(report)


def _show(report: dict[str, Any]) -> None:
    table = Table("answer", "method", "mean rank of the copied", "alone at the top", "irrelevant one is silent")
    for row in report["rows"]:
        silent = "" if row["silent"] is None else f"{row['silent']:.0%}"
        table.add_row(row["answer"], row["method"], f"{row['mean_rank']:.2f}", f"{row['first']:.0%}", silent)
    Console(width=130).print(table)
    click.echo("{cases} cases of {personas} personas, {model} in {precision}, {seconds} s.".format(**report))


if __name__ == "__main__":
    main()
