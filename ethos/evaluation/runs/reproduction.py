"""Runs a configuration: its plans one after the other, then its judges. What is there already is not done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ethos.errors import ConfigurationError
from ethos.evaluation.judging.judge import judge, judge_prompt
from ethos.evaluation.judging.pairwise import Comparison, answers_of, keep, left_over, pairs_of
from ethos.evaluation.runs.configuration import Configuration
from ethos.evaluation.runs.opened_model import OpenModel
from ethos.evaluation.runs.runner import EvalReport, Plan, run_evaluation
from ethos.llm import LanguageModel
from ethos.llm.opening import Endpoint, open_model

Progress = Callable[[str], None]


def opener(configuration: Configuration, endpoint: Endpoint, precision: str) -> OpenModel:
    """Opens models at the endpoints that a configuration names, the others at the command's own.

    Raises:
        ConfigurationError: The variable that holds an endpoint's key is not set; raised when the model is opened.
    """

    def opened(name: str) -> LanguageModel:
        if name not in configuration.served:
            return open_model(name, endpoint, precision)
        served = configuration.served[name]
        if served.key and not os.environ.get(served.key):
            raise ConfigurationError(
                f"{name} is served at {served.base_url}, and the variable {served.key} that holds its key is not set",
                f"set {served.key}, or name one model for all roles with --model",
            )
        key = os.environ.get(served.key, "") if served.key else ""
        return open_model(name, Endpoint(served.base_url, key, endpoint.in_flight), precision)

    return opened


def reproduce(
    configuration: Configuration, plans: Sequence[Plan], opened: OpenModel, progress: Progress
) -> Iterator[EvalReport]:
    """Run the plans, and have their answers judged where the configuration names judges.

    Args:
        configuration: Whose plans they are.
        plans: As `Configuration.plans` makes them.
        opened: Opens a model by name.
        progress: Told what is being done.

    Yields:
        The report of each plan.

    Raises:
        EthosError: As `run_evaluation`; what was done stays.
    """
    for plan in plans:

        def tell(report: EvalReport, folder: Path = plan.folder) -> None:
            progress(f"{folder.name}: {report.done} of {report.items} items")

        yield run_evaluation(plan, tell, opened)
        _judge(configuration, plan, opened, progress)


def _judge(configuration: Configuration, plan: Plan, opened: OpenModel, progress: Progress) -> None:
    judging = configuration.judging
    if judging is None:
        return
    prompt = f"{judge_prompt()['version']} {judge_prompt()['content']}"
    for task in plan.tasks:
        for model in plan.models:
            own = answers_of(plan.folder, task.name, judging.method, model)
            for other in judging.against:
                theirs = answers_of(plan.folder, task.name, other, model)
                pairs = pairs_of(own.task, own.answered, theirs.answered, judging.limit, plan.seed)
                for name in judging.judges:
                    comparison = Comparison(task.name, judging.method, other, model, name, prompt)
                    path = comparison.path(plan.folder)
                    asked = left_over(path, comparison, pairs)
                    progress(f"{name} judges {len(asked)} pairs of {judging.method} and {other}")
                    keep(path, comparison, judge(opened(name), asked, plan.seed, lambda done, total: None))
