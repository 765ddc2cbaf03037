"""`ethos pool report`: what a pool holds and lacks, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ethos.cli.options import as_json, pool_options, settings


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("pool-report.html"),
    show_default=True,
    help="The page; an older report there is replaced.",
)
@click.option("--force", is_flag=True, help="Replace the output whatever it is.")
@pool_options
@as_json
def report(output: Path, force: bool, as_json: bool, **given: Any) -> None:
    """Write one HTML page about the pool: its size, variety, coverage and gaps, with a map and word clouds.

    The page works offline and runs no script. With --json the figures are printed and no page is written.
    """
    from ethos.cli.output.render import print_json, stages
    from ethos.pipeline.ethos import Ethos
    from ethos.pool.curation.page import check_free, report_page, save
    from ethos.pool.curation.report import measure, take_census

    if not as_json:
        check_free(output, force)
    with Ethos(settings=settings(given)) as ethos, stages() as progress:
        census = take_census(ethos.pool, progress)
        figures = measure(census)
        if not as_json:
            save(report_page(figures, census, progress), output)
    if as_json:
        print_json(figures.as_dict())
    else:
        click.echo(f"Report of {figures.personas} personas written to {output}.")
