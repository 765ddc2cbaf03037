"""What a report is made of: sections with paragraphs, tables and pictures. Plain values, no I/O.

The page and the Markdown file are both written from these, so that neither says what the other does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ethos.evaluation.metrics.intervals import Estimate

NOTHING = "\N{EN DASH}"


class Kind(StrEnum):
    """Whose figures a row of a table holds."""

    OURS = "ours"
    TRIVIAL = "trivial"
    PAPER = "paper"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        cells: One text a column; the first names the row.
        kind: Whose figures they are.
        best: The columns whose figure is the best of its group of rows.
    """

    cells: tuple[str, ...]
    kind: Kind = Kind.OURS
    best: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: Its heading.
        columns: Of the first, what rows are; all others are figures, unless named in `texts`.
        rows: In order.
        caption: What is read in it.
        notes: What is odd about it, one sentence or two each.
        texts: Further columns that hold text.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    texts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        markup: An ``svg`` element with its legend, safe as it is; or an address that begins ``data:``.
        caption: What is read in it.
        said: What it shows, in words, for who does not see it.
    """

    markup: str
    caption: str
    said: str

    @property
    def inline(self) -> bool:
        """Whether the markup is an element, not an address."""
        return not self.markup.startswith("data:")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a method answered, word for word."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report.

    Attributes:
        id: By which the table of contents finds it.
        title: Its heading.
        paragraphs: Before tables.
        missing: What is not there, and how to have it.
        tables: In order.
        pictures: After tables.
        quotes: Last.
    """

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report.

    Attributes:
        title: Of the page.
        made_at: UTC, ISO 8601.
        tiles: The few figures at the top, and what they are of.
        warnings: What a reader must know before reading on.
        sections: In order.
    """

    title: str
    made_at: str
    tiles: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]


def shown(estimate: Estimate | None, scale: float = 1.0) -> str:
    """``44.3 [42.1, 46.5]`` for percentages (scale 100), ``0.234 [0.201, 0.267]`` else; a dash where nothing is."""
    if estimate is None or estimate.mean is None:
        return NOTHING
    if estimate.low is None or estimate.high is None:
        return number(estimate.mean, scale)
    return f"{number(estimate.mean, scale)} [{number(estimate.low, scale)}, {number(estimate.high, scale)}]"


def number(value: float, scale: float = 1.0) -> str:
    """A figure as tables write it."""
    if scale == 100.0:
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"  # counts have no use for thousandths


def mark_best(rows: Sequence[Row], values: Sequence[Sequence[float | None]], better: str) -> tuple[Row, ...]:
    """The same rows, each row's best figure marked.

    Args:
        rows: What to mark.
        values: A row's figures by column, the first column left out; None where there is none.
        better: "higher" or "lower"; anything else marks nothing.
    """
    pick = {"higher": max, "lower": min}.get(better)
    marked = []
    for row, figures in zip(rows, values, strict=True):
        figures = [None if value is None else round(value, 3) for value in figures]  # as it is shown
        there = [value for value in figures if value is not None]
        best = pick(there) if pick and len(set(there)) > 1 else None
        columns = frozenset(
            place for place, value in enumerate(figures, start=1) if value is not None and value == best
        )
        marked.append(Row(row.cells, row.kind, columns))
    return tuple(marked)


@dataclass(frozen=True, slots=True)
class Line:
    """One mark of a plot of scores: a method's, a trivial row's, or the paper's."""

    label: str
    estimate: Estimate
    kind: Kind = Kind.OURS


@dataclass(frozen=True, slots=True)
class Cloud:
    """A method's items in a plot of coverage against length."""

    label: str
    lengths: tuple[float, ...]
    coverages: tuple[float, ...]
