"""Ethos: fresh panels with each prompt set, and panels from a pool. Scenarios go through `Ethos.answer_all` together.

No question leaves a trace that another could find: the pool does not learn, so that an item's answer depends neither
on the order of the items nor on where a run was stopped, and no test scenario enters a pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ethos.answer import Answer, Sourcing
from ethos.errors import EthosError
from ethos.evaluation.methods import Factory, Method, Workshop
from ethos.evaluation.tasks.prediction import Prediction
from ethos.persona import ATTRIBUTES
from ethos.pipeline.ethos import Ethos
from ethos.pipeline.settings import Settings
from ethos.prompts import PromptSetName
from ethos.scenario import Mode, Scenario
from ethos.text.option_letters import LETTERS

FRESH = "fresh"  # folders of the run in which the methods keep their records
POOL = "pool"


@dataclass(frozen=True)
class Panels:
    """Answers from panels of personas.

    Attributes:
        name: The method's.
        ethos: What answers.
        personas: Where personas may come from.
    """

    name: str
    ethos: Ethos
    personas: Sourcing

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """See `Method`."""
        asked = [(scenario, mode) for scenario in scenarios]
        answers = self.ethos.answer_all(asked, personas=self.personas, seed=seed)
        return [one if isinstance(one, EthosError) else prediction_of(one) for one in answers]

    def close(self) -> None:
        """Release the pool."""
        self.ethos.close()


def fresh(prompts: PromptSetName) -> Factory:
    """The method that invents every panel, as the paper does, with one prompt set: ``ethos-paper``."""

    def make(workshop: Workshop) -> Method:
        return Panels(f"ethos-{prompts}", _ethos(workshop, workshop.folder / FRESH, prompts), Sourcing.FRESH)

    return make


def pooled(workshop: Workshop) -> Method:
    """Panels from the run's copy of the pool."""
    settings = workshop.settings
    return Panels("ethos-pool", _ethos(workshop, workshop.folder / POOL, settings.prompts), settings.personas)


def _ethos(workshop: Workshop, folder: Path, prompts: PromptSetName) -> Ethos:
    given, main = workshop.settings, workshop.model
    ethos = Ethos(
        model=workshop.open(main),
        comment_model=workshop.open(given.comment_model or main),
        persona_model=workshop.open(given.persona_model or main),
        settings=Settings(
            pool=folder, embedder=given.embedder, prompts=prompts, k=given.k, threshold=given.threshold, learn=False
        ),
    )
    if set(given.attributes) != set(ATTRIBUTES):
        told = [name for name in ATTRIBUTES if name in given.attributes]
        comments = {**ethos.prompts.comments, "attributes": told}
        version = f"{ethos.prompts.version}+{'+'.join(told)}"
        ethos.prompts = replace(ethos.prompts, version=version, comments=comments)
    return ethos


def prediction_of(answer: Answer) -> Prediction:
    """A recorded answer as a prediction."""
    outcome = answer.outcome
    return Prediction(
        output=outcome.output,
        distribution=outcome.distribution or (),
        choice=None if outcome.choice is None else LETTERS.index(outcome.choice),
        comments=tuple(comment.text for comment in answer.comments),
        speakers=tuple(member.persona.as_dict() for member in answer.panel.members),
        calls=answer.calls,
        tokens=answer.tokens,
        seconds=answer.timings,
        answer_id=answer.answer_id,
        gate=str(answer.panel.gate.decision),
        warnings=answer.warnings,
    )
