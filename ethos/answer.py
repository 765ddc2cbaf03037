"""The values of an answer: gate, panel, comments, influences, outcome, and their JSON.

Plain values, no I/O. `Answer.as_dict` is the contract of ``ethos answer --json`` (design.md section 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from ethos.persona import Persona
from ethos.scenario import Mode, Scenario

# MiniLM cosine, by eye: against the starter pool, 20 common health questions score 0.47 to 0.96 and 20 questions from
# elsewhere 0.08 to 0.29 (tests/pool/test_starter.py). Not calibrated: it carries no guarantee.
DEFAULT_THRESHOLD = 0.45
LOW_MASS = 0.2


class Source(StrEnum):
    """Where a panel member came from."""

    POOL = "pool"
    FRESH = "fresh"


class Decision(StrEnum):
    """Whether the pool serves a scenario."""

    HIT = "hit"
    PARTIAL = "partial"
    MISS = "miss"
    FRESH = "fresh"


class Sourcing(StrEnum):
    """Where the caller allows personas to come from.

    `AUTO` retrieves, and generates what is missing; `POOL` never generates; `FRESH` never retrieves (the paper).
    """

    AUTO = "auto"
    POOL = "pool"
    FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class Gate:
    """The decision whether the pool serves this scenario.

    Attributes:
        decision: Hit, partial, miss; or fresh when the pool was not asked.
        score: Relevance of the panel's k-th candidate to the scenario, cosine -1..1, higher is nearer.
        threshold: The relevance from which a candidate is kept.
        coverage: Share of the values estimated to be at stake that the pool's choice covers, 0..1; 0 when nothing was
            near enough, None when nothing was estimated.
        required: The coverage that a calibrated pool demands of a hit, 0..1; 0 where it was not calibrated.
    """

    decision: Decision
    score: float
    threshold: float
    coverage: float | None = None
    required: float = 0.0


@dataclass(frozen=True, slots=True)
class Added:
    """A value that a panel member covers and those chosen before it do not.

    Attributes:
        value: Its text.
        share: How much of what is at stake it is, 0..1, as estimated from the pool's scenarios.
    """

    value: str
    share: float


@dataclass(frozen=True, slots=True)
class Displaced:
    """The most relevant persona that a panel member displaced.

    Attributes:
        persona_id: Who.
        name: Its name.
        relevance: Its cosine to the scenario.
        cause: Why, in words.
    """

    persona_id: str
    name: str
    relevance: float
    cause: str


@dataclass(frozen=True, slots=True)
class Member:
    """One persona of a panel.

    Attributes:
        persona: Who.
        source: From the pool, or generated for this very scenario and request.
        rank: 1..k in the order of choice.
        relevance: Cosine between the scenario and the scenario the persona was made for, -1..1.
        reason: Why it was chosen, in words a reader of the audit understands.
        adds: The values it adds to the panel, the greatest first; empty where it was not chosen by coverage.
        displaced: The more relevant persona that it displaced; None if there is none.
    """

    persona: Persona
    source: Source
    rank: int
    relevance: float
    reason: str
    adds: tuple[Added, ...] = ()
    displaced: Displaced | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A persona that was looked at for a panel.

    Attributes:
        persona_id: Who.
        relevance: Its cosine to the scenario.
        fate: Whether it was chosen, and if not why, in words.
    """

    persona_id: str
    relevance: float
    fate: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The k personas chosen for one scenario, in rank order, and the gate that let them through.

    Attributes:
        members: Who.
        gate: The decision.
        candidates: Who was looked at, the most relevant first; none where a stored panel was given, or nobody asked.
    """

    members: tuple[Member, ...]
    gate: Gate
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """What one persona says of the scenario (paper section 3.2).

    Attributes:
        persona_id: Whose comment.
        text: The comment; may be cut, see `finish_reason`.
        finish_reason: ``stop``, or ``length`` when the token limit cut it.
        call_id: The recorded model call that wrote it.
    """

    persona_id: str
    text: str
    finish_reason: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a mode makes of the comments.

    Attributes:
        output: The answer's text.
        choice: For a question, the letter of the chosen option; else None.
        distribution: For a question, one probability an option, summing to 1; None where the procedure reads a
            written letter instead.
        influences: One number a panel member, by the cheap exact method of the mode; None where it is undefined.
        influence_method: What those numbers mean.
        distributions: For distributional mode, the distribution each comment gives, in panel order.
        selection: For steerable mode, the probability of each comment to be selected, in panel order.
        weights: The normalised priors over the panel.
        label_mass: Smallest probability that the asked-for labels held among next tokens; low means the model
            did not mean to answer with a label. None when nothing was read that way.
        finish_reason: Of the written answer; ``stop`` when nothing was written.
        unheard: Positions of panel members whose comment no sentence of an Overton answer matches, by embedding.
    """

    output: str
    influences: tuple[float | None, ...]
    influence_method: str
    weights: tuple[float, ...]
    choice: str | None = None
    distribution: tuple[float, ...] | None = None
    distributions: tuple[tuple[float, ...], ...] = ()
    selection: tuple[float, ...] = ()
    label_mass: float | None = None
    finish_reason: str = "stop"
    unheard: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request, with its panel, comments, calls and costs.

    Attributes:
        answer_id: Its id in the record.
        created_at: UTC, ISO 8601.
        mode: How comments became the answer.
        scenario: The scenario.
        panel: The personas and the gate.
        comments: One a persona, in panel order.
        outcome: The result of the mode.
        calls: Model calls made, by stage, without reused ones.
        tokens: Tokens that those calls read (``prompt``) and wrote (``completion``).
        timings: Seconds by stage; of a batch, this answer's even share.
        models: Names of the models by role.
        seed: Seed of the request.
        prompt_set: Label of the prompt set.
        warnings: Limitations of this answer.
        reused: Whether it was looked up in the record; calls, tokens and timings are then those of the look-up.
    """

    answer_id: str
    created_at: str
    mode: Mode
    scenario: Scenario
    panel: Panel
    comments: tuple[Comment, ...]
    outcome: Outcome
    calls: Mapping[str, int]
    tokens: Mapping[str, int]
    timings: Mapping[str, float]
    models: Mapping[str, str]
    seed: int
    prompt_set: str
    warnings: tuple[str, ...] = field(default=())
    reused: bool = False

    @property
    def output(self) -> str:
        """Return the answer's text."""
        return self.outcome.output

    def again(self, seconds: float) -> Answer:
        """Return the same answer as a reused one: no calls, and the seconds of the look-up."""
        return replace(
            self,
            calls=dict.fromkeys(self.calls, 0),
            tokens=dict.fromkeys(self.tokens, 0),
            timings={**dict.fromkeys(self.timings, 0.0), "total": round(seconds, 6)},
            reused=True,
        )

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row a persona: attributes, source, rank, relevance, comment, influence.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas  # late: an optional package

        return pandas.DataFrame(self.as_dict()["panel"])

    def _repr_html_(self) -> str:
        """Return the answer and its panel as HTML, for notebooks."""
        from html import escape  # late: its table of entities, which only notebooks need

        rows = "".join(
            f"<tr><td>{escape(member['name'])}</td><td>{escape(member['core_value'])}</td>"
            f"<td>{escape(member['comment'])}</td></tr>"
            for member in self.as_dict()["panel"]
        )
        warnings = "".join(f"<p><strong>Note:</strong> {escape(text)}</p>" for text in self.warnings)
        return (
            f"<p>{escape(self.output)}</p>{warnings}<table><thead><tr><th>persona</th><th>core value</th>"
            f"<th>comment</th></tr></thead><tbody>{rows}</tbody></table>"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values; key names are a contract."""
        out = self.outcome
        result: dict[str, Any] = {
            "answer_id": self.answer_id,
            "created_at": self.created_at,
            "reused": self.reused,
            "mode": str(self.mode),
            "scenario": self.scenario.situation,
            "options": list(self.scenario.options),
            "attribute": str(self.scenario.attribute) if self.scenario.attribute else None,
            "output": out.output,
        }
        if self.scenario.options:
            result["choice"] = out.choice
            result["distribution"] = None if out.distribution is None else list(out.distribution)
        result |= {
            "finish_reason": out.finish_reason,
            "label_mass": out.label_mass,
            "gate": {**asdict(self.panel.gate), "decision": str(self.panel.gate.decision)},
            "influence_method": out.influence_method,
            "panel": [self._member(position) for position in range(len(self.panel.members))],
            "calls": dict(self.calls),
            "tokens": dict(self.tokens),
            "timings": dict(self.timings),
            "models": dict(self.models),
            "seed": self.seed,
            "prompts": self.prompt_set,
            "warnings": list(self.warnings),
        }
        return result

    def _member(self, position: int) -> dict[str, Any]:
        member, comment, out = self.panel.members[position], self.comments[position], self.outcome
        result: dict[str, Any] = {
            "persona_id": member.persona.id,
            **member.persona.as_dict(),
            "source": str(member.source),
            "rank": member.rank,
            "relevance": member.relevance,
            "reason": member.reason,
            "adds": [asdict(added) for added in member.adds],
            "displaced": asdict(member.displaced) if member.displaced else None,
            "comment": comment.text,
            "comment_finish_reason": comment.finish_reason,
            "weight": out.weights[position],
            "influence": out.influences[position],
        }
        if out.distributions:
            result["distribution"] = list(out.distributions[position])
        if out.selection:
            result["selection_probability"] = out.selection[position]
        return result


def cautions(comments: Sequence[Comment], outcome: Outcome) -> list[str]:
    """What a reader should know before trusting an answer."""
    found = []
    if cut := sum(comment.finish_reason == "length" for comment in comments):
        found.append(f"{cut} of {len(comments)} comments were cut at the token limit")
    if outcome.finish_reason == "length":
        found.append("the answer was cut at the token limit")
    if outcome.label_mass is not None and outcome.label_mass < LOW_MASS:
        found.append(
            f"the model gave the option labels only {outcome.label_mass:.1%} of its probability: "
            "it hardly meant to choose"
        )
    return found
