"""The pool report as one HTML page.

Knows the figures, the pictures and the template that holds them; knows no database and no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ethos.errors import InputError
from ethos.persona import LABELS
from ethos.pool.curation.families import FRAMEWORK_FLOOR, OTHER, STAKEHOLDER_FLOOR, head
from ethos.pool.curation.plots import FEWEST_DOTS, HEIGHT, MOST_DOTS, WIDTH, draw_cloud, draw_map
from ethos.pool.curation.report import EXPECTED, Census, PoolReport
from ethos.text.cleaning import fold
from ethos.text.pages import page

MARK = "Ethos pool report"  # by which a page is known as ours


def report_page(report: PoolReport, census: Census, progress: Callable[[str], None]) -> str:
    """The report as HTML."""
    progress("drawing the map")
    drawn = draw_map(census.rows("line"), [p.name for p in census.personas], census.frameworks, OTHER)
    progress("drawing the word clouds")
    values = Counter(fold(persona.core_value) for persona in census.personas)
    words = _role_words([persona.stakeholder_role for persona in census.personas])
    return page(
        "ethos.pool.data",
        "report.html",
        mark=MARK,
        report=report,
        labels=LABELS,
        other=OTHER,
        expected=EXPECTED,
        floors=(FRAMEWORK_FLOOR, STAKEHOLDER_FLOOR),
        gaps={(cell.framework, cell.stakeholder) for cell in report.empty_cells},
        map=drawn,
        size=(WIDTH, HEIGHT),
        fewest_dots=FEWEST_DOTS,
        most_dots=MOST_DOTS,
        clouds=[
            ("Core values", "core values", draw_cloud(values), values.most_common(5)),
            ("Stakeholder roles", "the leading words of stakeholder roles", draw_cloud(words), words.most_common(5)),
        ],
    )


def check_free(path: Path, force: bool) -> None:
    """Make sure that writing a report loses nothing but an older report.

    Raises:
        InputError: The path is a folder, its folder does not exist, or another file is there and `force` is off, or it
            cannot be read.
    """
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in a folder that does not exist"
        raise InputError(f"the output {path} {what}", "name an HTML file in an existing folder with --output")
    if path.exists() and not force:
        with _explained(path), path.open("rb") as file:
            ours = MARK.encode() in file.read(1000)
        if not ours:
            raise InputError(f"{path} exists and is no Ethos report", "name another file with --output, or use --force")


def save(html: str, path: Path) -> None:
    """Write a page.

    Raises:
        InputError: The file cannot be written.
    """
    with _explained(path):
        path.write_text(html, encoding="utf-8")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {path}: {error.strerror}", "choose another --output"
        ) from error


def _role_words(roles: Sequence[str]) -> Counter[str]:
    """How many roles have each word in their heads; short words and those without meaning of their own are left out."""
    from wordcloud import STOPWORDS

    found: Counter[str] = Counter()
    for role in roles:
        found.update({word for word in re.findall(r"[^\W\d_]{3,}", fold(head(role))) if word not in STOPWORDS})
    return found
