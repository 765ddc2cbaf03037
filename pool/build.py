"""Precompute a pool: personas for many scenarios, packed into full batches, resumable.

Knows generation and the store; shows nothing. A scenario is done when its panel is stored, which happens in the same
transaction as its personas: a build that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ethos.generation.drafts import Brief, Draft
from ethos.generation.generate import fill_drafts
from ethos.llm import LanguageModel
from ethos.persona import OriginKind
from ethos.pool.pool import Pool
from ethos.pool.storage.leases import POLL, Held, Leases, panel_key
from ethos.pool.storage.record import Record
from ethos.pool.storage.values import Origin, Placed
from ethos.prompts import PromptSet
from ethos.scenario import Scenario

SEQUENCES = 64  # personas asked for in one batch; a build takes no more than the next one's upon itself


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        done: Scenarios that got their personas now.
        skipped: Scenarios that had them already.
        personas: Personas that are new to the pool.
        failed: Scenarios left without a full panel, with the reason.
    """

    done: int = 0
    skipped: int = 0
    personas: int = 0
    failed: list[tuple[Scenario, str]] = field(default_factory=list)


def build(
    pool: Pool,
    record: Record,
    scenarios: Sequence[Scenario],
    model: Callable[[], LanguageModel],
    prompts: PromptSet,
    k: int,
    seed: int,
    progress: Callable[[BuildReport], None],
) -> BuildReport:
    """Generate and store a panel of k personas for every scenario that has none.

    Several builds of one pool share the work: what another is generating is left to it, and waited for at the end.

    Args:
        pool: Where to.
        record: Where calls and failed attempts are kept.
        scenarios: Distinct scenarios.
        model: Gives the persona model; called only if something is left to do.
        prompts: The prompt set.
        k: Personas a scenario.
        seed: The build's seed; a scenario's own seeds depend on it and on the scenario alone.
        progress: Told whenever a scenario is done.

    Raises:
        ModelError: The model cannot be reached; what is done is stored.
    """
    report = BuildReport()
    left = {panel_key(scenario, k): scenario for scenario in scenarios}
    leases = Leases(pool.database)
    while left:
        elsewhere: dict[str, Scenario] = {}
        with leases.holding() as held:
            drafts = _taken(pool, left, k, held, elsewhere, report)
            if first := next(drafts, None):
                writer = model()
                origin = Origin(OriginKind.GENERATED, writer.identity, prompts.label, seed)
                for draft in fill_drafts(writer, chain([first], drafts), prompts, seed, together=SEQUENCES):
                    _store(pool, record, draft, origin, report)
                    held.give_back(panel_key(draft.brief.scenario, k))
                    progress(report)
        progress(report)
        left = elsewhere
        if left:
            time.sleep(POLL)
    pool.refresh()
    return report


def _taken(
    pool: Pool, left: Mapping[str, Scenario], k: int, held: Held, elsewhere: dict[str, Scenario], report: BuildReport
) -> Iterator[Draft]:
    """Drafts of what nobody else is building, taken a few at a time as they are wanted; the others are put aside."""

    def undone(keys: Iterable[str]) -> list[str]:
        return [key for key in keys if not pool.store.panel(left[key].key, k)]

    order, width = list(left), max(1, SEQUENCES // k)
    for start in range(0, len(order), width):
        some = order[start : start + width]
        wanted = undone(some)
        taken = held.take(wanted)
        # Again: one may have been done, and its lease released, since the first look.
        mine = undone(taken)
        busy = [key for key in wanted if key not in taken]
        elsewhere.update((key, left[key]) for key in busy)
        report.skipped += len(some) - len(mine) - len(busy)
        refused = pool.store.inactive()
        for key in mine:
            yield Draft(Brief(left[key], k, examples=pool.examples(left[key]), refused=refused))


def _store(pool: Pool, record: Record, draft: Draft, origin: Origin, report: BuildReport) -> None:
    scenario = draft.brief.scenario
    record.keep_calls(draft.calls)
    record.keep_failures(scenario, draft.failures)
    if draft.missing:
        report.failed.append((scenario, draft.failures[-1].reason))
        return
    placed = [Placed(persona, 1.0) for persona in draft.personas]
    report.personas += pool.add(scenario, draft.personas, origin, placed)
    report.done += 1
