"""The stages of an answer: retrieve panels, collect comments, aggregate by mode, record.

One question or many take the same path: the model requests of one stage form one batch, and an error stays with its
own question. Knows the stages and the record; chooses no model and validates no input.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from ethos.pipeline.modes import MODES, Aggregator, Task, conclude
from ethos.pipeline.modes import STAGE as MAIN
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
        scenario: The scenario.
        mode: How comments become the answer.
        request: Content address of the whole request.
        warnings: Changes that were made to the input.
    """

    scenario: Scenario
    mode: Mode
    request: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stage:
    """The model calls of one question in one stage, and its share of the wall time in seconds."""

    calls: Sequence[Kept]
    seconds: float

    @property
    def made(self) -> list[AnyCall]:
        """Return the calls that were made now, not reused from the record."""
        return [one.call for one in self.calls if not one.kept.reused]


@dataclass(frozen=True, slots=True)
class _WithPanel:
    """A question after stage 1."""

    question: Question
    found: Assembly
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _WithComments:
    """A question after stage 2."""

    with_panel: _WithPanel
    comments: tuple[Comment, ...]
    stage: _Stage


@dataclass(frozen=True, slots=True)
class _WithOutcome:
    """A question after stage 3."""

    with_comments: _WithComments
    outcome: Outcome
    stage: _Stage


@dataclass(frozen=True, slots=True)
class Run:
    """The parts and settings that the questions of one run share.

    Attributes:
        pool: Source of pool personas.
        record: Store of calls, failures and answers.
        prompts: The prompt set.
        model: Returns the model of a role.
        embedder: Encodes sentences and comments for textual influence.
        k: Personas in a panel.
        sourcing: Allowed sources of personas.
        seed: The request's seed.
        priors: Weights of personas by full id; 1 for those not named.
        reuse: Whether recorded calls of the main model are reused; recorded comments always are.
        most_share: Share of an Overton answer's sentences above which one persona dominates, 0..1.
        learn: Whether generated personas may serve other questions later.
        progress: Called with a description of the current step.
        on_text: Called with each piece of an Overton answer to a single question as it is written.
        modes: The aggregator of each mode.
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
    modes: Mapping[Mode, Aggregator] = field(default_factory=lambda: MODES)

    @spanned("ethos.answer")
    def answers(self, questions: Sequence[Question]) -> list[Answer | EthosError]:
        """Answer questions and record every answer with its panel, comments and calls.

        Returns:
            One answer a question, in order, or the error that this question alone would raise.

        Raises:
            ModelError: A model fails on several questions for a cause outside them; finished work is recorded.
            ConfigurationError: A model cannot be opened.
        """
        began = time.perf_counter()
        panels = self._retrieve_panels(questions)
        comments = _apply(panels, self._collect_comments)
        finished = _apply(comments, self._aggregate)
        share = (time.perf_counter() - began) / len(questions)
        return [one if isinstance(one, EthosError) else self._record_answer(one, share) for one in finished]

    @spanned("ethos.panel")
    def _retrieve_panels(self, questions: Sequence[Question]) -> Sequence[_WithPanel | EthosError]:
        """Stage 1: retrieve a panel for every question, and generate the personas that the pool lacks."""
        fresh = self.sourcing is Sourcing.FRESH
        self.progress("generating a panel" if fresh else "retrieving a panel from the pool")
        request = PanelRequest(self.k, self.sourcing, self.prompts, self.seed, self.learn)
        scenarios = [question.scenario for question in questions]
        panels = assemble(self.pool, self.record, scenarios, request, self._persona_model)
        self._note("persona", questions, panels)
        return [
            found if isinstance(found, EthosError) else _with_panel(question, found, self.priors)
            for question, found in zip(questions, panels, strict=True)
        ]

    def _persona_model(self) -> LanguageModel:
        self.progress("generating the personas that the pool lacks")
        return self.model(ROLES["persona"])

    @spanned("ethos.comments")
    def _collect_comments(self, with_panel: Sequence[_WithPanel]) -> Sequence[_WithComments | EthosError]:
        """Stage 2: one comment a member; recorded comments of the same request are reused, the others are one batch."""
        began = time.perf_counter()
        self.progress(f"collecting {sum(len(one.found.panel.members) for one in with_panel)} comments")
        wanted: list[Sequence[Query]] = [
            comment_requests(one.question.scenario, one.found.panel.members, self.prompts, self.seed)
            for one in with_panel
        ]
        calls = self._ask(COMMENT, wanted, recall=True)
        share = (time.perf_counter() - began) / len(with_panel)
        with_comments = [
            kept if isinstance(kept, ModelError) else _with_comments(one, _Stage(kept, share))
            for one, kept in zip(with_panel, calls, strict=True)
        ]
        self._note(COMMENT, [one.question for one in with_panel], with_comments)
        return with_comments

    @spanned("ethos.outcome")
    def _aggregate(self, with_comments: Sequence[_WithComments]) -> Sequence[_WithOutcome | EthosError]:
        """Stage 3: aggregate the comments of every question by its mode."""
        began = time.perf_counter()
        self.progress("writing the answer" if len(with_comments) == 1 else f"writing {len(with_comments)} answers")
        questions = [one.with_panel.question for one in with_comments]
        kept: list[list[Kept]] = [[] for _ in with_comments]

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
            (question.mode, Task(question.scenario, one.comments, one.with_panel.weights, self.prompts, self.seed))
            for question, one in zip(questions, with_comments, strict=True)
        ]
        outcomes = conclude(tasks, self.embedder, put, self.modes)
        share = (time.perf_counter() - began) / len(with_comments)
        self._note(MAIN, questions, outcomes)
        return [
            outcome if isinstance(outcome, ModelError) else _WithOutcome(one, outcome, _Stage(calls, share))
            for one, outcome, calls in zip(with_comments, outcomes, kept, strict=True)
        ]

    def _ask(
        self, stage: str, wanted: Sequence[Sequence[Query]], recall: bool, on_text: OnText | None = None
    ) -> list[list[Kept] | ModelError]:
        """Return the calls of each question's queries: from the record, else made now; equal queries are made once."""
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
        """Record the reason and the reply of every failed call."""
        for question, result in zip(questions, results, strict=True):
            if isinstance(result, ModelError):
                self.record.keep_failures(question.scenario, [Failure(stage, 1, result.message, result.reply)])

    def _record_answer(self, finished: _WithOutcome, seconds: float) -> Answer:
        with_comments, with_panel = finished.with_comments, finished.with_comments.with_panel
        question, found = with_panel.question, with_panel.found
        made: dict[str, Sequence[AnyCall]] = {
            "persona": found.calls,
            "comment": with_comments.stage.made,
            "main": finished.stage.made,
        }
        timings = {
            **found.seconds,
            "comment": with_comments.stage.seconds,
            "main": finished.stage.seconds,
            "total": seconds,
        }
        answer = Answer(
            answer_id=uuid.uuid4().hex,
            created_at=now(),
            mode=question.mode,
            scenario=question.scenario,
            panel=found.panel,
            comments=with_comments.comments,
            outcome=finished.outcome,
            calls={stage: len(calls) for stage, calls in made.items()},
            tokens=_tokens([call for calls in made.values() for call in calls]),
            timings={stage: round(spent, 6) for stage, spent in timings.items()},
            models={stage: self.model(role).identity.name for stage, role in ROLES.items()},
            seed=self.seed,
            prompt_set=self.prompts.label,
            warnings=(
                *question.warnings,
                *cautions(with_comments.comments, finished.outcome),
                *self._views(question.mode, found.panel, finished.outcome),
            ),
        )
        kept: list[KeptCall] = [*found.kept, *(one.kept for one in (*with_comments.stage.calls, *finished.stage.calls))]
        self.record.keep_answer(answer, kept, version("ethos-pool"), question.request, self.embedder.identity)
        note("recorded", answer_id=answer.answer_id, mode=str(answer.mode))
        return answer

    def _views(self, mode: Mode, panel: Panel, outcome: Outcome) -> list[str]:
        """Return warnings about views that an Overton answer omits, and about a persona that dominates it."""
        if mode is not Mode.OVERTON:
            return []
        names = [member.persona.name for member in panel.members]
        return view_warnings(names, outcome.influences, outcome.unheard, self.most_share)


def _apply(
    values: Sequence[T | EthosError], step: Callable[[list[T]], Sequence[U | EthosError]]
) -> list[U | EthosError]:
    """Apply a step to all values without an error at once; errors keep their places."""
    sound = [value for value in values if not isinstance(value, EthosError)]
    results = iter(step(sound) if sound else ())
    return [value if isinstance(value, EthosError) else next(results) for value in values]


def _with_panel(question: Question, found: Assembly, priors: Priors) -> _WithPanel | InputError:
    try:
        return _WithPanel(question, found, _weights(found.panel, priors))
    except InputError as error:
        return error


def _weights(panel: Panel, priors: Priors) -> tuple[float, ...]:
    """Return the priors of the panel's members, normalised to sum 1."""
    weights = [priors.get(member.persona.id, 1.0) for member in panel.members]
    if not sum(weights):
        raise InputError("the priors leave no persona of the panel any weight", "give one of them a weight above 0")
    return tuple(weight / sum(weights) for weight in weights)


def _with_comments(with_panel: _WithPanel, stage: _Stage) -> _WithComments | ModelError:
    members = with_panel.found.panel.members
    try:
        said = [comment_of(member, one.call, one.kept.id) for member, one in zip(members, stage.calls, strict=True)]
    except ModelError as error:
        return error
    return _WithComments(with_panel, tuple(said), stage)


def _tokens(calls: Sequence[AnyCall]) -> dict[str, int]:
    read = sum(c.completion.prompt_tokens if isinstance(c, Call) else c.reading.prompt_tokens for c in calls)
    return {
        "prompt": read,
        "completion": sum(c.completion.completion_tokens for c in calls if isinstance(c, Call)),
    }
