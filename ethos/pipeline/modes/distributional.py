"""Distributional mode (paper section 3.3): option probabilities per comment, and their weighted mean."""

from __future__ import annotations

from ethos.answer import Outcome
from ethos.encoders.embedder import Embedder
from ethos.influence import LEAVE_ONE_OUT, leave_one_out, weighted_mean
from ethos.pipeline.modes.shared import Asking, Task, category, most_likely, named_option, read_labels
from ethos.prompts import aggregation_prompts, fill
from ethos.scenario import AttributeKind
from ethos.text.option_letters import letters


def distributional(task: Task, embedder: Embedder) -> Asking[Outcome]:
    """Match a population: option probabilities with each comment's help, then their mean weighted by the priors."""
    table, attribute = aggregation_prompts().distributional, task.scenario.attribute
    template = table["choice"]
    if attribute is not None:
        template = table["poll"] if attribute.kind is AttributeKind.COUNTRY else table["group"]
    name, kind = (attribute.name, category(attribute)) if attribute else ("", "")
    prompts = [
        fill(template, comment=c.text, question=task.scenario.question, name=name, category=kind) for c in task.comments
    ]
    readings = yield from read_labels(prompts, letters(len(task.scenario.options)))
    distributions = tuple(reading.probabilities for reading in readings)
    distribution = weighted_mean(distributions, task.weights)
    return Outcome(
        output=named_option(task.scenario, distribution),
        influences=leave_one_out(distributions, task.weights),
        influence_method=LEAVE_ONE_OUT,
        weights=task.weights,
        choice=most_likely(distribution),
        distribution=distribution,
        distributions=distributions,
        label_mass=min(reading.mass for reading in readings),
    )
