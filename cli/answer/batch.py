"""Runs `ethos answer --input` with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ethos.cli.output.render import print_json, progress_bar, show_spending
from ethos.pipeline.batch import BatchReport, answer_rows, failures_of, rows_of
from ethos.pipeline.costs import spending
from ethos.pipeline.ethos import Ethos
from ethos.pipeline.scenario_files import read_items
from ethos.pipeline.settings import Settings
from ethos.scenario import Mode


def run_batch(
    source: Path,
    output: Path,
    mode: Mode,
    attribute: str | None,
    terms: dict[str, Any],
    settings: Settings,
    profile: bool,
    as_json: bool,
) -> BatchReport:
    """Answer the file, and print the report."""
    rows = rows_of(read_items(source), Mode(mode), attribute, terms["seed"])
    with Ethos(settings=settings) as ethos, progress_bar("answers") as advance:
        report = answer_rows(
            rows, output, lambda asked: ethos.answer_all(asked, **terms), lambda r: advance(r.done, r.rows)
        )
    counts = {"rows": report.rows, "answered": len(report.answered), "skipped": report.skipped}
    if as_json:
        print_json({
            **counts, "output": str(output),
            "failed": [{"id": row.id, "scenario": row.scenario.situation, "reason": error.message}
                       for row, error in report.failed],
        })  # fmt: skip
    else:
        click.echo(
            f"{report.rows} rows: {len(report.answered)} answered, {report.skipped} were answered before, "
            f"{len(report.failed)} failed. The answers are in {output}."
        )
    if report.failed:
        click.echo(f"{failures_of(output)} lists the reasons; the same command tries the failed rows again.", err=True)
    if profile:
        show_spending(spending(report.answered), on_stderr=as_json)
    return report
