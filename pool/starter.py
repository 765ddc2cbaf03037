"""The starter pool: personas written for Ethos, shipped as data.

Knows the shipped file and the store; needs no language model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ethos.persona import OriginKind, Persona
from ethos.pool.pool import Pool
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

SOURCE = "Ethos starter pool, version 1"
LICENCE = "MIT"


@dataclass(frozen=True, slots=True)
class StarterPanel:
    """Six personas written for one scenario.

    Attributes:
        scenario: What they judge.
        domain: The part of the field it belongs to: "end of life", "genetics and enhancement".
        personas: Distinct in every attribute.
    """

    scenario: Scenario
    domain: str
    personas: tuple[Persona, ...]


@cache
def starter_panels() -> tuple[StarterPanel, ...]:
    """All panels of the starter pool, in order."""
    lines = (files("ethos.pool.data") / "starter_pool.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(
        StarterPanel(Scenario.of(row["scenario"]), row["domain"], tuple(Persona(**texts) for texts in row["personas"]))
        for row in map(json.loads, lines)
    )


def install(pool: Pool) -> int:
    """Store the starter pool with its panels, and encode it; what is there already stays as it is.

    Returns:
        How many personas are new to the pool.
    """
    origin = Origin(OriginKind.CURATED, source=SOURCE, licence=LICENCE)
    new = pool.store.add_panels(((panel.scenario, panel.personas) for panel in starter_panels()), origin)
    pool.refresh()
    return new
