"""Runs benchmarks: ``python -m benchmarks all [--quick] [--vital DIR] [--out FILE]``, ``python -m benchmarks NAME …``.

Each runs in a process of its own, one after another, and hands over its JSON; knows how each is called, and nothing of
what it measures. What cannot run is left out and said to be; the others go on.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

PACKAGES = (
    *("faiss-cpu", "numpy", "onnxruntime", "sentence-transformers", "sqlalchemy", "tokenizers", "torch"),
    *("transformers", "xgrammar", "langchain-community", "langchain-core", "gptcache"),
)
EXIT_PARTLY = 3


@dataclass(frozen=True)
class Benchmark:
    """How one is called.

    Attributes:
        name: Of its module.
        arguments: In a full run, which takes minutes.
        quick: In a quick run.
        needs_vital: Whether the folder of VITAL's files comes first.
        takes_vital: Whether it may be told that folder as an option.
    """

    name: str
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    needs_vital: bool = False
    takes_vital: bool = False


ALL = (
    Benchmark("startup", (), ("--rounds", "2")),
    Benchmark("retrieval", (), ("--sizes", "10000", "--asked", "30"), takes_vital=True),
    Benchmark("scale", (), ("--sizes", "1000,10000,100000", "--asked", "60")),
    Benchmark("model_calls", ("--seconds", "150"), ("--rounds", "1", "--tokens", "48")),
    Benchmark("answer", (), ("--quick",), takes_vital=True),
    Benchmark("embedding", (), ("--asked", "60", "--batched", "128"), needs_vital=True),
    Benchmark("panel", (), ("--limit", "100"), needs_vital=True),
    Benchmark("audit", (), ("--answers", "1000", "--asked", "20")),
)
OTHERS = ("gate", "generation", "influence")  # they measure how good, not how fast, and take much longer


@click.group()
def main() -> None:
    """Measure Ethos beside its peers, on this machine."""


@main.command("all")
@click.option("--quick", is_flag=True, help="Smaller sizes and fewer rounds: a look, not a result.")
@click.option("--vital", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of VITAL's files.")
@click.option("--out", type=click.Path(path_type=Path), default="build/benchmarks.json", show_default=True)
def run_all(quick: bool, vital: Path | None, out: Path) -> None:
    """Run all that say how fast Ethos is, and write one JSON file."""
    report: dict[str, Any] = {"machine": machine(), "versions": versions(), "quick": quick, "benchmarks": {}}
    left_out, failed = {}, False
    for benchmark in ALL:
        reason = _reason_against(benchmark, vital)
        if not reason:
            started = time.perf_counter()
            click.echo(f"{benchmark.name} …", err=True)
            try:
                found = run(benchmark, quick, vital)
            except RuntimeError as error:
                reason, failed = str(error), True
            else:
                report["benchmarks"][benchmark.name] = {**found, "took_s": time.perf_counter() - started}
                show(benchmark.name, found)
        if reason:
            left_out[benchmark.name] = reason
            click.echo(f"{benchmark.name} left out: {reason}")
    report["left_out"] = left_out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    click.echo(f"Written to {out}.")
    if failed:
        sys.exit(EXIT_PARTLY)


def _add(name: str) -> None:
    """Make a benchmark a command; its module, and what that imports, is loaded only when it is run."""

    @main.command(name, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        importlib.import_module(f"benchmarks.{name}").main(arguments, prog_name=f"python -m benchmarks {name}")

    command.help = f"See `{name} --help`."


for each in (*(benchmark.name for benchmark in ALL), *OTHERS):
    if importlib.util.find_spec(f"benchmarks.{each}"):
        _add(each)


def _reason_against(benchmark: Benchmark, vital: Path | None) -> str:
    if not importlib.util.find_spec(f"benchmarks.{benchmark.name}"):
        return "it is not part of this version"
    return "it needs --vital DIR" if benchmark.needs_vital and vital is None else ""


def run(benchmark: Benchmark, quick: bool, vital: Path | None) -> dict[str, Any]:
    """What one benchmark found.

    Raises:
        RuntimeError: It failed; the message is the last it wrote.
    """
    folder: tuple[str, ...] = ()
    if vital and (benchmark.needs_vital or benchmark.takes_vital):
        folder = (str(vital),) if benchmark.needs_vital else ("--vital", str(vital))
    arguments = benchmark.quick if quick else benchmark.arguments
    command = [sys.executable, "-m", f"benchmarks.{benchmark.name}", *folder, *arguments, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError((ended.stderr.strip() or f"exit code {ended.returncode}").splitlines()[-1])
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def show(name: str, found: dict[str, Any]) -> None:
    """The rows as a table, and the single figures below it."""
    rows: Sequence[dict[str, Any]] = found.get("rows", ())
    if rows:
        table = Table(*(key.replace("_", " ") for key in rows[0]), title=name)
        for row in rows:
            table.add_row(*map(_cell, row.values()))
        Console(width=150).print(table)
    single = [f"{key.replace('_', ' ')} {_cell(value)}" for key, value in found.items() if key != "rows"]
    click.echo("; ".join(single))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_cell(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(_cell, value))
    return str(value)


def machine() -> dict[str, Any]:
    """Where the figures are from, and how busy it was."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": os.getloadavg(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
    }


def _commit() -> str:
    """What was measured; empty outside a clone."""
    command = ("git", "describe", "--always", "--dirty")
    folder = Path(__file__).parent
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder).stdout.strip()


def versions() -> dict[str, str]:
    """Of Python and the packages that the figures rest on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


if __name__ == "__main__":
    main()
