"""The plots of an evaluation report, as inline SVG that takes its ink from the page, light or dark.

Knows figures and labels; knows no run, task or method.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ethos.evaluation.report.parts import Cloud, Kind, Line

# Middle tones, which can be read on a light and on a dark page.
TONES = ("#3b78c9", "#c2571a", "#2f8f5b", "#9a5bc4", "#c23b67", "#2a8a99", "#8a7a1f", "#7a5a44")
_MARKS = {Kind.OURS: ("o", "#3b78c9"), Kind.TRIVIAL: ("s", "#7d8794"), Kind.PAPER: ("D", "#c2571a")}
_INK = "#010203"  # stands for the page's own ink, and is in no other use
_WIDTH = 8.6  # inches at which text has the page's size
_MOST_LETTERS = 44
_ROOM = 100  # letters that fit beside each other


def scores_plot(lines: Sequence[Line], axis: str) -> str:
    """Means with their intervals, one below the other."""
    figure, axes = _figure(0.34 * len(lines) + 0.9)
    for row, line in enumerate(lines):
        mark, tone = _MARKS[line.kind]
        one = line.estimate
        assert one.mean is not None, "a line is drawn only of what was computed"
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [row, row], color=tone, linewidth=2, alpha=0.6, solid_capstyle="butt")
        face = tone if line.kind is Kind.OURS else "none"
        axes.plot([one.mean], [row], mark, color=tone, markerfacecolor=face, markersize=7)
    axes.set_yticks(range(len(lines)), [_short(line.label) for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlabel(axis)
    axes.grid(axis="x", color=_INK, alpha=0.12)
    return _svg(figure, f"{axis} {lines}")


def length_plot(clouds: Sequence[Cloud], axis: str) -> str:
    """Coverage against the length of an answer, a dot an item, and each method's mean."""
    import numpy as np

    figure, axes = _figure(3.9)
    for cloud, tone in zip(clouds, _tones(len(clouds)), strict=True):
        axes.plot(cloud.lengths, cloud.coverages, "o", color=tone, alpha=0.45, markersize=5, markeredgewidth=0)
        middle = float(np.mean(cloud.lengths)), float(np.mean(cloud.coverages))
        axes.plot(*middle, "D", color=tone, markersize=9, markeredgecolor=_INK, label=_short(cloud.label))
    axes.set(xlabel="words of the answer", ylabel=axis, ylim=(-0.02, 1.02))
    axes.set_xlim(left=0)
    axes.grid(color=_INK, alpha=0.12)
    _legend(figure, axes)
    return _svg(figure, f"{axis} {clouds}")


def stages_plot(seconds: Mapping[str, Mapping[str, float]], axis: str) -> str:
    """Mean seconds of an item by stage, stacked; one bar a method.

    Args:
        seconds: By method, by stage in the order of work.
        axis: What is shown.
    """
    import numpy as np

    stages = list(dict.fromkeys(stage for spent in seconds.values() for stage in spent))
    figure, axes = _figure(0.42 * len(seconds) + 1.3)
    rows, left = np.arange(len(seconds)), np.zeros(len(seconds))
    for stage, tone in zip(stages, _tones(len(stages)), strict=True):
        width = np.array([spent.get(stage, 0.0) for spent in seconds.values()])
        axes.barh(rows, width, 0.62, left=left, color=tone, label=stage)
        left += width
    axes.set_yticks(rows, [_short(label) for label in seconds])
    axes.invert_yaxis()
    axes.set_xlabel(axis)
    axes.grid(axis="x", color=_INK, alpha=0.12)
    _legend(figure, axes)
    return _svg(figure, f"{axis} {seconds}")


def growth_plot(sizes: Sequence[int], series: Mapping[str, Sequence[float]], below: str) -> str:
    """Shares of 1 against the size of something, one line a series."""
    figure, axes = _figure(3.4)
    for (label, values), tone in zip(series.items(), _tones(len(series)), strict=True):
        axes.plot(sizes, values, "o-", color=tone, label=label)
    axes.set(xlabel=below, ylim=(0, 1.02))
    axes.set_xlim(left=0)
    axes.grid(color=_INK, alpha=0.12)
    _legend(figure, axes)
    return _svg(figure, f"{below} {sizes} {series}")


def _figure(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # late: slow to import

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _tones(count: int) -> list[str]:
    return [TONES[place % len(TONES)] for place in range(count)]


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(labels), _ROOM // (max(map(len, labels)) + 6)))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=10)


def _short(label: str) -> str:
    return label if len(label) <= _MOST_LETTERS else f"{label[: _MOST_LETTERS - 1]}…"


def _svg(figure: Any, salt: str) -> str:
    """The figure as an ``svg`` element: no ids in common with another, no names of foreign documents, page's ink."""
    import matplotlib as mpl

    for axes in figure.axes:
        axes.patch.set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_INK)
        axes.tick_params(colors=_INK, labelsize=10)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
    for legend in figure.legends:
        for text in legend.get_texts():
            text.set_color(_INK)
    drawn = io.StringIO()
    # Text stays text, so that the page's own font is used; a dollar sign in a model's name is no formula.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False}):
        _plain_text(figure)
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    element = drawn.getvalue()
    element = element[element.index("<svg") :]
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\sxmlns(?::xlink)?="[^"]*"', "", element)
    element = re.sub(r'(<svg[^>]*?)\swidth="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", element, count=1)
    element = re.sub(r"font: ([^;]*?)px [^;\"]*", r"font-size: \1px", element)
    return element.replace(_INK, "currentColor").strip()


def _plain_text(figure: Any) -> None:
    """Matplotlib reads `text.parse_math` when a text is made, so texts made before are set one by one."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
