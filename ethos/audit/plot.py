"""Plots of influence over all answers: Lorenz curves over personas, bars for frameworks and stakeholders.

Knows figures; knows no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ethos.audit.statistics import Concentration, Say, Stats
from ethos.errors import InputError

_POOL, _SEATS, _INFLUENCE = "#b8bec6", "#3b78c9", "#c2571a"
SUFFIXES = (".png", ".svg", ".pdf")


def plot(found: Stats, path: Path) -> None:
    """Draw the picture into a file.

    Args:
        found: What to draw.
        path: Where to; its ending chooses the format.

    Raises:
        InputError: The ending is none of `SUFFIXES`, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is no picture's name", f"name it with one of {', '.join(SUFFIXES)}")
    from matplotlib.figure import Figure  # late: slow to import

    figure = Figure(figsize=(12, 9), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(4, 5))
    upper, lower = parts
    summary = f"{found.answers:,} answers, {found.with_influence:,} with influences"
    upper.suptitle(f"Who has a say: {summary}", fontsize=14)
    left, right = upper.subplots(1, 2)
    _lorenz(left, found.personas)
    _most(right, found.personas)
    for axes, say, title in zip(
        lower.subplots(1, 2),
        (found.frameworks, found.stakeholders),
        ("Ethical frameworks", "Stakeholders"),
        strict=True,
    ):
        _bars(axes, say, title)
    try:
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", "name a file in another folder") from error


def _lorenz(axes: Any, say: Say) -> None:
    """How much the least asked personas have together; the straight line is equality."""
    curves: Sequence[tuple[str, list[float], str, Concentration | None]] = (
        ("seats", [one.seats for one in say.standings], _SEATS, say.seats),
        ("influence", [one.influence_share for one in say.standings], _INFLUENCE, say.influence),
    )
    axes.plot([0, 1], [0, 1], color=_POOL, linestyle="--", label="all the same")
    for name, parts, colour, concentration in curves:
        if concentration:
            shares = np.cumsum([0.0, *sorted(parts)])
            label = f"{name}: Gini {concentration.gini:.2f}, top 5 hold {concentration.top:.0%}"
            axes.plot(np.linspace(0, 1, len(shares)), shares / shares[-1], color=colour, label=label)
    axes.set(
        title=f"{len(say.standings):,} personas, {len(say.never):,} of them never asked",
        xlabel="share of personas, least asked first",
        ylabel="share of the say",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(loc="upper left", frameon=False)


def _most(axes: Any, say: Say) -> None:
    """The personas with most influence."""
    most = say.standings[:10]
    rows = np.arange(len(most))
    axes.barh(rows - 0.2, [one.seat_share for one in most], 0.4, color=_SEATS, label="seats")
    axes.barh(rows + 0.2, [one.influence_share for one in most], 0.4, color=_INFLUENCE, label="influence")
    _label(axes, [one.name[:32] for one in most], "The ten with most influence")


def _bars(axes: Any, say: Say, title: str) -> None:
    """Share of the pool, of seats and of influence by family."""
    rows, personas = np.arange(len(say.standings)), max(1, sum(one.personas for one in say.standings))
    series = (
        ("active personas", [one.personas / personas for one in say.standings], _POOL),
        ("seats", [one.seat_share for one in say.standings], _SEATS),
        ("influence", [one.influence_share for one in say.standings], _INFLUENCE),
    )
    for place, (name, shares, colour) in enumerate(series):
        axes.barh(rows + 0.27 * (place - 1), shares, 0.27, color=colour, label=name)
    gini = f", Gini of influence {say.influence.gini:.2f}" if say.influence else ""
    _label(axes, [one.name for one in say.standings], f"{title}{gini}")


def _label(axes: Any, names: Sequence[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.set_title(title)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
