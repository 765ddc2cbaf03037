"""A selector of your own: the k most relevant personas, whatever values they cover."""

from __future__ import annotations

import tempfile

from ethos import Ethos, Scenario
from ethos.pool.retrieval.selection import Chosen
from ethos.pool.starter import install


def most_relevant(candidates, vectors, stakes, k):
    """Return the first k candidates that differ in every attribute; candidates are sorted by relevance."""
    chosen = []
    for row in range(len(candidates)):
        if len(chosen) < k and all((candidates.slots[row] != candidates.slots[one.row]).all() for one in chosen):
            chosen.append(Chosen(row, gain=0.0))
    return chosen


with tempfile.TemporaryDirectory() as folder, Ethos(folder, selector=most_relevant) as ethos:
    install(ethos.pool)
    panel = ethos.pool.retrieve(Scenario("Should a hospital tell a dying patient the truth?"), 6)
    for member in panel.members:
        print(f"{member.relevance:.2f}  {member.persona.name}")
