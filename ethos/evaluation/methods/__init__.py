"""Methods: how an item is answered. A new method is one file here, and one line in `registry`.

A method sees a scenario, never the gold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ethos.answer import DEFAULT_THRESHOLD, Sourcing
from ethos.errors import EthosError, InputError
from ethos.evaluation.tasks.prediction import Prediction
from ethos.llm import LanguageModel
from ethos.persona import ATTRIBUTES
from ethos.prompts import PromptSetName
from ethos.scenario import Mode, Scenario


class Method(Protocol):
    """One way to answer items."""

    @property
    def name(self) -> str:
        """As `--methods` and reports name it: ``vanilla``, ``ethos-pool``."""

    def answer(self, scenarios: Sequence[Scenario], mode: Mode, seed: int) -> Sequence[Prediction | EthosError]:
        """Answer scenarios side by side.

        Args:
            scenarios: What is asked; attributes that would leak the gold are not in them.
            mode: The task's.
            seed: The run's seed; an item's own seeds depend on it and on the scenario alone.

        Returns:
            One prediction or error a scenario, in order; an error says why this scenario has no answer.

        Raises:
            EthosError: Nothing can be answered, such as a model that cannot be reached.
        """

    def close(self) -> None:
        """Release what it holds."""


@dataclass(frozen=True, slots=True)
class MethodSettings:
    """Settings of the methods beside the main model.

    Attributes:
        comment_model: Writes the comments of Ethos' personas; the main model when empty.
        persona_model: Invents them; the main model when empty.
        pool: The folder of the pool that ``ethos-pool`` asks; None for the user's own.
        personas: Where that method's personas may come from: ``auto`` invents what the pool lacks, ``pool`` never does.
        prompts: The prompt set of ``ethos-pool``; the fresh methods are named after theirs.
        k: Personas in a panel.
        attributes: The persona attributes that the comment model sees; fewer than six for the paper's ablation
            (Table 19).
        threshold: Relevance from which a pool persona is kept, cosine.
        embedder: Encodes scenarios and values; the pool's own when empty.
        communities: Community models by set (``perspectives``, ``cultures``, ``mixed``) and community.

    Raises:
        InputError: An attribute is none.
    """

    comment_model: str = ""
    persona_model: str = ""
    pool: Path | None = None
    personas: Sourcing = Sourcing.AUTO
    prompts: PromptSetName = PromptSetName.STRUCTURED
    k: int = 6
    attributes: tuple[str, ...] = ATTRIBUTES
    threshold: float = DEFAULT_THRESHOLD
    embedder: str = ""
    communities: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.attributes if name not in ATTRIBUTES]:
            raise InputError(f"a persona has no attribute {unknown[0]!r}", f"choose from {', '.join(ATTRIBUTES)}")


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a method is made from.

    Attributes:
        model: Name of the main model.
        settings: All other settings.
        folder: The run's own, in which Ethos keeps its record.
        open: Opens a model by name; the same name gives the same model.
    """

    model: str
    settings: MethodSettings
    folder: Path
    open: Callable[[str], LanguageModel]


Factory = Callable[[Workshop], Method]
