"""Ethos: pluralistic answers to health scenarios from a persistent, auditable pool of personas.

Public names are loaded when they are first used, so that `import ethos` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethos.answer import Answer, Sourcing
    from ethos.errors import EthosError
    from ethos.persona import Persona
    from ethos.pipeline.ethos import Ethos
    from ethos.pipeline.settings import Settings
    from ethos.scenario import Attribute, Mode, Scenario

__all__ = [
    "Answer",
    "Attribute",
    "Ethos",
    "EthosError",
    "Mode",
    "Persona",
    "Scenario",
    "Settings",
    "Sourcing",
]

_HOMES = {
    "Answer": "ethos.answer",
    "Attribute": "ethos.scenario",
    "Ethos": "ethos.pipeline.ethos",
    "EthosError": "ethos.errors",
    "Mode": "ethos.scenario",
    "Persona": "ethos.persona",
    "Scenario": "ethos.scenario",
    "Settings": "ethos.pipeline.settings",
    "Sourcing": "ethos.answer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ethos' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
