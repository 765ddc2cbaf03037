"""Every method by its name, with the settings that its answers depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ethos.errors import InputError
from ethos.evaluation.methods import Factory, MethodSettings
from ethos.evaluation.methods.modplural import modplural, modplural_cultures, modplural_mixed
from ethos.evaluation.methods.moe import moe
from ethos.evaluation.methods.panels import fresh, pooled
from ethos.evaluation.methods.prompting import prompting
from ethos.evaluation.methods.vanilla import vanilla
from ethos.prompts import PromptSetName

POOLED = "ethos-pool"

_PANELS = ("comment_model", "persona_model", "k", "attributes", "embedder")


@dataclass(frozen=True, slots=True)
class Known:
    """A method of the registry.

    Attributes:
        make: Makes it.
        prompts: The families of prompts that it asks with.
        settings: Names of the settings that it follows.
        communities: Its set of community models; empty for none.
    """

    make: Factory
    prompts: tuple[str, ...]
    settings: tuple[str, ...] = ()
    communities: str = ""

    def follows(self, settings: MethodSettings) -> dict[str, Any]:
        """The settings that it follows, as plain values."""
        given = asdict(settings)
        named = {"communities": given["communities"].get(self.communities, {})} if self.communities else {}
        return {**{name: given[name] for name in self.settings}, **named}

    def helpers(self, settings: MethodSettings) -> Iterator[str]:
        """Names of the models that it asks beside the main one."""
        followed = self.follows(settings)
        yield from followed.get("communities", {}).values()
        yield from filter(None, (followed.get(role) for role in ("comment_model", "persona_model")))


_ALONE = ("baselines",)
_COMMUNITIES = ("baselines", "aggregation", "paper")

METHODS: Mapping[str, Known] = {
    "vanilla": Known(vanilla, _ALONE),
    "prompting": Known(prompting, _ALONE),
    "moe": Known(moe, _ALONE, communities="perspectives"),
    "modplural": Known(modplural, _COMMUNITIES, communities="perspectives"),
    "modplural-cultures": Known(modplural_cultures, _COMMUNITIES, communities="cultures"),
    "modplural-mixed": Known(modplural_mixed, _COMMUNITIES, communities="mixed"),
    **{f"ethos-{name}": Known(fresh(name), (str(name), "aggregation"), _PANELS) for name in PromptSetName},
    POOLED: Known(pooled, ("aggregation", *PromptSetName), (*_PANELS, "pool", "personas", "prompts", "threshold")),
}


def method(name: str) -> Known:
    """The named method.

    Raises:
        InputError: There is none of this name.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}", f"choose from {', '.join(METHODS)}")
    return METHODS[name]
