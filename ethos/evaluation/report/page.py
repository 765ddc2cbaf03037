"""An evaluation report as one HTML page and as Markdown, and the files they are written to.

Knows what a report is made of, and the template; knows no run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ethos.evaluation.report.parts import Kind, Report, Section, Table
from ethos.text.pages import page

MARK = "Ethos evaluation report"  # by which a page is known as ours
WHOSE = {Kind.OURS: "", Kind.TRIVIAL: "no model", Kind.PAPER: "the paper"}
# What Markdown would take for emphasis, code, a formula, a link, a heading, a quotation or the edge of a cell.
_MARKUP = re.compile(r"([\\`*|~$]|(?<!\w)_|_(?!\w)|\](?=[(:\[])|^[#>])")


def html(report: Report) -> str:
    """The report as one page."""
    return page("ethos.evaluation.data", "evaluation.html", mark=MARK, report=report, whose=WHOSE)


def markdown(report: Report) -> str:
    """The report as Markdown, without its pictures; what they show is said."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {plain(report.title)}"
    yield ""
    yield f"Made by Ethos on {report.made_at[:10]} at {report.made_at[11:16]} UTC."
    yield ""
    for warning in report.warnings:
        yield from (f"> {plain(warning)}", "")
    yield " · ".join(f"**{plain(figure)}** {plain(what)}" for figure, what in report.tiles)
    yield ""
    for section in report.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {plain(section.title)}", "")
    for paragraph in (*section.paragraphs, *section.missing):
        yield from (plain(paragraph), "")
    for table in section.tables:
        yield from _table(table)
    for picture in section.pictures:
        yield from (f"Picture (on the page): {plain(picture.said)}", "")
    for quote in section.quotes:
        yield from (f"{plain(quote.label)}:", "")
        yield from (f"> {plain(line)}" for line in quote.text.splitlines())
        yield ""


def _table(table: Table) -> Iterator[str]:
    yield from (f"### {plain(table.title)}", "")
    if table.caption:
        yield from (plain(table.caption), "")
    yield _cells(map(plain, table.columns))
    text = {0, *table.texts}
    yield _cells("---" if place in text else "---:" for place in range(len(table.columns)))
    for row in table.rows:
        whose = f" ({WHOSE[row.kind]})" if WHOSE[row.kind] else ""
        shown = [f"**{plain(cell)}**" if place in row.best else plain(cell) for place, cell in enumerate(row.cells)]
        yield _cells([shown[0] + whose, *shown[1:]])
    yield ""
    for note in table.notes:
        yield f"- {plain(note)}"
    if table.notes:
        yield ""


def _cells(cells: Iterator[str] | list[str] | map[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """A text on one line in which nothing is markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split())).replace("<", "&lt;")
