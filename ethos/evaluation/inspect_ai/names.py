"""Names of our parts in inspect_ai's registry: ``ethos/…``, however the package is installed.

inspect_ai puts the package before the name of what lies in site-packages; of an editable install it knows a package
only where the distribution is called like it, and ours is called ethos-pool.
"""

from __future__ import annotations

import site
from pathlib import Path

PACKAGE = "ethos"


def named(name: str) -> str:
    """The name to give to inspect's decorators."""
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    installed = any(Path(__file__).is_relative_to(folder) for folder in folders)
    return name if installed else f"{PACKAGE}/{name}"
