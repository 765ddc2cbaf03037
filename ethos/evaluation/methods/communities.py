"""Community models: those of a file, those released by the paper's authors, or none."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

from ethos.errors import ConfigurationError, InputError
from ethos.prompts import baseline_prompts

RELEASED = "released"


def read_communities(file: str = "", stand_in: str = "") -> dict[str, dict[str, str]]:
    """Community models by set (``perspectives``, ``cultures``, ``mixed``) and community, in the order of comments.

    Args:
        file: A TOML file with a table a set, or ``released`` for Modular Pluralism's own.
        stand_in: One model for every community instead.

    Raises:
        InputError: The file cannot be read.
        ConfigurationError: It names something else than models, or both ways of naming them are used.
    """
    known = baseline_prompts().communities
    if file and stand_in:
        raise ConfigurationError("community models are named twice", "give --communities or --community-model")
    if not file:
        return {which: dict.fromkeys(names, stand_in) for which, names in known.items()} if stand_in else {}
    source = files("ethos.evaluation.data") / "communities.toml" if file == RELEASED else Path(file)
    try:
        found = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"the communities in {file} cannot be read: {error}", "give a TOML file") from error
    for which, models in found.items():
        named = isinstance(models, dict) and models and all(isinstance(name, str) and name for name in models.values())
        if which not in known or not named:
            raise ConfigurationError(
                f"{file}: {which!r} is no set of community models",
                f'write tables {", ".join(known)}, with lines like "left Reddit" = "transformers:NAME"',
            )
    return found
