"""From a scenario to its panel: retrieve, generate what is missing, store it.

Ties the pool to stage 1; knows nothing of comments or modes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ethos.answer import Decision, Gate, Member, Panel, Source, Sourcing
from ethos.calls import Call
from ethos.errors import GenerationError, PoolEmpty
from ethos.generation import Brief, Draft, generate_personas
from ethos.llm import LanguageModel
from ethos.persona import OriginKind, Persona
from ethos.pool.record import KeptCall, Record
from ethos.pool.retrieval import Pool, Retrieval
from ethos.pool.store import Origin, Placed
from ethos.prompts import PromptSet
from ethos.scenario import Scenario


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """How a panel is to be found.

    Attributes:
        k: How many personas.
        sourcing: Where they may come from.
        prompts: The prompt set of generation.
        seed: The request's seed.
    """

    k: int
    sourcing: Sourcing
    prompts: PromptSet
    seed: int


@dataclass(frozen=True, slots=True)
class Assembly:
    """A panel, and how it came about.

    Attributes:
        panel: Its members and the gate.
        calls: The calls that generated the new members.
        kept: The same calls in the record.
        seconds: Wall time of ``embed``, ``retrieve`` and ``persona``.
    """

    panel: Panel
    calls: tuple[Call, ...]
    kept: tuple[KeptCall, ...]
    seconds: Mapping[str, float]


def retrieve(pool: Pool, scenario: Scenario, request: PanelRequest) -> Retrieval:
    """What the pool gives; nothing when the caller wants fresh personas.

    Raises:
        PoolEmpty: Only pool personas are allowed, and the pool has too few near enough.
    """
    if request.sourcing is Sourcing.FRESH:
        return Retrieval((), Gate(Decision.FRESH, 0.0, pool.threshold))
    found = pool.retrieve(scenario, request.k)
    if request.sourcing is Sourcing.POOL and found.gate.decision is not Decision.HIT:
        raise PoolEmpty(
            f"the pool has {len(found.members)} distinct personas near enough to this scenario, {request.k} are needed",
            "use --personas auto, or extend the pool with `ethos pool build`",
        )
    return found


def assemble(
    pool: Pool, record: Record, scenario: Scenario, request: PanelRequest, model: Callable[[], LanguageModel]
) -> Assembly:
    """The panel of one scenario.

    Args:
        pool: Where personas are fetched from and stored in.
        record: Where calls and failed attempts are kept, whether or not they lead to a panel.
        scenario: What is asked.
        request: How the panel is to be found.
        model: Gives the persona model; called only if something must be generated.

    Raises:
        PoolEmpty: Only pool personas are allowed, and the pool has too few.
        GenerationError: Too few valid personas after the bounded attempts.
        ModelError: The model cannot be reached.
    """
    started = time.perf_counter()
    found = retrieve(pool, scenario, request)
    retrieved = time.perf_counter()
    encoding = found.encoding_seconds
    seconds = {"embed": encoding, "retrieve": retrieved - started - encoding, "persona": 0.0}
    chosen = tuple(member.persona for member in found.members)
    missing = request.k - len(chosen)
    if not missing:
        return Assembly(Panel(found.members, found.gate), (), (), seconds)
    writer = model()
    examples = () if request.sourcing is Sourcing.FRESH else pool.examples(scenario)
    brief = Brief(scenario, missing, chosen, examples, found.uncovered, pool.store.inactive())
    [draft] = generate_personas(writer, [brief], request.prompts, request.seed)
    kept = record.keep_calls(draft.calls)
    record.keep_failures(scenario, draft.failures)
    if draft.missing:
        raise generation_error(draft)
    members = (*found.members, *fresh_members(draft.personas, len(chosen)))
    store_generated(pool, scenario, draft.personas, members, writer, request)
    seconds["persona"] = time.perf_counter() - retrieved
    return Assembly(Panel(members, found.gate), tuple(draft.calls), tuple(kept), seconds)


def fresh_members(personas: Sequence[Persona], after: int) -> list[Member]:
    """Members generated for this very scenario, ranked after those already chosen."""
    return [
        Member(persona, Source.FRESH, rank, 1.0, "generated for this scenario")
        for rank, persona in enumerate(personas, start=after + 1)
    ]


def store_generated(
    pool: Pool,
    scenario: Scenario,
    personas: Sequence[Persona],
    members: Sequence[Member],
    model: LanguageModel,
    request: PanelRequest,
) -> int:
    """Store generated personas with their origin and the panel they complete; how many are new."""
    origin = Origin(OriginKind.GENERATED, model.identity, request.prompts.label, request.seed)
    placed = [Placed(member.persona, member.relevance) for member in members]
    return pool.add(scenario, personas, origin, placed)


def generation_error(draft: Draft) -> GenerationError:
    """What to tell a caller whose personas could not be generated."""
    last = draft.failures[-1]
    return GenerationError(
        f"{len(draft.personas)} of {draft.brief.count} personas after {last.attempt} attempts; the last one failed: "
        f"{last.reason[:200]}",
        "name a larger --persona-model, or use --prompts structured",
    )
