"""Precomputes a pool: personas for many scenarios, packed into full batches, resumable.

Knows generation and the store; shows nothing. A scenario is done when its panel is stored, which happens in the same
transaction as its personas: a build that was killed goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ethos.generation import Brief, Draft, fill_drafts
from ethos.llm import LanguageModel
from ethos.persona import OriginKind
from ethos.pool.leases import POLL, Leases, panel_key
from ethos.pool.record import Record
from ethos.pool.retrieval import Pool
from ethos.pool.store import Origin, Placed
from ethos.prompts import PromptSet
from ethos.scenario import Scenario

SEQUENCES = 32  # personas asked for in one batch
WINDOW = 96  # personas that one build takes upon itself at a time, while others build elsewhere


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
    keys = {panel_key(scenario, k): scenario for scenario in scenarios}
    leases = Leases(pool.database)

    def done(key: str) -> bool:
        return bool(pool.store.panel(keys[key].key, k))

    def work(undone: list[str]) -> None:
        writer = model()
        origin = Origin(OriginKind.GENERATED, writer.identity, prompts.label, seed)
        refused = pool.store.inactive()
        waiting = [keys[key] for key in undone]
        drafts = [Draft(Brief(s, k, examples=pool.examples(s), refused=refused)) for s in waiting]
        for draft in fill_drafts(writer, drafts, prompts, seed, together=SEQUENCES):
            _store(pool, record, draft, origin, report)
            progress(report)

    def go_through(window: list[str]) -> list[str]:
        """Build those of a window that nobody else is building; the others."""
        before = report.done + len(report.failed)
        elsewhere = leases.free_ones(window, done, work)
        report.skipped += len(window) - len(elsewhere) - (report.done + len(report.failed) - before)
        progress(report)
        return elsewhere

    order, width, elsewhere = list(keys), max(1, WINDOW // k), []
    for start in range(0, len(order), width):
        elsewhere += go_through(order[start : start + width])
    while elsewhere:
        time.sleep(POLL)
        elsewhere = go_through(elsewhere)
    pool.refresh()
    return report


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
