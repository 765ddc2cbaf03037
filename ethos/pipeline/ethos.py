"""`Ethos`: answers scenarios from a pool and records the answers.

Holds the pool, the models and the settings, each opened at its first use. The stages themselves are in
`ethos.pipeline.stages`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ethos.answer import Answer, Sourcing
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import EthosError, InputError
from ethos.generation.plan import planned
from ethos.llm import LanguageModel
from ethos.llm.opening import open_model, requested_identity
from ethos.pipeline.modes import MODES, Aggregator, check
from ethos.pipeline.settings import Settings
from ethos.pipeline.stages import ROLES, OnText, Priors, Progress, Question, Run
from ethos.pool.pool import Pool
from ethos.pool.retrieval.selection import Selector, choose
from ethos.pool.storage.facts import CALIBRATION, embedder_name
from ethos.pool.storage.record import Record
from ethos.prompts import PromptSet, PromptSetName, aggregation_prompts, prompt_set
from ethos.scenario import GOLD_CLASSES, Attribute, Mode, Scenario
from ethos.text.cleaning import digest

E = TypeVar("E", bound=StrEnum)


def _silent(_: str) -> None:
    """Ignore progress."""


class Ethos:
    """Answers scenarios from a pool and records each answer with everything it was made from.

    Args:
        pool: The pool folder; the user's own by default.
        model: The main model by name, or a `LanguageModel`.
        comment_model: Writes comments; the main model by default.
        persona_model: Generates personas; the main model by default.
        base_url: Endpoint of ``openai:`` models, such as ``http://127.0.0.1:8080/v1``.
        api_key: Key of that endpoint; sent to its origin only, never stored.
        selector: Chooses panels from the candidates; the pool's own greedy cover by default.
        aggregators: Aggregators by mode, in place of the three built-in ones. Their answers cannot be replayed.
        embedder: An `Embedder`; by default the one that the settings name.
        settings: All other settings; the arguments above replace theirs.

    Raises:
        PoolError: The pool cannot be opened.
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        pool: str | Path | None = None,
        *,
        model: str | LanguageModel = "",
        comment_model: str | LanguageModel = "",
        persona_model: str | LanguageModel = "",
        base_url: str = "",
        api_key: str = "",
        embedder: Embedder | None = None,
        selector: Selector = choose,
        aggregators: Mapping[str, Aggregator] | None = None,
        settings: Settings | None = None,
    ) -> None:
        given: dict[str, Any] = {"pool": Path(pool).expanduser()} if pool is not None else {}
        roles = {"model": model, "comment_model": comment_model, "persona_model": persona_model}
        given |= {role: name for role, name in roles.items() if isinstance(name, str) and name}
        settings = settings or Settings()
        if base_url or api_key:
            endpoint = settings.endpoint
            given["endpoint"] = replace(
                endpoint, base_url=base_url or endpoint.base_url, api_key=api_key or endpoint.api_key
            )
        self.settings = replace(settings, **given)
        self._given: dict[str, LanguageModel] = {
            role: model for role, model in roles.items() if not isinstance(model, str)
        }
        self._models = dict(self._given)
        name = self.settings.embedder or embedder_name(self.settings.pool)
        self.embedder = embedder or open_embedder(name)
        self.pool = Pool(self.settings.pool, self.embedder, self.settings.threshold, selector)
        given_modes = {_choice(Mode, mode, "mode"): one for mode, one in (aggregators or {}).items()}
        self._modes = {**MODES, **given_modes}
        # Names of the parts that replace built-in ones, so that an answer made with one is not reused without it.
        own = [*([selector] if selector is not choose else []), *given_modes.values()]
        self._own_parts = tuple(
            f"{one.__module__}.{getattr(one, '__qualname__', type(one).__qualname__)}" for one in own
        )
        self.record = Record(self.pool.database, self.settings.audit_content)

    def __enter__(self) -> Ethos:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pool."""
        self.pool.close()

    @cached_property
    def prompts(self) -> PromptSet:
        """The prompt set of stages 1 and 2.

        Raises:
            ConfigurationError: A plan is set for prompts that cannot follow one.
        """
        prompts = prompt_set(PromptSetName(self.settings.prompts))
        return planned(prompts) if self.settings.plan else prompts

    def model(self, role: str) -> LanguageModel:
        """Return the model of a role: ``model``, ``comment_model`` or ``persona_model``; a name is opened once.

        Raises:
            ConfigurationError: The model cannot be opened.
        """
        home = self._home(role)
        if home not in self._models:
            self._models[home] = open_model(
                getattr(self.settings, home), self.settings.endpoint, self.settings.precision
            )
        return self._models[home]

    def named(self, role: str) -> str:
        """Return the name of a role's model without opening it."""
        home = self._home(role)
        return self._given[home].identity.name if home in self._given else str(getattr(self.settings, home))

    def _home(self, role: str) -> str:
        """Return the role whose model serves this one: itself, or ``model`` where it names none."""
        own = getattr(self.settings, role)
        return role if role in self._given or (own and own != self.settings.model) else "model"

    def answer(
        self,
        scenario: str | Scenario,
        mode: str | Mode = Mode.OVERTON,
        *,
        options: Sequence[str] = (),
        attribute: str | Attribute | None = None,
        personas: str | Sourcing = Sourcing.AUTO,
        seed: int = 0,
        priors: Priors | None = None,
        reuse: bool = False,
        progress: Progress = _silent,
        on_text: OnText | None = None,
    ) -> Answer:
        """Answer one scenario and record the answer.

        Args:
            scenario: A text, or a `Scenario`.
            mode: Overton, steerable or distributional.
            options: A question's options, when `scenario` is a text.
            attribute: The value, group or country, as VITAL writes it (`Attribute.parse`).
            personas: Allowed sources of personas.
            seed: The same request with the same seed over the same pool gives the same answer.
            priors: Weight of a persona by id, or by the start of its id; 1 for the others. Used in distributional mode.
            reuse: Whether a recorded answer to the same request is returned if its whole panel is still active, and
                recorded calls of the main model are reused. Has no effect with fresh personas.
            progress: Called with a description of the current step.
            on_text: Called with each piece of the answer's text as the model writes it, or once with the whole text
                where no model writes it. Joined, the pieces equal the output, unless an error is raised.

        Raises:
            InputError: The scenario cannot be used, or not in this mode.
            PoolEmpty: `personas` is pool, and it has too few near enough.
            GenerationError: Too few valid personas after the bounded attempts.
            ModelError: A model cannot be reached, or its reply cannot be read.
        """
        mode = _choice(Mode, mode, "mode")
        asked = (_steered(scenario, mode, tuple(options), attribute), mode)
        terms: dict[str, Any] = {"personas": personas, "seed": seed, "priors": priors, "reuse": reuse}
        written: list[str] = []

        def forward(piece: str) -> None:
            written.append(piece)
            if on_text:
                on_text(piece)

        [answer] = self._answers([asked], **terms, progress=progress, on_text=forward if on_text else None)
        if isinstance(answer, EthosError):
            raise answer
        if on_text and not written:
            on_text(answer.outcome.output)
        return answer

    def answer_all(
        self,
        asked: Sequence[tuple[Scenario, Mode]],
        *,
        personas: str | Sourcing = Sourcing.AUTO,
        seed: int = 0,
        priors: Priors | None = None,
        reuse: bool = False,
        progress: Progress = _silent,
    ) -> list[Answer | EthosError]:
        """Answer scenarios together: the model requests of one stage form one batch.

        The answers equal those of `answer`, except that a scenario does not see the personas generated for the
        others. In bfloat16 a model's text depends slightly on the other rows of its batch.

        Args:
            asked: Each scenario with its mode.
            personas: As in `answer`.
            seed: As in `answer`.
            priors: As in `answer`.
            reuse: As in `answer`.
            progress: As in `answer`.

        Returns:
            One answer a scenario, in order, or the error that `answer` would raise for it.

        Raises:
            InputError: A prior cannot be used.
            ConfigurationError: A model cannot be opened.
            ModelError: A model cannot be reached, and there are several scenarios; finished work is recorded.
        """
        terms: dict[str, Any] = {"personas": personas, "seed": seed, "priors": priors, "reuse": reuse}
        return self._answers(asked, **terms, progress=progress, on_text=None)

    def _answers(
        self,
        asked: Sequence[tuple[Scenario, Mode]],
        *,
        personas: str | Sourcing,
        seed: int,
        priors: Priors | None,
        reuse: bool,
        progress: Progress,
        on_text: OnText | None,
    ) -> list[Answer | EthosError]:
        sourcing = _choice(Sourcing, personas, "personas")
        reuse = reuse and sourcing is not Sourcing.FRESH
        weights = self._checked(priors or {})
        results: dict[int, Answer | EthosError] = {}
        questions: dict[int, Question] = {}
        for place, (scenario, mode) in enumerate(asked):
            began = time.perf_counter()
            try:
                question = self._question(scenario, mode, sourcing, seed, weights)
            except InputError as error:
                results[place] = error
                continue
            if reuse and (found := self.record.repeated(question.request)):
                results[place] = found.again(time.perf_counter() - began)
            else:
                questions[place] = question
        if not questions:
            return [results[place] for place in range(len(asked))]
        run = Run(
            pool=self.pool,
            record=self.record,
            prompts=self.prompts,
            model=self.model,
            embedder=self.embedder,
            k=self.settings.k,
            sourcing=sourcing,
            seed=seed,
            priors=weights,
            reuse=reuse,
            most_share=self.settings.most_share,
            learn=self.settings.learn,
            progress=progress,
            on_text=on_text,
            modes=self._modes,
        )
        results |= dict(zip(questions, run.answers(list(questions.values())), strict=True))
        return [results[place] for place in range(len(asked))]

    def _question(self, scenario: Scenario, mode: Mode, sourcing: Sourcing, seed: int, priors: Priors) -> Question:
        """Return a scenario that its mode can answer, with the content address of everything its answer depends on.

        Raises:
            InputError: The mode cannot answer it.
        """
        warnings: tuple[str, ...] = ()
        if scenario.attribute and scenario.attribute.name in GOLD_CLASSES:
            name, scenario = scenario.attribute.name, scenario.steered(None)
            warnings = (f"{name!r} is MoralChoice's gold class, not a group: left out, since it leaks the label",)
        check(mode, scenario, self.settings.k)
        request = digest("answer", mode, astuple(scenario), sourcing, seed, sorted(priors.items()), self._setting)
        return Question(scenario, mode, request, warnings)

    @property
    def _setting(self) -> str:
        """Return the content address of the settings that all requests to this object share."""
        calibration = self.pool.facts.get(CALIBRATION)
        prompts = (self.prompts.label, self.prompts.content, aggregation_prompts().content)
        retrieval = (self.settings.k, self.settings.threshold, calibration, self.embedder.identity.id)
        parts = (self._own_parts,) if self._own_parts else ()
        return digest(retrieval, prompts, self._requested_models, *parts)

    @cached_property
    def _requested_models(self) -> list[str]:
        """Return the identity of the model requested for each role, without opening any."""
        found = []
        for role in ROLES.values():
            home = self._home(role)
            name, settings = getattr(self.settings, home), self.settings
            identity = (
                self._given[home].identity
                if home in self._given
                else requested_identity(name, settings.endpoint, settings.precision)
            )
            found.append(identity.id)
        return found

    def _checked(self, priors: Priors) -> Priors:
        """Return the priors by full persona id."""
        if any(not 0 <= weight < float("inf") for weight in priors.values()):
            raise InputError("priors must be finite and not negative", "give --prior PERSONA_ID=WEIGHT")
        return {self.pool.store.find(start): weight for start, weight in priors.items()}


def _choice(kind: type[E], value: str, what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"unknown {what} {value!r}", f"choose one of {', '.join(kind)}") from None


def _steered(
    scenario: str | Scenario, mode: Mode, options: tuple[str, ...], attribute: str | Attribute | None
) -> Scenario:
    """Return the scenario with its options and attribute."""
    if isinstance(scenario, Scenario):
        if options:
            raise InputError("options were given beside a Scenario that has its own", "give them in the Scenario")
        asked = scenario
    else:
        asked = Scenario.of(scenario, options)
    if isinstance(attribute, str):
        attribute = Attribute.parse(attribute, mode)
    return asked if attribute is None else asked.steered(attribute)
