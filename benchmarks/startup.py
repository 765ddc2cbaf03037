"""Fresh processes, from their start to their end: ``python -m benchmarks.startup [--rounds 5] [--json]``.

The commands take turns, so that what else the machine does falls on all; the pool is the starter pool in a temporary
folder, and every command ran once before it is timed, so that files are in memory and vectors stored. What a repeated
answer takes is in `benchmarks.answer`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

QUESTION = "Should a hospital tell a dying patient the truth?"
ETHOS = (sys.executable, "-m", "ethos.cli")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python, nothing else": (sys.executable, "-c", "pass"),
    "import ethos": (sys.executable, "-c", "import ethos"),
    "ethos --help": (*ETHOS, "--help"),
    "ethos pool stats": (*ETHOS, "pool", "stats"),
    "ethos pool search": (*ETHOS, "pool", "search", QUESTION),
}


def seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """From start to end of one process.

    Raises:
        ClickException: It failed; the message is the last it wrote.
    """
    started = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    taken = time.perf_counter() - started
    if ended.returncode:
        raise click.ClickException(f"{' '.join(command)}: {(ended.stderr.strip() or 'no message').splitlines()[-1]}")
    return taken


def measure(rounds: int) -> dict[str, Any]:
    """One row a command, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ETHOS_POOL": str(Path(folder) / "pool")}
        seconds((*ETHOS, "pool", "init"), environment)
        for command in COMMANDS.values():
            seconds(command, environment)
        taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                taken[name].append(seconds(command, environment))
    rows = [
        {
            "command": name,
            "median_s": float(np.median(some)),
            "lowest_s": min(some),
            "highest_s": max(some),
            "over_python_s": float(np.median(some)) - float(np.median(taken["python, nothing else"])),
        }
        for name, some in taken.items()
    ]
    return {"rows": rows, "rounds": rounds}


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(rounds: int, as_json: bool) -> None:
    """Measure what a user of the command line waits for."""
    found = measure(rounds)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(*("command", "s", "lowest to highest", "more than Python alone"))
    for row in found["rows"]:
        spread = f"{row['lowest_s']:.2f} to {row['highest_s']:.2f}"
        table.add_row(row["command"], f"{row['median_s']:.2f}", spread, f"{row['over_python_s']:.2f}")
    Console(width=110).print(table)
    click.echo(f"Medians of {rounds} fresh processes each.")


if __name__ == "__main__":
    main()
