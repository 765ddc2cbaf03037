"""How varied the personas are that answered, in pictures, and what is wrong with them (Figures 6 to 8, Table 14).

The map is the pool report's, with topics in place of frameworks. Knows personas and an encoder; knows no run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from ethos.encoders.embedder import Embedder, Vectors
from ethos.persona import ATTRIBUTES, LABELS, Persona
from ethos.pool.curation.lint import Kind, lint
from ethos.pool.curation.plots import MOST_DOTS, Map, draw_cloud, draw_map
from ethos.pool.storage.values import Link
from ethos.scenario import Scenario
from ethos.text.cleaning import fold

TOPICS = 8  # as many as the map has plain colours
TERMS = 4  # by which a topic is named
NO_TOPIC = "no topic"
_FEWEST = 12  # personas from which topics are looked for


@dataclass(frozen=True, slots=True)
class Failures:
    """How many personas have a failure of Table 14.

    Attributes:
        kind: What is wrong.
        findings: How often.
        personas: How many different personas it concerns.
        example: One of them, in words; empty where there is none.
    """

    kind: str
    findings: int
    personas: int
    example: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A word cloud: what it is of, its address, and its commonest texts with their counts."""

    what: str
    address: str
    common: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class PersonaDiversity:
    """The personas that somebody answered with.

    Attributes:
        there: Different ones.
        personas: Different ones that were looked at, as many as the map has room for at most.
        seats: How often one took part.
        map: By t-SNE, coloured by topic; None for fewer than five.
        topics: The leading terms of each topic; none for a few personas.
        clouds: One an attribute, names left out: they are meant to differ.
        failures: By kind.
    """

    there: int
    personas: int
    seats: int
    map: Map | None
    topics: tuple[str, ...]
    clouds: tuple[Picture, ...]
    failures: tuple[Failures, ...]


def persona_diversity(seats: Sequence[tuple[Persona, Scenario]], embedder: Embedder) -> PersonaDiversity:
    """Look at personas, each with the scenario that it spoke to; of very many, at those of a fixed sample of scenarios.

    Raises:
        ConfigurationError: The encoder cannot be loaded.
    """
    there = len({persona.id for persona, _ in seats})
    seats = _some(seats) if there > MOST_DOTS else seats
    personas = list({persona.id: persona for persona, _ in seats}.values())
    topics, named = find_topics(personas)
    vectors = embedder.encode([persona.line for persona in personas])
    clouds = []
    for name in ATTRIBUTES[1:]:
        counts = Counter(fold(getattr(persona, name)) for persona in personas)
        if address := draw_cloud(counts):
            clouds.append(Picture(LABELS[name], address, tuple(counts.most_common(5))))
    return PersonaDiversity(
        there,
        len(personas),
        len(seats),
        draw_map(vectors, [persona.name for persona in personas], topics, NO_TOPIC),
        named,
        tuple(clouds),
        tuple(find_failures(seats, embedder)),
    )


def _some(seats: Sequence[tuple[Persona, Scenario]]) -> list[tuple[Persona, Scenario]]:
    """Whole scenarios, since personas overlap within one, while the map has room for all who spoke to them."""
    held: dict[str, list[tuple[Persona, Scenario]]] = {}
    for persona, scenario in seats:
        held.setdefault(scenario.key, []).append((persona, scenario))
    kept: list[tuple[Persona, Scenario]] = []
    known: set[str] = set()
    for key in Random(0).sample(sorted(held), len(held)):
        known |= {persona.id for persona, _ in held[key]}
        if len(known) > MOST_DOTS and kept:
            break
        kept += held[key]
    return kept


def find_failures(seats: Sequence[tuple[Persona, Scenario]], embedder: Embedder) -> list[Failures]:
    """What `ethos pool lint` finds in them, by kind."""
    links = list({(p.id, s.key): Link(p, s.key, s.situation) for p, s in seats}.values())

    def vectors(texts: Iterable[str]) -> dict[str, Vectors]:
        asked = list(texts)
        return dict(zip(asked, embedder.encode(asked), strict=True)) if asked else {}

    found, counted = lint(links, vectors), []
    for kind in Kind:
        of_kind = [finding for finding in found if finding.kind is kind]
        concerned = {persona for finding in of_kind for persona in finding.persona_ids}
        counted.append(Failures(str(kind), len(of_kind), len(concerned), of_kind[0].message if of_kind else ""))
    return counted


def find_topics(personas: Sequence[Persona]) -> tuple[list[str], tuple[str, ...]]:
    """Topics of personas: non-negative matrix factors of the TF-IDF of their lines.

    Returns:
        Each persona's topic, named by its leading terms, or `NO_TOPIC`; and the topics. Few personas, or such as share
        no term, have none.
    """
    if len(personas) < _FEWEST:
        return [NO_TOPIC] * len(personas), ()
    from sklearn.decomposition import NMF  # late: half a second
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectorizer = TfidfVectorizer(stop_words="english", min_df=2, sublinear_tf=True)
        weights = vectorizer.fit_transform([" ".join(persona.texts()) for persona in personas])
    except ValueError:  # scikit-learn's word for: no term is in two lines
        return [NO_TOPIC] * len(personas), ()
    count = min(TOPICS, weights.shape[1])
    factors = NMF(count, init="nndsvda", random_state=0, max_iter=2000, tol=1e-3)
    shares = factors.fit_transform(weights)
    terms = vectorizer.get_feature_names_out()
    named = [", ".join(terms[place] for place in row.argsort()[::-1][:TERMS]) for row in factors.components_]
    own = [named[int(row.argmax())] if row.max() > 0 else NO_TOPIC for row in shares]
    return own, tuple(named)
