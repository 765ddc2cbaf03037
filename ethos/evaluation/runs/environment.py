"""The environment of a run: versions, hardware, prompts, as plain JSON values for its ``run.json``."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ethos.prompts import PromptSetName, aggregation_prompts, baseline_prompts, prompt_set

PACKAGES = ("ethos-pool", "torch", "transformers", "xgrammar", "openai", "numpy", "faiss-cpu", "onnxruntime")


def session() -> dict[str, Any]:
    """This process: when it began, and what it runs on."""
    return {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions()},
        "hardware": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "graphics": _graphics(),
        },
    }


def prompts(family: str) -> dict[str, str]:
    """Version and content address of a family of prompts; one that is changed makes another run.

    Args:
        family: A prompt set, ``aggregation`` or ``baselines``.
    """
    if family in set(PromptSetName):
        found = prompt_set(PromptSetName(family))
        return {"version": found.version, "content": found.content}
    other = aggregation_prompts() if family == "aggregation" else baseline_prompts()
    return {"version": other.version, "content": other.content}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    """Its name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _graphics() -> list[str]:
    import torch  # late: it takes seconds

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
