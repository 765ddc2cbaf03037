"""ModPlural: the three aggregations of Ethos over the comments of community models (Feng et al., EMNLP 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import EthosError, ModelError
from ethos.evaluation.methods import Method, Workshop
from ethos.evaluation.methods.asking import Bill, ask_each, prediction_of
from ethos.evaluation.methods.community import Communities, communities
from ethos.evaluation.methods.prompted import refusals
from ethos.evaluation.tasks.prediction import Prediction
from ethos.llm import LanguageModel
from ethos.llm.calls import AnyCall, Query
from ethos.llm.weights import MINILM
from ethos.pipeline.modes import STAGE, Task, conclude
from ethos.prompts import PromptSetName, prompt_set
from ethos.scenario import Mode, Scenario


@dataclass(frozen=True)
class ModularPluralism:
    """Community models comment, the main model makes one answer of it.

    Attributes:
        name: The method's; the sets of communities differ in it.
        model: The main model.
        communities: Who comments.
        embedder: Tells whose comment a sentence of an Overton answer is near to, as for Ethos; no answer depends on it.
    """

    name: str
    model: LanguageModel
    communities: Communities
    embedder: Embedder

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """See `Method`."""
        names, bills = self.communities.names, [Bill() for _ in scenarios]
        ended: dict[int, Any] = dict(refusals(scenarios, mode, len(names)))
        wanted = {place: names for place in range(len(scenarios)) if place not in ended}
        said = {}
        for place, comments in self.communities.comments(wanted, scenarios, mode, seed, bills).items():
            if isinstance(comments, EthosError):
                ended[place] = comments
            else:
                said[place] = comments
        places, weights = list(said), (1.0 / len(names),) * len(names)
        # The paper's set reads the answers to value situations as text, as Modular Pluralism does.
        prompts = prompt_set(PromptSetName.PAPER)
        tasks = [(mode, Task(scenarios[place], said[place], weights, prompts, seed)) for place in places]

        def put(queries: Mapping[int, Sequence[Query]]) -> dict[int, Sequence[AnyCall] | ModelError]:
            asked = {places[task]: wanted for task, wanted in queries.items()}
            answered = ask_each(self.model, STAGE, asked, bills)
            return {task: answered[places[task]] for task in queries}

        for place, outcome in zip(places, conclude(tasks, self.embedder, put), strict=True):
            ended[place] = outcome
            if not isinstance(outcome, EthosError):
                speakers = [{"name": name} for name in names]
                ended[place] = prediction_of(outcome, bills[place], said[place], speakers)
        return [ended[place] for place in range(len(scenarios))]

    def close(self) -> None:
        """Nothing is held."""


def modplural(workshop: Workshop) -> Method:
    """Six perspectives: news and Reddit, left, centre and right."""
    return _made("modplural", workshop, "perspectives")


def modplural_cultures(workshop: Workshop) -> Method:
    """Five regional cultures."""
    return _made("modplural-cultures", workshop, "cultures")


def modplural_mixed(workshop: Workshop) -> Method:
    """Three perspectives and three cultures."""
    return _made("modplural-mixed", workshop, "mixed")


def _made(name: str, workshop: Workshop, which: str) -> Method:
    embedder = open_embedder(workshop.settings.embedder or MINILM)
    return ModularPluralism(name, workshop.open(workshop.model), communities(workshop, which), embedder)
