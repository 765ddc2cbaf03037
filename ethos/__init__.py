"""Ethos: pluralistic answers to health scenarios from a persistent, auditable pool of personas.

Public names are loaded when they are first used, so that `import ethos` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethos.answer import Answer, Sourcing
    from ethos.audit.influence.methods import find_influence
    from ethos.audit.replay import replay
    from ethos.encoders.embedder import Embedder
    from ethos.errors import EthosError
    from ethos.llm import LanguageModel
    from ethos.llm.backends.scripted import ScriptedModel
    from ethos.persona import Persona
    from ethos.pipeline.ethos import Ethos
    from ethos.pipeline.modes import Aggregator
    from ethos.pipeline.settings import Settings
    from ethos.pool.pool import Pool
    from ethos.pool.retrieval.selection import Selector
    from ethos.scenario import Attribute, Mode, Scenario

__all__ = [
    "Aggregator",
    "Answer",
    "Attribute",
    "Embedder",
    "Ethos",
    "EthosError",
    "LanguageModel",
    "Mode",
    "Persona",
    "Pool",
    "Scenario",
    "ScriptedModel",
    "Selector",
    "Settings",
    "Sourcing",
    "find_influence",
    "replay",
]

_HOMES = {
    "Aggregator": "ethos.pipeline.modes",
    "Answer": "ethos.answer",
    "Attribute": "ethos.scenario",
    "Embedder": "ethos.encoders.embedder",
    "Ethos": "ethos.pipeline.ethos",
    "EthosError": "ethos.errors",
    "LanguageModel": "ethos.llm",
    "Mode": "ethos.scenario",
    "Persona": "ethos.persona",
    "Pool": "ethos.pool.pool",
    "Scenario": "ethos.scenario",
    "ScriptedModel": "ethos.llm.backends.scripted",
    "Selector": "ethos.pool.retrieval.selection",
    "Settings": "ethos.pipeline.settings",
    "Sourcing": "ethos.answer",
    "find_influence": "ethos.audit.influence.methods",
    "replay": "ethos.audit.replay",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ethos' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
