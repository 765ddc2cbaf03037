"""Community models: which they are, and what they say of scenarios (Feng et al., EMNLP 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ethos.answer import Comment
from ethos.errors import ConfigurationError, EthosError, ModelError
from ethos.evaluation.methods import Workshop
from ethos.evaluation.methods.asking import Bill, ask_each, worded
from ethos.llm import LanguageModel, Request, user
from ethos.llm.calls import AnyCall, Call, Query, derived_seed
from ethos.pipeline.comments import STAGE
from ethos.prompts import baseline_prompts
from ethos.scenario import Mode, Scenario


@dataclass(frozen=True)
class Communities:
    """Communities in the order in which models are shown their comments.

    Attributes:
        models: Name of the model by community.
        open: Opens a model by name.
    """

    models: Mapping[str, str]
    open: Callable[[str], LanguageModel]

    @property
    def names(self) -> tuple[str, ...]:
        """The communities."""
        return tuple(self.models)

    def comments(
        self,
        wanted: Mapping[int, Sequence[str]],
        scenarios: Sequence[Scenario],
        mode: Mode,
        seed: int,
        bills: Sequence[Bill],
    ) -> dict[int, list[Comment] | EthosError]:
        """What communities say of scenarios; one batch a model.

        Args:
            wanted: By place of a scenario, whose comments are asked for.
            scenarios: All of them.
            mode: Their mode.
            seed: The run's.
            bills: What is charged.

        Returns:
            By place, the comments in the order asked for, or why there are none.
        """
        said: dict[int, dict[str, Comment]] = {place: {} for place in wanted}
        failed: dict[int, EthosError] = {}
        for model in dict.fromkeys(self.models.values()):
            asked = {
                place: speaking
                for place, names in wanted.items()
                if place not in failed and (speaking := [name for name in names if self.models[name] == model])
            }
            queries: dict[int, Sequence[Query]] = {
                place: [_request(scenarios[place], mode, name, seed) for name in names]
                for place, names in asked.items()
            }
            if not queries:
                continue
            for place, calls in ask_each(self.open(model), STAGE, queries, bills).items():
                try:
                    said[place] |= _comments(asked[place], calls)
                except ModelError as error:
                    failed[place] = error
        return {
            place: failed[place] if place in failed else [said[place][name] for name in names]
            for place, names in wanted.items()
        }


def communities(workshop: Workshop, which: str) -> Communities:
    """A set of community models.

    Args:
        workshop: What the caller is made from.
        which: ``perspectives``, ``cultures`` or ``mixed``.

    Raises:
        ConfigurationError: No models are named for it.
    """
    models = workshop.settings.communities.get(which)
    if not models:
        raise ConfigurationError(
            f"no community models are named for {which!r}",
            "name them with --communities FILE, or one that speaks for all with --community-model",
        )
    return Communities(models, workshop.open)


def _request(scenario: Scenario, mode: Mode, community: str, seed: int) -> Request:
    table = baseline_prompts().community
    prompt = worded(table, scenario, mode)
    # The community is in the seed, so that one model that stands in for several does not repeat itself.
    return Request(
        user(prompt), table["max_tokens"], table["temperature"], derived_seed(seed, STAGE, community, prompt)
    )


def _comments(names: Sequence[str], calls: Sequence[AnyCall] | ModelError) -> dict[str, Comment]:
    """Comments by community.

    Raises:
        ModelError: The model failed, or one is empty: nothing is put in its place.
    """
    if isinstance(calls, ModelError):
        raise calls
    found = {}
    for name, call in zip(names, calls, strict=True):
        assert isinstance(call, Call), "a comment is written, not read"
        completion = call.completion
        if not any(character.isalnum() for character in completion.text):
            raise ModelError(f"the comment of {name!r} is empty", "try another --seed or a larger community model")
        found[name] = Comment(name, completion.text, completion.finish_reason, "")
    return found
