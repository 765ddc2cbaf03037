"""From a scenario to its panel: retrieve, generate what is missing, store it.

Ties the pool to stage 1; knows nothing of comments or modes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ethos.answer import Decision, Gate, Member, Panel, Source, Sourcing
from ethos.errors import EthosError, GenerationError, PoolEmpty
from ethos.generation.drafts import Brief, Draft
from ethos.generation.generate import generate_personas
from ethos.llm import LanguageModel
from ethos.llm.calls import Call, apart
from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool, Retrieval
from ethos.pool.storage.leases import Leases, panel_key
from ethos.pool.storage.record import KeptCall, Record
from ethos.pool.storage.values import Origin, Placed
from ethos.prompts import PromptSet
from ethos.scenario import Scenario


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """How to assemble a panel.

    Attributes:
        k: Number of personas.
        sourcing: Allowed sources of personas.
        prompts: The prompt set of generation.
        seed: The request's seed.
        learn: Whether generated personas may serve other scenarios later.
    """

    k: int
    sourcing: Sourcing
    prompts: PromptSet
    seed: int
    learn: bool = True


@dataclass(frozen=True, slots=True)
class Assembly:
    """A panel and the calls that generated its new members.

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


@dataclass(frozen=True, slots=True)
class _Search:
    """A scenario for which the pool has too few personas, and those it has."""

    scenario: Scenario
    found: Retrieval
    seconds: Mapping[str, float]


def assemble(
    pool: Pool, record: Record, scenarios: Sequence[Scenario], request: PanelRequest, model: Callable[[], LanguageModel]
) -> list[Assembly | EthosError]:
    """Return the panels of scenarios; the personas that the pool lacks are generated for all of them in one batch.

    When several callers or processes need the same panel at the same time, one generates it and the others wait.
    Scenarios of one call do not see the personas generated for each other, unless they share one topic.

    Args:
        pool: Source and store of personas.
        record: Store of calls and failed attempts, whether or not they lead to a panel.
        scenarios: The scenarios.
        request: How to assemble the panels.
        model: Returns the persona model; called only if personas must be generated.

    Returns:
        One panel a scenario, in order, or its error: `PoolEmpty`, only pool personas are allowed and the pool has too
        few; `GenerationError`, too few valid personas after the bounded attempts; `ModelError`, the model fails.

    Raises:
        ModelError: The model fails on several scenarios for a cause outside them.
    """
    found = [_search(pool, scenario, request) for scenario in scenarios]
    if request.sourcing is Sourcing.FRESH or not request.learn:
        # No lease: personas that another caller generates would not be found afterwards.
        lone = [search for search in found if isinstance(search, _Search)]
        alone = iter(apart(lone, lambda some: _generate(pool, record, some, request, model)) if lone else ())
        return [next(alone) if isinstance(one, _Search) else one for one in found]
    # Once, unless a member is retired between its panel's generation and the second look.
    while lacking := {panel_key(s.scenario, request.k): s for s in reversed(found) if isinstance(s, _Search)}:
        began = time.perf_counter()
        made = _generate_once(pool, record, lacking, request, model)
        for place, search in enumerate(found):
            if isinstance(search, _Search):
                key = panel_key(search.scenario, request.k)
                result = made.get(key)
                if isinstance(result, EthosError) or (result and search is lacking[key]):
                    found[place] = result
                else:
                    found[place] = _search(pool, search.scenario, request, began)
    return [panel for panel in found if not isinstance(panel, _Search)]


def _generate_once(
    pool: Pool,
    record: Record,
    lacking: Mapping[str, _Search],
    request: PanelRequest,
    model: Callable[[], LanguageModel],
) -> dict[str, Assembly | EthosError]:
    """Complete the panels whose lease is free and wait for the others; return those completed here, by key."""
    made: dict[str, Assembly | EthosError] = {}

    def done(key: str) -> bool:
        return bool(pool.store.panel(lacking[key].scenario.key, request.k))

    def work(keys: list[str]) -> None:
        searches = [lacking[key] for key in keys]
        results = apart(searches, lambda some: _generate(pool, record, some, request, model))
        made.update(zip(keys, results, strict=True))

    Leases(pool.database).each_once(lacking, done, work)
    return made


def _search(
    pool: Pool, scenario: Scenario, request: PanelRequest, waiting_since: float | None = None
) -> Assembly | EthosError | _Search:
    """Retrieve from the pool, unless the caller wants fresh personas."""
    began = time.perf_counter()
    if request.sourcing is Sourcing.FRESH:
        return _Search(
            scenario,
            Retrieval((), Gate(Decision.FRESH, 0.0, pool.threshold)),
            dict.fromkeys(("embed", "retrieve", "persona"), 0.0),
        )
    found = pool.retrieve(scenario, request.k)
    encoding = found.encoding_seconds
    waited = 0.0 if waiting_since is None else began - waiting_since
    seconds = {"embed": encoding, "retrieve": time.perf_counter() - began - encoding, "persona": waited}
    if len(found.members) == request.k:
        return Assembly(Panel(found.members, found.gate, found.candidates), (), (), seconds)
    if request.sourcing is Sourcing.POOL:
        return PoolEmpty(
            f"the pool has {len(found.members)} distinct personas near enough to this scenario, {request.k} are needed",
            "use --personas auto, or extend the pool with `ethos pool build`",
        )
    return _Search(scenario, found, seconds)


def _generate(
    pool: Pool,
    record: Record,
    searches: Sequence[_Search],
    request: PanelRequest,
    open_model: Callable[[], LanguageModel],
) -> list[Assembly | EthosError]:
    """Complete the panels of scenarios with generated personas, and store them."""
    began = time.perf_counter()
    model = open_model()
    refused = pool.store.inactive()
    briefs = []
    for search in searches:
        chosen = tuple(member.persona for member in search.found.members)
        examples = () if request.sourcing is Sourcing.FRESH else pool.examples(search.scenario)
        missing = request.k - len(chosen)
        briefs.append(Brief(search.scenario, missing, chosen, examples, search.found.uncovered, refused))
    drafts = generate_personas(model, briefs, request.prompts, request.seed)
    kept = [record.keep_calls(draft.calls) for draft in drafts]
    origin = Origin(OriginKind.GENERATED, model.identity, request.prompts.label, request.seed)
    results: list[Assembly | EthosError] = []
    for search, draft, calls in zip(searches, drafts, kept, strict=True):
        record.keep_failures(search.scenario, draft.failures)
        if draft.missing:
            results.append(_generation_error(draft))
            continue
        members = (*search.found.members, *_fresh_members(draft.personas, len(search.found.members)))
        # Where the record withholds the scenario, the pool does not learn from it either.
        known = record.keeps_texts and request.learn
        placed = [Placed(member.persona, member.relevance) for member in members] if known else []
        pool.add(record.scenario(search.scenario), draft.personas, origin, placed, retrievable=known)
        seconds = {**search.seconds, "persona": (time.perf_counter() - began) / len(searches)}
        panel = Panel(members, search.found.gate, search.found.candidates)
        results.append(Assembly(panel, tuple(draft.calls), tuple(calls), seconds))
    return results


def _fresh_members(personas: Sequence[Persona], after: int) -> list[Member]:
    """Return generated personas as members, ranked after those already chosen."""
    return [
        Member(persona, Source.FRESH, rank, 1.0, "generated for this scenario")
        for rank, persona in enumerate(personas, start=after + 1)
    ]


def _generation_error(draft: Draft) -> GenerationError:
    """Return the error for a scenario whose personas could not be generated."""
    last = draft.failures[-1]
    return GenerationError(
        f"{len(draft.personas)} of {draft.brief.count} personas after {last.attempt} attempts; the last one failed: "
        f"{last.reason[:200]}",
        "name a larger --persona-model, or use --prompts structured",
    )
