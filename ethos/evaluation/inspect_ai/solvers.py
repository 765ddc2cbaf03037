"""Solvers for inspect_ai: a panel of personas, and the paper's Prompting.

A panel answers with inspect's own model, in a worker thread that calls back (`ethos.evaluation.inspect_ai.model`), or
with a model that Ethos opens. Its record lies in a temporary folder; what a reader needs is in the sample's metadata.
"""

from __future__ import annotations

import atexit
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio import CapacityLimiter, to_thread
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from ethos.answer import Sourcing
from ethos.errors import EthosError, InputError
from ethos.evaluation.inspect_ai.model import InspectModel
from ethos.evaluation.inspect_ai.names import named
from ethos.evaluation.inspect_ai.scorers import ROW, TASK, item_of
from ethos.evaluation.methods import Method, MethodSettings, Workshop
from ethos.evaluation.methods.asking import worded
from ethos.evaluation.methods.panels import POOL, fresh, pooled
from ethos.evaluation.tasks.task import TaskName
from ethos.llm import LanguageModel
from ethos.llm.opening import Endpoint, open_model
from ethos.pool.storage.backup import copy
from ethos.pool.storage.database import FILE
from ethos.prompts import PromptSetName, baseline_prompts

SIDE_BY_SIDE = 8  # samples that panels answer at once; each asks for several comments at a time


@solver(name=named("panel"))
def panel(
    prompts: str = "structured", k: int = 6, seed: int = 0, pool: str = "", personas: str = "auto", model: str = ""
) -> Solver:
    """Answer by a panel of personas. A sample that has no answer fails with the reason.

    Args:
        prompts: ``structured``, ``paper`` or ``released``.
        k: Personas in a panel.
        seed: The panel's; inspect's model samples by its own.
        pool: A pool folder, which is copied and stays as it is; without one every persona is invented.
        personas: ``auto`` invents what the pool lacks, ``pool`` fails where it lacks any.
        model: Opened by Ethos instead of inspect's own model: ``transformers:NAME``.

    Raises:
        InputError: There is no pool, or no prompt set of that name.
    """
    if prompts not in list(PromptSetName):
        raise InputError(f"there is no prompt set {prompts!r}", f"choose one of {', '.join(PromptSetName)}")
    folder = _folder()
    if pool:
        if not (source := Path(pool).expanduser() / FILE).exists():
            raise InputError(f"there is no pool in {pool}", "make it: ethos pool init")
        copy(source, folder / POOL / FILE)
    given = MethodSettings(k=k, prompts=PromptSetName(prompts), personas=Sourcing(personas))
    make = pooled if pool else fresh(PromptSetName(prompts))
    # Made in inspect's loop. A model that Ethos opens serves one thread at a time.
    limiter = cache(lambda: CapacityLimiter(1 if model else SIDE_BY_SIDE))
    opened = cache(_own) if model else cache(lambda name: InspectModel(get_model()))
    idle: list[Method] = []  # an Ethos serves one thread at a time

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        item, task = item_of(state), TaskName(state.metadata[TASK])
        asking = idle.pop() if idle else make(Workshop(model or "inspect", given, folder, opened))
        try:
            work = partial(asking.answer, [item.scenario], task.mode, seed)
            [said] = await to_thread.run_sync(work, limiter=limiter())
        finally:
            idle.append(asking)
        if isinstance(said, EthosError):
            raise said
        state.metadata[ROW] = said.row(item, task, asking.name, model or str(state.model))
        state.output = ModelOutput.from_content(str(state.model), said.output)
        return state

    return solve


@solver(name=named("prompting"))
def prompting() -> Solver:
    """Word the question as the paper's Prompting does, naming group or country; put it before ``generate``."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        scenario, mode = item_of(state).scenario, TaskName(state.metadata[TASK]).mode
        state.user_prompt.text = worded(baseline_prompts().prompting, scenario, mode)
        return state

    return solve


def _own(name: str) -> LanguageModel:
    return open_model(name, Endpoint())


def _folder() -> Path:
    """A folder that is gone when the process ends."""
    kept = TemporaryDirectory(prefix="ethos-inspect-", ignore_cleanup_errors=True)
    atexit.register(kept.cleanup)
    return Path(kept.name)
