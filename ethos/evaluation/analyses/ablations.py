"""The paper's ablations as grids of runs.

Which attributes a persona shows (Tables 7, 19), how many personas there are (Table 8), and who writes the comments
(Table 5).

A grid is a list of variants; each is run into a folder of its own, named by the variant, within one folder:
``DIR/k=3/``. The report finds them there. Knows settings by their names; runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethos.errors import InputError
from ethos.persona import ATTRIBUTES

# Table 19's rows, in the order of a persona's line. The second is Table 7's "Partial".
ATTRIBUTE_SETS = (
    ("name", "core_value"),
    ("name", "core_value", "right_duty"),
    ("name", "core_value", "ethical_framework", "right_duty"),
    ("name", "core_value", "ethical_framework", "right_duty", "emotion"),
    ATTRIBUTES,
)
PANEL_SIZES = (1, 2, 3, 6)
COMMENT_MODELS = ("transformers:Qwen/Qwen2.5-7B-Instruct", "openai:deepseek-chat")  # DeepSeek-V3's name at its maker


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of a grid.

    Attributes:
        grid: "attributes", "k" or "comment-model".
        value: What sets it apart, as text: "3", or the attributes' names parted by spaces.
        settings: What differs from the run's other `MethodSettings`.
    """

    grid: str
    value: str
    settings: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of its folder: ``k=3``; no mark in it means anything to a file system."""
        safe = "".join(c if c.isalnum() or c in "._-" else "+" for c in self.value)
        return f"{self.grid}={safe}"

    @property
    def option(self) -> str:
        """Return the options of `ethos eval run`: ``--k 3``."""
        [(name, value)] = self.settings.items()
        written = ",".join(value) if isinstance(value, tuple) else str(value)
        return f"--{name.replace('_', '-')} {written}"


def attribute_grid() -> tuple[Variant, ...]:
    """Personas that show some of their attributes only, to the model that writes comments."""
    return tuple(Variant("attributes", " ".join(names), {"attributes": tuple(names)}) for names in ATTRIBUTE_SETS)


def size_grid(sizes: Sequence[int] = PANEL_SIZES) -> tuple[Variant, ...]:
    """Panels of several sizes."""
    return tuple(Variant("k", str(size), {"k": size}) for size in sizes)


def comment_grid(models: Sequence[str] = COMMENT_MODELS) -> tuple[Variant, ...]:
    """Several models that write the comments."""
    return tuple(Variant("comment-model", model, {"comment_model": model}) for model in models)


GRIDS = {"attributes": attribute_grid, "k": size_grid, "comment-model": comment_grid}


def grid(name: str) -> tuple[Variant, ...]:
    """A grid by its name.

    Raises:
        InputError: There is none of this name.
    """
    if name not in GRIDS:
        raise InputError(f"there is no grid {name!r}", f"name one of {', '.join(GRIDS)}")
    return GRIDS[name]()
