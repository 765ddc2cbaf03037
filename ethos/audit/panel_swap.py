"""A recorded question answered with another panel: the comments that stay are kept, the mode composes the rest anew.

Knows the pipeline and the record. What it finds is stored as an answer only if that is asked for.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from ethos.answer import Answer, Member, Outcome, Source, cautions
from ethos.audit.replay import RecordedModels, first_difference, recorded_prompts
from ethos.errors import InputError, ModelError
from ethos.influence import distance
from ethos.llm import LanguageModel
from ethos.llm.calls import AnyCall, Call, Query, ask
from ethos.pipeline.comments import STAGE as COMMENT
from ethos.pipeline.comments import comment_of, comment_requests
from ethos.pipeline.ethos import Ethos
from ethos.pipeline.modes import STAGE, Task, check, conclude
from ethos.pool.storage.influences import sent_calls
from ethos.pool.storage.record import Kept, KeptCall
from ethos.pool.storage.rows import now
from ethos.prompts import PromptSet
from ethos.scenario import Scenario
from ethos.text.cleaning import digest


@dataclass(frozen=True, slots=True)
class Swap:
    """An answer beside the one that another panel gives.

    Attributes:
        before: As recorded.
        after: With the other panel; in the record only if that was asked for.
        recorded: Whether it is.
    """

    before: Answer
    after: Answer
    recorded: bool

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; ``distance`` is the JS distance of the options, natural log, 0..0.8326."""
        one, other = self.before.outcome, self.after.outcome
        moved = one.distribution and other.distribution and distance(one.distribution, other.distribution)
        place = first_difference(one.output, other.output)
        return {
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "recorded": self.recorded,
            "same_output": place is None,
            "first_difference": place,
            "distance": moved,
        }


def swap(
    ethos: Ethos, identifier: str, without: Sequence[str] = (), added: Sequence[str] = (), keep: bool = False
) -> Swap:
    """Answer a recorded question with another panel: the same comments but for those who leave, new ones of who joins.

    Args:
        ethos: Holds the record, the pool and the settings.
        identifier: The answer, by the start of its id.
        without: Members who leave, by the starts of their ids.
        added: Personas of the pool who join, by the starts of their ids; each with the mean prior of the panel.
        keep: Whether the new answer is stored. Its calls always are.

    Raises:
        InputError: Nobody is to leave or join; somebody is not in the panel, or in it already; the prompt set is
            another one now; the mode cannot answer with this panel.
        ConfigurationError: A model cannot be opened.
        ModelError: A model cannot be reached, or its reply cannot be read.
    """
    began = time.perf_counter()
    answer = ethos.record.answer(identifier)
    prompts = recorded_prompts(answer.prompt_set)
    if added and prompts.label != answer.prompt_set:
        raise InputError(f"the answer was made with the prompts {answer.prompt_set}, this version has {prompts.label}")
    if not without and not added:
        raise InputError("nobody is to leave the panel or to join it", "name a persona with --without or --with")
    stay, joining = _staying(answer, without), _joining(ethos, answer, added)
    members = [replace(m, rank=rank) for rank, m in enumerate([*(answer.panel.members[i] for i in stay), *joining], 1)]
    if not members:
        raise InputError("nobody would be left in the panel", "let somebody stay")
    check(answer.mode, answer.scenario, len(members))
    sent = sent_calls(ethos.record, answer.answer_id)
    models = RecordedModels(ethos)
    heard = _heard(ethos, answer, joining, prompts, _model(sent, COMMENT, models))
    comments = [
        *(answer.comments[i] for i in stay),
        *(comment_of(member, one.call, one.kept.id) for member, one in zip(joining, heard, strict=True)),
    ]
    task = Task(answer.scenario, comments, _weights(answer, stay, len(joining)), prompts, answer.seed)
    outcome, ended = _ended(ethos, answer, task, sent, _model(sent, STAGE, models))
    made = [one.call for one in (*heard, *ended) if not one.kept.reused]
    after = replace(
        answer,
        answer_id=uuid.uuid4().hex,
        created_at=now(),
        panel=replace(answer.panel, members=tuple(members)),
        comments=tuple(comments),
        outcome=outcome,
        calls={stage: sum(call.stage == stage for call in made) for stage in answer.calls},
        tokens=_tokens(made),
        timings={**dict.fromkeys(answer.timings, 0.0), "total": round(time.perf_counter() - began, 6)},
        warnings=(_told(answer, stay, joining), *cautions(comments, outcome)),
    )
    if keep:
        said = [KeptCall(answer.comments[i].call_id, reused=True) for i in stay]
        request = digest("swap", answer.answer_id, [member.persona.id for member in members])
        calls = [*said, *(one.kept for one in (*heard, *ended))]
        ethos.record.keep_answer(after, calls, version("ethos-pool"), request, ethos.embedder.identity)
    return Swap(answer, after, keep)


def _staying(answer: Answer, without: Sequence[str]) -> list[int]:
    """Positions of the members who stay."""
    members = answer.panel.members
    leaving: set[int] = set()
    for start in without:
        meant = [i for i, member in enumerate(members) if member.persona.id.startswith(start)]
        if len(meant) != 1:
            raise InputError(
                f"{len(meant)} members of the panel have an id that starts with {start!r}",
                f"see `ethos audit show {answer.answer_id[:12]}`",
            )
        leaving.update(meant)
    return [i for i in range(len(members)) if i not in leaving]


def _joining(ethos: Ethos, answer: Answer, added: Sequence[str]) -> list[Member]:
    """The personas who join; their ranks are not right yet."""
    there = {member.persona.id for member in answer.panel.members}
    members = []
    for start in added:
        identifier = ethos.pool.store.find(start)
        if identifier in there:
            raise InputError(f"persona {identifier[:12]} is in the panel already")
        there.add(identifier)
        persona, _ = ethos.pool.store.persona(identifier)
        relevance = _relevance(ethos, answer.scenario, identifier)
        members.append(Member(persona, Source.POOL, 0, relevance, "put in by `ethos audit replay --with`"))
    return members


def _relevance(ethos: Ethos, scenario: Scenario, persona_id: str) -> float:
    """Cosine between the scenario and the nearest one that the persona was made for."""
    made_for = [str(origin["situation"]) for origin in ethos.pool.store.origins(persona_id)]
    asked, *others = ethos.embedder.encode([scenario.situation, *made_for])
    return round(max(float(asked @ other) for other in others), 6)


def _heard(
    ethos: Ethos, answer: Answer, joining: Sequence[Member], prompts: PromptSet, model: LanguageModel
) -> list[Kept]:
    """The comments of those who join; recorded ones are reused, as for any answer."""
    requests = comment_requests(answer.scenario, joining, prompts, answer.seed)
    keyed = {request.key(model.identity): request for request in requests}
    return _asked(ethos, model, COMMENT, requests, ethos.record.recall(COMMENT, model.identity, dict(keyed)))


def _ended(
    ethos: Ethos, answer: Answer, task: Task, sent: Sequence[Kept], model: LanguageModel
) -> tuple[Outcome, list[Kept]]:
    """What the mode makes of the other panel, and the calls of the main model it rests on.

    Calls that the answer made itself are not made again: in bfloat16 another batch gives other numbers, and what
    differs shall be the panel's doing.
    """
    own = {one.call.key: Kept(one.call, replace(one.kept, reused=True)) for one in sent if one.call.stage == STAGE}
    calls: list[Kept] = []

    def put(queries: Mapping[int, Sequence[Query]]) -> dict[int, Sequence[AnyCall] | ModelError]:
        replies = _asked(ethos, model, STAGE, queries[0], own)
        calls.extend(replies)
        return {0: [one.call for one in replies]}

    [outcome] = conclude([(answer.mode, task)], ethos.embedder, put)
    if isinstance(outcome, ModelError):
        raise outcome
    return outcome, calls


def _asked(
    ethos: Ethos, model: LanguageModel, stage: str, queries: Sequence[Query], known: Mapping[str, Kept]
) -> list[Kept]:
    """Calls for queries, in order; those that are not known are made, and kept in the record."""
    keys = [query.key(model.identity) for query in queries]
    missing = {key: query for key, query in zip(keys, queries, strict=True) if key not in known}
    calls = ask(model, stage, list(missing.values()))
    made = {call.key: Kept(call, kept) for call, kept in zip(calls, ethos.record.keep_calls(calls), strict=True)}
    return [made.get(key) or known[key] for key in keys]


def _model(sent: Sequence[Kept], stage: str, models: RecordedModels) -> LanguageModel:
    """The model that the answer's stage asked."""
    return models.of(next(kept.call.identity for kept in sent if kept.call.stage == stage), stage)


def _weights(answer: Answer, stay: Sequence[int], joining: int) -> tuple[float, ...]:
    """The priors of who stays, and the panel's mean prior for who joins, normalised."""
    before = answer.outcome.weights
    weights = [*(before[i] for i in stay), *[1 / len(before)] * joining]
    if not sum(weights):
        raise InputError("those who stay have no weight", "let somebody else leave")
    return tuple(weight / sum(weights) for weight in weights)


def _tokens(calls: Sequence[AnyCall]) -> dict[str, int]:
    read = sum(c.completion.prompt_tokens if isinstance(c, Call) else c.reading.prompt_tokens for c in calls)
    return {"prompt": read, "completion": sum(c.completion.completion_tokens for c in calls if isinstance(c, Call))}


def _told(answer: Answer, stay: Sequence[int], joining: Sequence[Member]) -> str:
    """What was changed, for the warnings."""
    left = [member.persona.name for i, member in enumerate(answer.panel.members) if i not in stay]
    parts = [
        *([f"without {', '.join(left)}"] if left else []),
        *([f"with {', '.join(member.persona.name for member in joining)}"] if joining else []),
    ]
    return f"answer {answer.answer_id[:12]} was given again {' and '.join(parts)}"
