"""An aggregator of your own: the comments side by side, without a model call."""

from __future__ import annotations

import tempfile

from ethos import Ethos, ScriptedModel
from ethos.answer import Outcome
from ethos.pool.starter import install


def side_by_side(task, embedder):
    """Return the comments as one list; influences are equal, since every comment is in the answer."""
    share = 1 / len(task.comments)
    text = "\n".join(f"[{number}] {comment.text}" for number, comment in enumerate(task.comments, start=1))
    return Outcome(text, (share,) * len(task.comments), "share of the comments", task.weights)
    yield  # an aggregator is a generator: it yields model requests and receives their calls; this one makes none


model = ScriptedModel(lambda request: "It depends on who bears the risk.")
with (
    tempfile.TemporaryDirectory() as folder,
    Ethos(folder, model=model, aggregators={"overton": side_by_side}) as ethos,
):
    install(ethos.pool)
    print(ethos.answer("Should a hospital tell a dying patient the truth?").output)
