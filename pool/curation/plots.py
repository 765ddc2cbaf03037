"""Plots of the pool report: a map of the personas, and word clouds.

Knows vectors, names and counts; knows no persona, page, database or model.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from ethos.encoders.embedder import Vectors

WIDTH, HEIGHT = 1000, 700  # of the map, in its own units
MARGIN = 14
MOST_DOTS = 3000  # t-SNE of as many takes about ten seconds
FEWEST_DOTS = 5
PERPLEXITY = 30.0  # scikit-learn's default; a third of the neighbours there are in a small pool
# As many hues as an eye can distinguish: dots in the largest families, rings in the next, grey in the few beyond.
TONES = tuple(f"c{hue}{shape}" for shape in ("", " ring") for hue in range(8))
REST = "rest"

_CLOUD = (900, 680)  # pixels; twice the width at which a wide page shows it
_WORDS = 50
_LETTERS = 26  # a longer phrase is cut: one that does not fit ends the drawing
# Middle tones, which can be read on a light and on a dark page.
_TONES = ("#3b78c9", "#c2571a", "#2f8f5b", "#9a5bc4", "#c23b67", "#2a8a99")


@dataclass(frozen=True, slots=True)
class Dot:
    """One persona on the map; `tone` is one of `TONES`, or `REST`."""

    x: float
    y: float
    name: str
    family: str
    tone: str


@dataclass(frozen=True, slots=True)
class Map:
    """A map of personas.

    Attributes:
        dots: In the order given.
        legend: Family, tone and number of dots, most first; all families in grey are one entry.
        radius: Of a dot.
    """

    dots: tuple[Dot, ...]
    legend: tuple[tuple[str, str, int], ...]
    radius: float


def draw_map(vectors: Vectors, names: Sequence[str], families: Sequence[str], grey: str) -> Map | None:
    """Place vectors in the plane by t-SNE: near each other where they are alike.

    Args:
        vectors: Unit rows, (n, dimensions); a fixed sample of `MOST_DOTS` is drawn of more.
        names: What each row is.
        families: What each row is coloured by.
        grey: A family that never gets a colour.

    Returns:
        None for fewer than `FEWEST_DOTS` rows, or if all are the same.
    """
    if len(vectors) < FEWEST_DOTS or float(np.ptp(vectors, axis=0).max()) < 1e-6:
        return None
    shown = list(range(len(vectors)))
    if len(vectors) > MOST_DOTS:
        shown = sorted(Random(0).sample(shown, MOST_DOTS))
    places = _places(vectors[shown])
    counts = Counter(families[row] for row in shown)
    ranked = sorted((family for family in counts if family != grey), key=lambda family: (-counts[family], family))
    tones = dict(zip(ranked, TONES, strict=False))
    dots = tuple(
        Dot(round(float(x), 1), round(float(y), 1), names[row], families[row], tones.get(families[row], REST))
        for row, (x, y) in zip(shown, places, strict=True)
    )
    legend = [(family, tone, counts[family]) for family, tone in tones.items()]
    if rest := len(dots) - sum(count for _, _, count in legend):
        legend.append(("All others", REST, rest))
    return Map(dots, tuple(legend), 7.0 if len(dots) <= 1000 else 4.5)


def _places(vectors: Vectors) -> Vectors:
    """Coordinates within the map, (n, 2)."""
    from sklearn.manifold import TSNE  # late: half a second

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    plane: Vectors = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)
    low, high = plane.min(axis=0), plane.max(axis=0)
    room = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN], dtype=np.float32)
    places: Vectors = MARGIN + (plane - low) / np.maximum(high - low, 1e-6) * room
    return places


def draw_cloud(counts: Mapping[str, int]) -> str | None:
    """A word cloud: the larger a text, the oftener it is counted.

    Returns:
        A PNG with a transparent ground as a ``data:`` address, `_CLOUD` pixels; None if there is nothing to draw.
    """
    if not counts:
        return None
    import matplotlib as mpl  # late: both are slow to import
    from wordcloud import WordCloud

    shortened: Counter[str] = Counter()
    for text, count in counts.items():
        shortened[text if len(text) <= _LETTERS else text[: _LETTERS - 1].rstrip() + "…"] += count
    cloud = WordCloud(
        width=_CLOUD[0],
        height=_CLOUD[1],
        font_path=str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"),
        mode="RGBA",
        background_color=None,
        max_words=_WORDS,
        min_font_size=28,
        max_font_size=90,
        prefer_horizontal=1.0,
        relative_scaling=0.4,
        margin=9,
        color_func=_tone,
        random_state=0,
    )
    picture = io.BytesIO()
    cloud.generate_from_frequencies(shortened).to_image().save(picture, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"


def _tone(word: str, **_: object) -> str:
    return Random(word).choice(_TONES)
