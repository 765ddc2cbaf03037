"""Influence by every method: which methods fit a mode, their models, and their storage.

Knows the record and the methods; how each computes is in the module named after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from itertools import combinations
from typing import Any

from ethos.answer import Answer
from ethos.audit.influence import leave_one_out as causal
from ethos.audit.influence.order import comment_order, option_order
from ethos.audit.influence.textual import BY_EMBEDDING, ENTAILED, trace_by_embedding, trace_by_entailment
from ethos.audit.replay import RecordedModels, recorded_prompts
from ethos.encoders.entailment import EntailmentModel
from ethos.errors import InputError
from ethos.influence import LEAVE_ONE_OUT, SUPPORTED, Attribution
from ethos.llm import LanguageModel, scoring
from ethos.llm.opening import open_model
from ethos.pipeline.ethos import Ethos
from ethos.pipeline.modes import STAGE, Task
from ethos.pool.storage.influences import attributions, keep_attribution, sent_calls
from ethos.pool.storage.record import Record
from ethos.scenario import Mode

PRIMARY = "answer"  # the method whose influences an answer carries from the start


class Method(StrEnum):
    """Ways to find an influence, beside the one an answer carries from the start."""

    TEXTUAL = "textual"
    LEAVE_ONE_OUT = "leave-one-out"
    SHAPLEY = "shapley"
    RUNNER_UP = "runner-up"
    ORDER = "order"


# Which methods there are for which modes, and what their numbers are.
MEANINGS: Mapping[tuple[Method, Mode], str] = {
    (Method.TEXTUAL, Mode.OVERTON): BY_EMBEDDING,
    (Method.LEAVE_ONE_OUT, Mode.OVERTON): "loss in the answer's mean log probability a token, in nats, without this "
    "persona's comment",
    (Method.LEAVE_ONE_OUT, Mode.DISTRIBUTIONAL): LEAVE_ONE_OUT,
    (Method.SHAPLEY, Mode.OVERTON): "Shapley value of this persona's comment in the answer's mean log probability a "
    "token, in nats, over all subsets",
    (Method.SHAPLEY, Mode.DISTRIBUTIONAL): "Shapley value of this persona in how near a panel comes to the answer's "
    "distribution, all summing to 1: high for who stands for it, where leave-one-out is high for who pulls it away",
    (Method.RUNNER_UP, Mode.STEERABLE): "how far the answer moves when this persona's comment cannot be selected: JS "
    "distance of the options (natural log), or 1 less the cosine of the texts",
    (Method.ORDER, Mode.STEERABLE): "probability that this persona's comment is selected, averaged over all rotations",
    (Method.ORDER, Mode.DISTRIBUTIONAL): f"{LEAVE_ONE_OUT}, the options averaged over all rotations",
    (Method.ORDER, Mode.OVERTON): "none; only the order of the options was changed",
}


def find_influence(
    ethos: Ethos,
    identifier: str,
    method: Method,
    *,
    nli: str = "",
    threshold: float | None = None,
    by: str | LanguageModel = "",
) -> tuple[Answer, Attribution]:
    """Find the influences of an answer by a method, and keep them in the record.

    Args:
        ethos: Holds the record, the encoder and the settings.
        identifier: The answer, by the start of its id.
        method: Which.
        nli: A classifier of entailment for the textual method, by name; by embedding where empty.
        threshold: From which a comment supports a sentence; the textual method's own where None.
        by: Asked in place of the model that answered; a name, or a model.

    Raises:
        InputError: No answer's id starts with this, or several do; the method does not fit the answer; its prompts
            cannot be composed again.
        ConfigurationError: A model cannot be opened, or cannot do what the method asks.
        ModelError: A model cannot be reached.
    """
    answer = ethos.record.answer(identifier)
    if (method, answer.mode) not in MEANINGS:
        raise InputError(f"the method {method} is not for {answer.mode} answers", _fitting(answer.mode))
    found = _textual(ethos, answer, nli, threshold) if method is Method.TEXTUAL else _causal(ethos, answer, method, by)
    keep_attribution(ethos.record, answer.answer_id, found, version("ethos-pool"))
    return answer, found


def influences(record: Record, answer: Answer) -> list[Attribution]:
    """All that is known of an answer's influences: what it carries from the start, then what was found later."""
    ids = [member.persona.id for member in answer.panel.members]
    own = Attribution(PRIMARY, answer.outcome.influence_method, dict(zip(ids, answer.outcome.influences, strict=True)))
    return [own, *attributions(record, answer.answer_id)]


def agreement(found: Sequence[Attribution]) -> list[dict[str, Any]]:
    """Spearman's rank correlation between the methods, -1..1; None where a method gives all personas the same value."""
    return [
        {"methods": [one.method, other.method], "spearman": _spearman(one.influences, other.influences)}
        for one, other in combinations(found, 2)
    ]


def _spearman(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> float | None:
    from scipy.stats import spearmanr  # late: a second that only a comparison needs

    pairs = [(value, other.get(who)) for who, value in one.items()]
    first, second = [a for a, b in pairs if None not in (a, b)], [b for a, b in pairs if None not in (a, b)]
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)


def _textual(ethos: Ethos, answer: Answer, nli: str, threshold: float | None) -> Attribution:
    sent_calls(
        ethos.record, answer.answer_id
    )  # raises where texts were withheld or forgotten: nothing could be traced to them
    texts = [comment.text for comment in answer.comments]
    ids = [comment.persona_id for comment in answer.comments]
    if nli:
        limit = ENTAILED if threshold is None else threshold
        trace = trace_by_entailment(EntailmentModel(nli), answer.output, texts, limit)
    else:
        limit = SUPPORTED if threshold is None else threshold
        trace = trace_by_embedding(ethos.embedder, answer.output, texts, limit)
    details = {**trace.as_dict(ids), "asked": nli or ethos.embedder.identity.name}
    return Attribution(Method.TEXTUAL, trace.meaning, dict(zip(ids, trace.shares, strict=True)), details)


def _causal(ethos: Ethos, answer: Answer, method: Method, by: str | LanguageModel) -> Attribution:
    case = _case(ethos, answer)

    def model() -> LanguageModel:
        if not by:
            return RecordedModels(ethos).of(case.calls[0].identity, STAGE)
        return open_model(by, ethos.settings.endpoint, ethos.settings.precision) if isinstance(by, str) else by

    effect = _effect(case, method, model)
    kept = ethos.record.keep_calls(effect.calls)
    details = {**effect.details, "calls": [call.id for call in kept]} if kept else effect.details
    ids = [comment.persona_id for comment in answer.comments]
    return Attribution(method, MEANINGS[method, answer.mode], dict(zip(ids, effect.influences, strict=True)), details)


def _case(ethos: Ethos, answer: Answer) -> causal.Case:
    prompts = recorded_prompts(answer.prompt_set)
    task = Task(answer.scenario, answer.comments, answer.outcome.weights, prompts, answer.seed)
    calls = tuple(kept.call for kept in sent_calls(ethos.record, answer.answer_id) if kept.call.stage == STAGE)
    case = causal.Case(answer.mode, task, answer.outcome, calls, ethos.embedder)
    case.check()
    return case


def _effect(case: causal.Case, method: Method, model: Callable[[], LanguageModel]) -> causal.Effect:
    match method, case.mode:
        case Method.LEAVE_ONE_OUT, Mode.OVERTON:
            return causal.passages_left_out(case, scoring(model()))
        case Method.SHAPLEY, Mode.OVERTON:
            return causal.passages_shapley(case, scoring(model()))
        case Method.LEAVE_ONE_OUT, _:
            return causal.distribution_left_out(case)
        case Method.SHAPLEY, _:
            return causal.distribution_shapley(case)
        case Method.RUNNER_UP, _:
            return causal.runner_up(case, model())
        case _, Mode.STEERABLE:
            return _steerable_order(case, model())
    return option_order(case, model())


def _steerable_order(case: causal.Case, model: LanguageModel) -> causal.Effect:
    """The order of the comments, and where options were read that of the options."""
    comments = comment_order(case, model)
    if case.outcome.distribution is None:
        return comments
    options = option_order(case, model)
    details = {**comments.details, "options": options.details}
    return causal.Effect(comments.influences, details, (*comments.calls, *options.calls))


def _fitting(mode: Mode) -> str:
    """What to ask for instead."""
    return f"use --method {' or '.join(method for method, other in MEANINGS if other is mode)}"
