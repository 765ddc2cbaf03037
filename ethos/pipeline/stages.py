"""Takes questions through the stages side by side: panels, comments, outcomes, answers.

One question or many, the way is the same: what they ask of a model at the same stage is asked in one batch, and an
error stays with the question that met it. Knows the stages and the record; chooses no model and checks no input.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TypeVar

from ethos.answer import Answer, Comment, Outcome, Panel, Sourcing, cautions
from ethos.encoders.embedder import Embedder
from ethos.errors import EthosError, InputError, ModelError
from ethos.influence import view_warnings
from ethos.llm import LanguageModel
from ethos.llm.calls import AnyCall, Call, Failure, Query, apart, ask
from ethos.llm.telemetry import note, spanned
from ethos.pipeline.comments import STAGE as COMMENT
from ethos.pipeline.comments import comment_of, comment_requests
from ethos.pipeline.modes import STAGE as MAIN
from ethos.pipeline.modes import Task, conclude
from ethos.pipeline.panel import Assembly, PanelRequest, assemble
from ethos.pool.pool import Pool
from ethos.pool.storage.record import Kept, KeptCall, Record
from ethos.pool.storage.rows import now
from ethos.prompts import PromptSet
from ethos.scenario import Mode, Scenario

Progress = Callable[[str], None]
OnText = Callable[[str], None]
Priors = Mapping[str, float]
T = TypeVar("T")
U = TypeVar("U")

ROLES = {"persona": "persona_model", "comment": "comment_model", "main": "model"}  # by stage


@dataclass(frozen=True, slots=True)
class Question:
    """A scenario that its mode can answer.

    Attributes:
        scenario: What is asked.
        mode: How comments become the answer.
        request: Content address of the whole request.
        warnings: What was changed in it.
    """

    scenario: Scenario
    mode: Mode
    request: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a stage of one question rests on, and its share of the time."""

    calls: Sequence[Kept]
    seconds: float

    @property
    def made(self) -> list[AnyCall]:
        """The calls that were made for it."""
        return [one.call for one in self.calls if not one.kept.reused]


@dataclass(frozen=True, slots=True)
class _Seated:
    """A question with its panel."""

    question: Question
    found: Assembly
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Heard:
    """A question with its panel's comments."""

    seated: _Seated
    comments: tuple[Comment, ...]
    stage: _Stage


@dataclass(frozen=True, slots=True)
class _Ended:
    """A question with its outcome."""

    heard: _Heard
    outcome: Outcome
    stage: _Stage


@dataclass(frozen=True, slots=True)
class Run:
    """What the questions of one run share.

    Attributes:
        pool: Where panels come from.
        record: Where everything is kept.
        prompts: The prompt set.
        model: Gives the model of a role.
        embedder: Tells which comment a sentence is nearest to.
        k: Personas in a panel.
        sourcing: Where they may come from.
        seed: The request's seed.
        priors: Weights of personas by full id; 1 for those not named.
        reuse: Whether calls of the main model that are in the record need not be made again; comments never need to.
        most_share: Of an Overton answer's sentences, above which one persona is said to prevail.
        learn: Whether personas that are invented may serve other questions later.
        progress: Told what is being done.
        on_text: Told the answer to a single question while it is written, in Overton mode; the others' answers are
            put together from several calls.
    """

    pool: Pool
    record: Record
    prompts: PromptSet
    model: Callable[[str], LanguageModel]
    embedder: Embedder
    k: int
    sourcing: Sourcing
    seed: int
    priors: Priors
    reuse: bool
    most_share: float
    learn: bool
    progress: Progress
    on_text: OnText | None = None

    @spanned("ethos.answer")
    def answers(self, questions: Sequence[Question]) -> list[Answer | EthosError]:
        """Answer questions, and record every answer with all that made it.

        Returns:
            An answer for each, in order, or the error that it alone would have met.

        Raises:
            ModelError: The model fails on several for a cause that lies in none of them; what is done is recorded.
            ConfigurationError: A model cannot be opened.
        """
        began = time.perf_counter()
        ended = _onward(_onward(self._seat(questions), self._hear), self._end)
        share = (time.perf_counter() - began) / len(questions)
        return [one if isinstance(one, EthosError) else self._answer(one, share) for one in ended]

    @spanned("ethos.pipeline.panel")
    def _seat(self, questions: Sequence[Question]) -> Sequence[_Seated | EthosError]:
        """Stage 1: every question gets its panel."""
        fresh = self.sourcing is Sourcing.FRESH
        self.progress("inventing a panel" if fresh else "looking for a panel in the pool")
        request = PanelRequest(self.k, self.sourcing, self.prompts, self.seed, self.learn)
        scenarios = [question.scenario for question in questions]
        panels = assemble(self.pool, self.record, scenarios, request, self._persona_model)
        self._note("persona", questions, panels)
        return [
            found if isinstance(found, EthosError) else _seated(question, found, self.priors)
            for question, found in zip(questions, panels, strict=True)
        ]

    def _persona_model(self) -> LanguageModel:
        self.progress("inventing the personas that the pool lacks")
        return self.model(ROLES["persona"])

    @spanned("ethos.comments")
    def _hear(self, seated: Sequence[_Seated]) -> Sequence[_Heard | EthosError]:
        """Stage 2: comments; those written before for the very same request are reused, the others are one batch."""
        began = time.perf_counter()
        self.progress(f"collecting {sum(len(one.found.panel.members) for one in seated)} comments")
        wanted: list[Sequence[Query]] = [
            comment_requests(one.question.scenario, one.found.panel.members, self.prompts, self.seed) for one in seated
        ]
        calls = self._ask(COMMENT, wanted, recall=True)
        share = (time.perf_counter() - began) / len(seated)
        heard = [
            kept if isinstance(kept, ModelError) else _heard(one, _Stage(kept, share))
            for one, kept in zip(seated, calls, strict=True)
        ]
        self._note(COMMENT, [one.question for one in seated], heard)
        return heard

    @spanned("ethos.outcome")
    def _end(self, heard: Sequence[_Heard]) -> Sequence[_Ended | EthosError]:
        """Stage 3: the modes' own calls."""
        began = time.perf_counter()
        self.progress("writing the answer" if len(heard) == 1 else f"writing {len(heard)} answers")
        questions = [one.seated.question for one in heard]
        kept: list[list[Kept]] = [[] for _ in heard]

        def put(queries: Mapping[int, Sequence[Query]]) -> dict[int, Sequence[AnyCall] | ModelError]:
            on_text = self.on_text if questions[0].mode is Mode.OVERTON else None
            asked = self._ask(MAIN, list(queries.values()), recall=self.reuse, on_text=on_text)
            replies = dict(zip(queries, asked, strict=True))
            for place, reply in replies.items():
                kept[place] += [] if isinstance(reply, ModelError) else reply
            return {
                place: reply if isinstance(reply, ModelError) else [one.call for one in reply]
                for place, reply in replies.items()
            }

        tasks = [
            (question.mode, Task(question.scenario, one.comments, one.seated.weights, self.prompts, self.seed))
            for question, one in zip(questions, heard, strict=True)
        ]
        outcomes = conclude(tasks, self.embedder, put)
        share = (time.perf_counter() - began) / len(heard)
        self._note(MAIN, questions, outcomes)
        return [
            outcome if isinstance(outcome, ModelError) else _Ended(one, outcome, _Stage(calls, share))
            for one, outcome, calls in zip(heard, outcomes, kept, strict=True)
        ]

    def _ask(
        self, stage: str, wanted: Sequence[Sequence[Query]], recall: bool, on_text: OnText | None = None
    ) -> list[list[Kept] | ModelError]:
        """Calls for the queries of each question, made where they are not known; equal queries are asked once."""
        model = self.model(ROLES[stage])
        identity = model.identity
        keyed = [[(query.key(identity), query) for query in queries] for queries in wanted]
        known = self.record.recall(stage, identity, dict(pair for pairs in keyed for pair in pairs)) if recall else {}

        def work(some: Sequence[list[tuple[str, Query]]]) -> list[list[Kept]]:
            missing = {key: query for pairs in some for key, query in pairs if key not in known}
            calls = ask(model, stage, list(missing.values()), on_text)
            made = {call.key: Kept(call, kept) for call, kept in zip(calls, self.record.keep_calls(calls), strict=True)}
            # A call counts as made for the first question that has it, and as reused by the others.
            known.update({key: Kept(one.call, replace(one.kept, reused=True)) for key, one in made.items()})
            return [[made.pop(key) if key in made else known[key] for key, _ in pairs] for pairs in some]

        return apart(keyed, work)

    def _note(self, stage: str, questions: Iterable[Question], results: Iterable[object]) -> None:
        """Record where a model failed: the reason and the reply."""
        for question, result in zip(questions, results, strict=True):
            if isinstance(result, ModelError):
                self.record.keep_failures(question.scenario, [Failure(stage, 1, result.message, result.reply)])

    def _answer(self, ended: _Ended, seconds: float) -> Answer:
        heard, seated = ended.heard, ended.heard.seated
        question, found = seated.question, seated.found
        made: dict[str, Sequence[AnyCall]] = {
            "persona": found.calls,
            "comment": heard.stage.made,
            "main": ended.stage.made,
        }
        timings = {**found.seconds, "comment": heard.stage.seconds, "main": ended.stage.seconds, "total": seconds}
        answer = Answer(
            answer_id=uuid.uuid4().hex,
            created_at=now(),
            mode=question.mode,
            scenario=question.scenario,
            panel=found.panel,
            comments=heard.comments,
            outcome=ended.outcome,
            calls={stage: len(calls) for stage, calls in made.items()},
            tokens=_tokens([call for calls in made.values() for call in calls]),
            timings={stage: round(spent, 6) for stage, spent in timings.items()},
            models={stage: self.model(role).identity.name for stage, role in ROLES.items()},
            seed=self.seed,
            prompt_set=self.prompts.label,
            warnings=(
                *question.warnings,
                *cautions(heard.comments, ended.outcome),
                *self._views(question.mode, found.panel, ended.outcome),
            ),
        )
        kept: list[KeptCall] = [*found.kept, *(one.kept for one in (*heard.stage.calls, *ended.stage.calls))]
        self.record.keep_answer(answer, kept, version("ethos-pool"), question.request, self.embedder.identity)
        note("recorded", answer_id=answer.answer_id, mode=str(answer.mode))
        return answer

    def _views(self, mode: Mode, panel: Panel, outcome: Outcome) -> list[str]:
        """Whose views an Overton answer, which ought to carry all, leaves out, and who prevails in it."""
        if mode is not Mode.OVERTON:
            return []
        names = [member.persona.name for member in panel.members]
        return view_warnings(names, outcome.influences, outcome.unheard, self.most_share)


def _onward(
    values: Sequence[T | EthosError], step: Callable[[list[T]], Sequence[U | EthosError]]
) -> list[U | EthosError]:
    """Take what has met no error through a step, together; errors keep their places."""
    sound = [value for value in values if not isinstance(value, EthosError)]
    results = iter(step(sound) if sound else ())
    return [value if isinstance(value, EthosError) else next(results) for value in values]


def _seated(question: Question, found: Assembly, priors: Priors) -> _Seated | InputError:
    try:
        return _Seated(question, found, _weights(found.panel, priors))
    except InputError as error:
        return error


def _weights(panel: Panel, priors: Priors) -> tuple[float, ...]:
    """Priors over the panel, normalised."""
    weights = [priors.get(member.persona.id, 1.0) for member in panel.members]
    if not sum(weights):
        raise InputError("the priors leave no persona of the panel any weight", "give one of them a weight above 0")
    return tuple(weight / sum(weights) for weight in weights)


def _heard(seated: _Seated, stage: _Stage) -> _Heard | ModelError:
    members = seated.found.panel.members
    try:
        said = [comment_of(member, one.call, one.kept.id) for member, one in zip(members, stage.calls, strict=True)]
    except ModelError as error:
        return error
    return _Heard(seated, tuple(said), stage)


def _tokens(calls: Sequence[AnyCall]) -> dict[str, int]:
    read = sum(c.completion.prompt_tokens if isinstance(c, Call) else c.reading.prompt_tokens for c in calls)
    return {
        "prompt": read,
        "completion": sum(c.completion.completion_tokens for c in calls if isinstance(c, Call)),
    }
