"""Overton mode (paper section 3.3): one answer that carries all views."""

from __future__ import annotations

from ethos.answer import Outcome
from ethos.encoders.embedder import Embedder
from ethos.influence import SENTENCES, nearest_shares, nearness, sentences, unheard
from ethos.pipeline.modes.shared import Asking, Task, most_likely, read_labels
from ethos.prompts import aggregation_prompts, fill, numbered
from ethos.text.option_letters import letters


def overton(task: Task, embedder: Embedder) -> Asking[Outcome]:
    """One answer that carries all views: the main model summarises all comments.

    For a question, the options' probabilities after all passages are read as well.
    """
    table = aggregation_prompts().overton
    texts = [comment.text for comment in task.comments]
    passages = numbered("Passage", texts)
    prompt = fill(table["summary"], subject=task.scenario.subject, passages=passages)
    completion = (yield from task.written(prompt, table["max_tokens"], table["temperature"])).completion
    distribution, mass = None, None
    if task.scenario.options:
        question = fill(table["question"], passages=passages, question=task.scenario.question)
        [reading] = yield from read_labels([question], letters(len(task.scenario.options)))
        distribution, mass = reading.probabilities, reading.mass
    near = nearness(embedder, sentences(completion.text), texts)
    return Outcome(
        output=completion.text,
        influences=nearest_shares(near),
        influence_method=SENTENCES,
        weights=task.weights,
        choice=most_likely(distribution),
        distribution=distribution,
        label_mass=mass,
        finish_reason=completion.finish_reason,
        unheard=unheard(near),
    )
