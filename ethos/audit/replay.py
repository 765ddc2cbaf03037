"""Answers run again from the record: the very same calls, sent as they were sent, and where the replies differ.

Knows the pipeline and the record; stores nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ethos.answer import Answer, Outcome
from ethos.errors import ConfigurationError, ModelError
from ethos.generation.plan import planned
from ethos.llm import LanguageModel, ModelIdentity
from ethos.llm.calls import AnyCall, Call, Query, ReadingCall, ReadingRequest, ask
from ethos.llm.opening import open_model
from ethos.pipeline.ethos import Ethos
from ethos.pipeline.modes import MODES, STAGE, Task
from ethos.pipeline.stages import ROLES
from ethos.pool.storage.influences import sent_calls
from ethos.pool.storage.record import Kept
from ethos.prompts import PromptSet, PromptSetName, prompt_set

# Probabilities count as the same within this: sums in another order differ by less, in float32.
TOLERANCE = 1e-6
ANSWER = "answer"
_BEFORE, _AFTER = 20, 40  # characters that are shown around a difference


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a replay is not what was recorded.

    Attributes:
        stage: Of the call, or ``answer`` for what the mode made of the calls.
        what: What differs, in words.
        number: Which of the answer's calls, from 1; 0 for the answer.
        call_id: The recorded call; empty for the answer.
        character: The first that differs, from 0, in a text; None elsewhere.
        recorded: What was, from a little before that place.
        replayed: What is now, from the same place.
    """

    stage: str
    what: str
    number: int = 0
    call_id: str = ""
    character: int | None = None
    recorded: str = ""
    replayed: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of running an answer again.

    Attributes:
        answer_id: Which answer.
        calls: How many calls were sent.
        divergences: Where the replay differs, in the order of the calls; empty if it is identical.
        seconds: How long it took.
    """

    answer_id: str
    calls: int
    divergences: tuple[Divergence, ...]
    seconds: float

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.divergences

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "answer_id": self.answer_id,
            "identical": self.identical,
            "calls": self.calls,
            "seconds": round(self.seconds, 6),
            "divergences": [asdict(divergence) for divergence in self.divergences],
        }


class RecordedModels:
    """Opens the models that a record names, each once.

    Args:
        ethos: Its own models serve where they are the same weights; its settings say where endpoints are.
    """

    def __init__(self, ethos: Ethos) -> None:
        self._ethos = ethos
        self._opened: dict[str, LanguageModel] = {}

    def of(self, identity: ModelIdentity, stage: str) -> LanguageModel:
        """The model of this identity as far as it can be had: the name is the same, the weights may have changed.

        Raises:
            ConfigurationError: It cannot be opened.
        """
        if identity.id not in self._opened:
            role = ROLES[stage]
            own = self._ethos.model(role) if self._ethos.named(role) == identity.name else None
            self._opened[identity.id] = own if own and own.identity.id == identity.id else self._open(identity)
        return self._opened[identity.id]

    def _open(self, identity: ModelIdentity) -> LanguageModel:
        return open_model(identity.name, self._ethos.settings.endpoint, identity.precision or "auto")


def recorded_prompts(label: str) -> PromptSet:
    """The prompt set of a recorded label, as this version has it.

    Raises:
        ConfigurationError: This version has no such set.
    """
    name, _, rest = label.partition("-")
    if name not in list(PromptSetName):
        raise ConfigurationError(f"this version has no prompt set {label!r}", "use the version that made the answer")
    prompts = prompt_set(PromptSetName(name))
    return planned(prompts) if rest.endswith("+plan") else prompts


def replay(ethos: Ethos, identifier: str) -> Replay:
    """Send every call of an answer again, and compare what comes back; nothing is stored.

    Calls that were one batch are one batch again, as far as they belong to this answer.

    Raises:
        InputError: No answer's id starts with this, or several do; or its calls are not in the record as sent.
        ConfigurationError: A model cannot be opened.
    """
    began = time.perf_counter()
    answer = ethos.record.answer(identifier)
    sent = sent_calls(ethos.record, answer.answer_id)
    models = RecordedModels(ethos)
    found: list[Divergence] = []
    made: dict[str, AnyCall] = {}
    for batch in _batches(sent):
        first = sent[batch[0]].call
        model = models.of(first.identity, first.stage)
        try:
            again = ask(model, first.stage, [query_of(sent[i].call) for i in batch])
        except ModelError as error:
            found += [_placed(sent, i, Divergence(first.stage, f"the model failed: {error.message}")) for i in batch]
            continue
        for i, call in zip(batch, again, strict=True):
            made[sent[i].call.key] = call
            found += [_placed(sent, i, difference) for difference in _differences(sent[i].call, call)]
    found.sort(key=lambda divergence: divergence.number)
    if not found:
        found += _outcome_differences(ethos, answer, sent, made)
    return Replay(answer.answer_id, len(sent), tuple(found), time.perf_counter() - began)


def query_of(call: AnyCall) -> Query:
    """What was asked."""
    return call.request if isinstance(call, Call) else ReadingRequest(call.messages, call.labels)


def first_difference(one: str, other: str) -> int | None:
    """The first character in which two texts differ, from 0; None where they are equal."""
    if one == other:
        return None
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _batches(sent: Sequence[Kept]) -> list[list[int]]:
    """Which calls were sent together, by their positions, in the order in which they were first sent."""
    groups: dict[tuple[str, str, float], list[int]] = {}
    for position, kept in enumerate(sent):
        call = kept.call
        # Rows of one batch share its time, to the last digit; other batches do not take the very same.
        seconds = call.completion.seconds if isinstance(call, Call) else call.reading.seconds
        groups.setdefault((call.stage, call.identity.id, seconds), []).append(position)
    return list(groups.values())


def _placed(sent: Sequence[Kept], position: int, divergence: Divergence) -> Divergence:
    return replace(divergence, number=position + 1, call_id=sent[position].kept.id)


def _differences(recorded: AnyCall, replayed: AnyCall) -> Iterator[Divergence]:
    """What differs between a call and its replay, without its place."""
    stage, old, new = recorded.stage, recorded.identity, replayed.identity
    if old.id != new.id:
        yield Divergence(stage, f"{old.name} has other weights or another precision than it had")
    if isinstance(recorded, Call) and isinstance(replayed, Call):
        yield from _text_differences(stage, "the completion", recorded.completion.text, replayed.completion.text)
        ends = recorded.completion.finish_reason, replayed.completion.finish_reason
        if ends[0] != ends[1]:
            yield Divergence(stage, f"the completion ended by {ends[1]}, not by {ends[0]}")
    elif isinstance(recorded, ReadingCall) and isinstance(replayed, ReadingCall):
        pairs = zip(recorded.labels, recorded.reading.probabilities, replayed.reading.probabilities, strict=True)
        for label, before, after in pairs:
            if abs(before - after) > TOLERANCE:
                yield Divergence(stage, f"the probability of {label} is {after:.6f}, not {before:.6f}")


def _text_differences(stage: str, what: str, recorded: str, replayed: str) -> Iterator[Divergence]:
    place = first_difference(recorded, replayed)
    if place is not None:
        shown = slice(max(0, place - _BEFORE), place + _AFTER)
        yield Divergence(stage, f"{what} is another", 0, "", place, recorded[shown], replayed[shown])


def _outcome_differences(
    ethos: Ethos, answer: Answer, sent: Sequence[Kept], made: Mapping[str, AnyCall]
) -> Iterator[Divergence]:
    """What the mode makes of the replayed calls, beside what it made of the recorded ones."""
    main = [kept.call for kept in sent if kept.call.stage == STAGE]
    prompts = recorded_prompts(answer.prompt_set)
    task = Task(answer.scenario, answer.comments, answer.outcome.weights, prompts, answer.seed)
    going = MODES[answer.mode](task, ethos.embedder)
    asked = 0
    try:
        queries = next(going)
        while True:
            for query in queries:
                if query.key(main[0].identity) not in made:
                    yield _composed(main[min(asked, len(main) - 1)], query)
                    return
                asked += 1
            queries = going.send([made[query.key(main[0].identity)] for query in queries])
    except StopIteration as end:
        yield from _unlike(answer.outcome, end.value)
    except ModelError as error:
        yield Divergence(ANSWER, f"no answer can be made: {error.message}")


def _composed(recorded: AnyCall, query: Query) -> Divergence:
    """How the prompt that this version composes differs from the one that was sent."""
    texts = [_prompt(query_of(recorded)), _prompt(query)]
    for difference in _text_differences(STAGE, "the prompt as this version composes it", *texts):
        return difference
    return Divergence(STAGE, "this version asks with other parameters")


def _prompt(query: Query) -> str:
    return "\n\n".join(message.content for message in query.messages)


def _unlike(recorded: Outcome, replayed: Outcome) -> Iterator[Divergence]:
    yield from _text_differences(ANSWER, "the text", recorded.output, replayed.output)
    if recorded.choice != replayed.choice:
        yield Divergence(ANSWER, f"the choice is {replayed.choice}, not {recorded.choice}")
    for name in ("distribution", "selection", "influences"):
        before, after = getattr(recorded, name) or (), getattr(replayed, name) or ()
        if len(before) != len(after) or any(_apart(a, b) for a, b in zip(before, after, strict=True)):
            yield Divergence(ANSWER, f"the {name} is {_numbers(after)}, not {_numbers(before)}")


def _apart(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > TOLERANCE


def _numbers(values: Sequence[float | None]) -> str:
    return ", ".join("none" if value is None else f"{value:.6f}" for value in values)
