"""Runs `ethos pool build` with a progress bar."""

from __future__ import annotations

from pathlib import Path

import click

from ethos.cli.output.render import print_json, progress_bar
from ethos.pipeline.ethos import Ethos
from ethos.pipeline.scenario_files import distinct_scenarios, read_items
from ethos.pipeline.settings import Settings
from ethos.pool.build import BuildReport, build
from ethos.pool.curation.statistics import statistics


def run_build(files: tuple[Path, ...], limit: int | None, settings: Settings, seed: int, as_json: bool) -> BuildReport:
    """Read the files, build, and print the report."""
    items = [item for path in files for item in read_items(path)]
    scenarios = distinct_scenarios(items)[:limit]
    with Ethos(settings=settings) as ethos, progress_bar("scenarios") as advance:
        report = build(
            ethos.pool,
            ethos.record,
            scenarios,
            lambda: ethos.model("persona_model"),
            ethos.prompts,
            settings.k,
            seed,
            lambda r: advance(r.done + r.skipped + len(r.failed), len(scenarios)),
        )
        held = statistics(ethos.pool.database)["personas"]
    if as_json:
        print_json({
            "rows": len(items), "scenarios": len(scenarios), "done": report.done, "skipped": report.skipped,
            "new_personas": report.personas, "personas": held,
            "failed": [{"scenario": s.situation, "reason": reason} for s, reason in report.failed],
        })  # fmt: skip
        return report
    click.echo(
        f"{len(items)} rows, {len(scenarios)} scenarios: {report.done} done, {report.skipped} were done before, "
        f"{len(report.failed)} failed. {report.personas} new personas, {held} in the pool {settings.pool}."
    )
    for scenario, reason in report.failed:
        click.echo(f"Failed: {scenario.situation[:80]}: {' '.join(reason.split())[:200]}", err=True)
    if report.failed:
        click.echo(
            "Run the same command with another --seed or --persona-model to try the failed ones again.",
            err=True,
        )
    return report
