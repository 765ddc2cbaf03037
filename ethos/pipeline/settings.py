"""The settings of a run, read once and frozen.

The command line sets them from options and ``ETHOS_…`` variables, a Python caller by keyword; no module below reads
those variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_data_path

from ethos.answer import DEFAULT_THRESHOLD
from ethos.errors import ConfigurationError
from ethos.llm.opening import DEFAULT_MODEL, Endpoint
from ethos.prompts import PromptSetName
from ethos.text.withholding import Content

MAX_K = 32


def default_pool() -> Path:
    """Return the user's own pool folder."""
    return user_data_path("ethos") / "pool"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one `Ethos`.

    Attributes:
        pool: The pool folder.
        model: The main model, which turns comments into the answer.
        comment_model: Writes comments; the main model when empty.
        persona_model: Generates personas; the main model when empty.
        embedder: Encodes scenarios and values; the pool's own when empty, all-MiniLM-L6-v2 for a new pool.
        prompts: The prompt set of stages 1 and 2.
        plan: Whether stakeholder group and stance of generated personas are assigned beforehand.
        k: Personas in a panel (paper: 6).
        threshold: Relevance from which a pool persona is kept, cosine 0..1.
        precision: Of local models: ``auto``, ``float32``, ``bfloat16``.
        most_share: Share of an Overton answer's sentences above which one persona dominates, 0..1.
        endpoint: Address of ``openai:`` models.
        audit_content: How much text the record keeps.
        learn: Whether personas generated for one scenario may serve others later. Without it, no answer depends on
            earlier questions.

    Raises:
        ConfigurationError: k or the threshold is out of range.
    """

    pool: Path = field(default_factory=default_pool)
    model: str = DEFAULT_MODEL
    comment_model: str = ""
    persona_model: str = ""
    embedder: str = ""
    prompts: PromptSetName = PromptSetName.STRUCTURED
    plan: bool = False
    k: int = 6
    threshold: float = DEFAULT_THRESHOLD
    precision: str = "auto"
    most_share: float = 0.5
    endpoint: Endpoint = field(default_factory=Endpoint)
    audit_content: Content = Content.FULL
    learn: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_K:
            raise ConfigurationError(f"a panel of {self.k} personas cannot be made", f"choose k from 1 to {MAX_K}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigurationError(f"the threshold {self.threshold} is not a cosine from 0 to 1")
        if not 0.0 <= self.most_share <= 1.0:
            raise ConfigurationError(f"the share {self.most_share} of one persona is not from 0 to 1")
