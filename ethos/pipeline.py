"""Ethos: one object that answers. Scenario in, recorded answer out.

Holds the pool, the models and the settings of a run, opened when they are first needed; every step itself lives in
the module named after it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from ethos.answer import Answer, Comment, Member, Outcome, Panel, Sourcing
from ethos.calls import AnyCall, Call, Failure, run
from ethos.embedding import Embedder, open_embedder
from ethos.errors import InputError, ModelError
from ethos.llm import Completion, LanguageModel
from ethos.llm.opening import open_model
from ethos.modes import MODES, Task, check
from ethos.panel import Assembly, PanelRequest, assemble
from ethos.perspectives import STAGE, comment_of, comment_requests
from ethos.plan import planned
from ethos.pool.record import KeptCall, Record
from ethos.pool.retrieval import Pool
from ethos.pool.store import now
from ethos.prompts import PromptSet, PromptSetName, prompt_set
from ethos.scenario import GOLD_CLASSES, Attribute, Mode, Scenario
from ethos.settings import Settings

Progress = Callable[[str], None]
Priors = Mapping[str, float]
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

LOW_MASS = 0.2


@dataclass(frozen=True, slots=True)
class _Stage:
    """Comments or an outcome, with the calls behind it and what they cost."""

    kept: list[KeptCall]
    made: list[AnyCall]
    seconds: float


def _silent(_: str) -> None:
    """No progress is shown."""


class Ethos:
    """Answers scenarios from a pool, and records how.

    Args:
        pool: The pool folder; the user's own by default.
        model: The main model by name, or a `LanguageModel`.
        comment_model: Writes comments; the main model by default.
        persona_model: Invents personas; the main model by default.
        embedder: An `Embedder`; by default the settings' one.
        settings: Everything else; `pool` and models given by name replace what it holds.

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
        embedder: Embedder | None = None,
        settings: Settings | None = None,
    ) -> None:
        given: dict[str, Any] = {"pool": Path(pool).expanduser()} if pool is not None else {}
        roles = {"model": model, "comment_model": comment_model, "persona_model": persona_model}
        given |= {role: name for role, name in roles.items() if isinstance(name, str) and name}
        self.settings = replace(settings or Settings(), **given)
        self._models: dict[str, LanguageModel] = {
            role: model for role, model in roles.items() if not isinstance(model, str)
        }
        self.embedder = embedder or open_embedder(self.settings.embedder)
        self.pool = Pool(self.settings.pool, self.embedder, self.settings.threshold)
        self.record = Record(self.pool.database)

    def __enter__(self) -> Ethos:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the pool."""
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
        """The model of a role: ``model``, ``comment_model`` or ``persona_model``; one name is opened once.

        Raises:
            ConfigurationError: The model cannot be opened.
        """
        if role not in self._models:
            name = getattr(self.settings, role)
            if role != "model" and (not name or name == self.settings.model):
                self._models[role] = self.model("model")
            else:
                self._models[role] = open_model(name, self.settings.endpoint, self.settings.precision)
        return self._models[role]

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
        progress: Progress = _silent,
    ) -> Answer:
        """Answer one scenario, and record the answer with all that made it.

        Args:
            scenario: A text, or a `Scenario`.
            mode: Overton, steerable or distributional.
            options: A question's options, when `scenario` is a text.
            attribute: The value, group or country, as VITAL writes it (`Attribute.parse`).
            personas: Where personas may come from.
            seed: The same request with the same seed over the same pool gives the same answer.
            priors: Weight of a persona by id, or by the start of its id; 1 for those not named. They weigh
                distributional answers.
            progress: Told what is being done, for people who wait.

        Raises:
            InputError: The scenario cannot be used, or not in this mode.
            PoolEmpty: `personas` is pool, and it has too few near enough.
            GenerationError: Too few valid personas after the bounded attempts.
            ModelError: A model cannot be reached, or its reply cannot be read.
        """
        started = time.perf_counter()
        mode = _choice(Mode, mode, "mode")
        sourcing = _choice(Sourcing, personas, "personas")
        asked, warnings = _asked(scenario, mode, tuple(options), attribute)
        check(mode, asked, self.settings.k)
        checked = self._checked(priors or {})
        request = PanelRequest(self.settings.k, sourcing, self.prompts, seed)
        progress("looking for a panel in the pool" if sourcing is not Sourcing.FRESH else "inventing a panel")
        found = self._recording(
            asked,
            "persona",
            lambda: assemble(self.pool, self.record, asked, request, lambda: self._persona_model(progress)),
        )
        weights = _weights(found.panel, checked)
        progress(f"collecting {len(found.panel.members)} comments")
        comments, commenting = self._comment(asked, found.panel, seed)
        progress("writing the answer")
        outcome, ending = self._conclude(mode, Task(asked, comments, weights, self.prompts, seed))
        answer = Answer(
            answer_id=uuid.uuid4().hex,
            created_at=now(),
            mode=mode,
            scenario=asked,
            panel=found.panel,
            comments=comments,
            outcome=outcome,
            calls=_counts(found, commenting, ending),
            tokens=_tokens([*found.calls, *commenting.made, *ending.made]),
            timings=_timings(found, commenting, ending, time.perf_counter() - started),
            models={role: self.model(name).identity.name for role, name in _ROLES.items()},
            seed=seed,
            prompt_set=self.prompts.label,
            warnings=(*warnings, *_warnings(comments, outcome)),
        )
        self.record.keep_answer(answer, [*found.kept, *commenting.kept, *ending.kept], version("ethos-pool"))
        return answer

    def _persona_model(self, progress: Progress) -> LanguageModel:
        progress("inventing the personas that the pool lacks")
        return self.model("persona_model")

    def _checked(self, priors: Priors) -> Priors:
        """Priors by full persona id."""
        if any(not 0 <= weight < float("inf") for weight in priors.values()):
            raise InputError("priors must be finite and not negative", "give --prior PERSONA_ID=WEIGHT")
        return {self.pool.store.find(start): weight for start, weight in priors.items()}

    def _comment(self, scenario: Scenario, panel: Panel, seed: int) -> tuple[tuple[Comment, ...], _Stage]:
        """Stage 2: comments written before for the very same request are reused, the others are one batch."""
        started = time.perf_counter()
        model = self.model("comment_model")
        requests = comment_requests(scenario, panel.members, self.prompts, seed)
        keys = [request.key(model.identity) for request in requests]
        known = self.record.completions(keys)
        missing = [request for request, key in zip(requests, keys, strict=True) if key not in known]
        calls = self._recording(scenario, STAGE, lambda: run(model, STAGE, missing))
        for call, kept in zip(calls, self.record.keep_calls(calls), strict=True):
            known[call.key] = (kept, call.completion)
        comments = self._recording(
            scenario, STAGE, lambda: tuple(_said(m, *known[key]) for m, key in zip(panel.members, keys, strict=True))
        )
        return comments, _Stage([known[key][0] for key in keys], list(calls), time.perf_counter() - started)

    def _conclude(self, mode: Mode, task: Task) -> tuple[Outcome, _Stage]:
        """The mode's own calls."""
        started = time.perf_counter()
        outcome, calls = self._recording(
            task.scenario, "main", lambda: MODES[mode](task, self.model("model"), self.embedder)
        )
        return outcome, _Stage(self.record.keep_calls(calls), calls, time.perf_counter() - started)

    def _recording(self, scenario: Scenario, stage: str, work: Callable[[], T]) -> T:
        """Run a stage; if a model fails in it, record the reason and the reply before the error goes on."""
        try:
            return work()
        except ModelError as error:
            self.record.keep_failures(scenario, [Failure(stage, 1, error.message, error.reply)])
            raise


_ROLES = {"persona": "persona_model", "comment": "comment_model", "main": "model"}


def _said(member: Member, kept: KeptCall, completion: Completion) -> Comment:
    return comment_of(member, completion, kept.id)


def _choice(kind: type[E], value: str, what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"unknown {what} {value!r}", f"choose one of {', '.join(kind)}") from None


def _asked(
    scenario: str | Scenario, mode: Mode, options: tuple[str, ...], attribute: str | Attribute | None
) -> tuple[Scenario, list[str]]:
    """The scenario as a value, and warnings about what was left out of it."""
    if isinstance(scenario, Scenario):
        if options:
            raise InputError("options were given beside a Scenario that has its own", "give them in the Scenario")
        asked = scenario
    else:
        asked = Scenario.of(scenario, options)
    if isinstance(attribute, str):
        attribute = Attribute.parse(attribute, mode)
    asked = asked if attribute is None else asked.steered(attribute)
    if asked.attribute and asked.attribute.name in GOLD_CLASSES:
        leak = f"{asked.attribute.name!r} is MoralChoice's gold class, not a group: left out, since it leaks the label"
        return asked.steered(None), [leak]
    return asked, []


def _weights(panel: Panel, priors: Priors) -> tuple[float, ...]:
    """Priors over the panel, normalised."""
    weights = [priors.get(member.persona.id, 1.0) for member in panel.members]
    if not sum(weights):
        raise InputError("the priors leave no persona of the panel any weight", "give one of them a weight above 0")
    return tuple(weight / sum(weights) for weight in weights)


def _counts(found: Assembly, commenting: _Stage, ending: _Stage) -> dict[str, int]:
    return {"persona": len(found.calls), "comment": len(commenting.made), "main": len(ending.made)}


def _tokens(calls: Sequence[AnyCall]) -> dict[str, int]:
    read = sum(c.completion.prompt_tokens if isinstance(c, Call) else c.reading.prompt_tokens for c in calls)
    return {
        "prompt": read,
        "completion": sum(c.completion.completion_tokens for c in calls if isinstance(c, Call)),
    }


def _timings(found: Assembly, commenting: _Stage, ending: _Stage, total: float) -> dict[str, float]:
    stages = {**found.seconds, "comment": commenting.seconds, "main": ending.seconds, "total": total}
    return {stage: round(seconds, 6) for stage, seconds in stages.items()}


def _warnings(comments: Sequence[Comment], outcome: Outcome) -> list[str]:
    """What a reader should know before trusting the answer."""
    warnings = []
    if cut := sum(comment.finish_reason == "length" for comment in comments):
        warnings.append(f"{cut} of {len(comments)} comments were cut at the token limit")
    if outcome.finish_reason == "length":
        warnings.append("the answer was cut at the token limit")
    if outcome.label_mass is not None and outcome.label_mass < LOW_MASS:
        warnings.append(
            f"the model gave the option labels only {outcome.label_mass:.1%} of its probability: "
            "it hardly meant to choose"
        )
    return warnings
