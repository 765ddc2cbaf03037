"""The report of a pool: its figures by hand, and a page that is whole, safe and honest about what it could not draw."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from ethos.cli import EthosGroup
from ethos.cli.pool.report import report
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError
from ethos.llm import ModelIdentity
from ethos.persona import OriginKind, Persona
from ethos.pool.curation import plots
from ethos.pool.curation.diversity import Near, groups, nearest_pairs, vendi
from ethos.pool.curation.families import FRAMEWORKS, OTHER, STAKEHOLDERS
from ethos.pool.curation.lifecycle import Status, mark
from ethos.pool.curation.page import check_free, report_page, save
from ethos.pool.curation.plots import draw_cloud, draw_map
from ethos.pool.curation.report import (
    Census,
    EmptyCell,
    Origins,
    Pair,
    PoolReport,
    measure,
    take_census,
)
from ethos.pool.pool import Pool
from ethos.pool.storage.values import Origin
from ethos.scenario import Scenario

VACCINE = Scenario("Getting a flu vaccine every winter")
ORGANS = Scenario("Donating a kidney to a stranger")
CURATED = Origin(OriginKind.CURATED, source="by hand")
GENERATED = Origin(OriginKind.GENERATED, ModelIdentity("scripted:m", "r1", "float32"), "paper-1", 7)

MOTHER = Persona(
    "First", "Compassion", "Care ethics", "Duty to protect the frail", "Worry", "Mother of a clerk in Osaka"
)
NURSE = Persona("Second", "compassion", "Care Ethics", "Duty to nurse the sick", "Calm", "Nurse on a night ward")
FARMER = Persona("Third", "Liberty", "Libertarianism", "Right to refuse", "Distrust", "Farmer in Kansas")
SURGEON = Persona("Fourth", "Saving lives", "Utilitarianism", "Duty to rescue", "Resolve", "Surgeon")
PRIEST = Persona("Fifth", "Sanctity of life", "Christian ethics", "Duty to preserve life", "Awe", "Priest")
FIVE = (MOTHER, NURSE, FARMER, SURGEON, PRIEST)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


@pytest.fixture
def pool(tmp_path: Path, embedder: Embedder) -> Iterator[Pool]:
    opened = Pool(tmp_path / "tiny-pool", embedder)
    yield opened
    opened.close()


def silent(_: str) -> None:
    """No progress is looked at."""


def drawn(pool: Pool) -> str:
    census = take_census(pool, silent)
    return report_page(measure(census), census, silent)


def of(rows: Sequence[Sequence[float]]) -> np.ndarray:
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noise(count: int) -> np.ndarray:
    return of(np.random.default_rng(0).normal(size=(count, 16)).tolist())


# Diversity.


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0.0]] * 5, 1.0),
        (np.eye(4).tolist(), 4.0),
        # More rows than dimensions: the dual matrix.
        (np.repeat(np.eye(3), 400, axis=0).tolist(), 3.0),
        # Cosine 0.5: eigenvalues 3/4 and 1/4.
        ([[1.0, 0.0], [0.5, 0.75**0.5]], 1.7548),
    ],
)
def test_vendi_counts_what_differs(rows: list[list[float]], expected: float) -> None:
    assert vendi(of(rows)) == pytest.approx(expected, abs=1e-4)


def test_vendi_of_nothing_is_zero() -> None:
    assert vendi(np.empty((0, 0), dtype=np.float32)) == 0.0


def test_vendi_is_the_same_by_either_matrix() -> None:
    vectors = noise(12)
    eigenvalues = np.linalg.eigvalsh(vectors.T @ vectors / 12)
    shares = eigenvalues[eigenvalues > 1e-6]
    assert vendi(vectors) == pytest.approx(float(np.exp(-(shares * np.log(shares)).sum())), abs=1e-3)


def test_rows_alike_through_others_are_one_group() -> None:
    # Neighbours have cosine 0.92, the ends 0.71.
    chain = [[1.0, 0.0], [0.924, 0.383], [0.707, 0.707]]
    assert groups(of(chain), 0.9) == 1
    assert groups(of(chain), 0.95) == 3
    assert groups(np.empty((0, 0), dtype=np.float32), 0.9) == 0


def test_the_nearest_pairs_are_those_of_the_whole_matrix() -> None:
    vectors = noise(1100)  # three blocks
    cosines = vectors @ vectors.T
    first, second = np.triu_indices(1100, k=1)
    best = np.argsort(-cosines[first, second])[:20]
    found = nearest_pairs(vectors, 20)
    assert [(near.first, near.second) for near in found] == [(int(first[b]), int(second[b])) for b in best]
    assert [near.cosine for near in found] == pytest.approx(cosines[first[best], second[best]].tolist(), abs=1e-6)


def test_there_are_no_more_pairs_than_there_are() -> None:
    assert nearest_pairs(of([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 20) == [
        Near(0, 1, 1.0),
        Near(0, 2, 0.0),
        Near(1, 2, 0.0),
    ]
    assert nearest_pairs(of([[1.0, 0.0]]), 20) == []


# Figures.


def test_the_figures_of_a_tiny_pool(pool: Pool) -> None:
    pool.add(VACCINE, [MOTHER, NURSE, FARMER], CURATED)
    pool.add(ORGANS, [SURGEON, FARMER], GENERATED)
    pool.add(ORGANS, [PRIEST], GENERATED)
    mark(pool.database, [PRIEST.id], Status.RETIRED, "for the test")
    figures = measure(take_census(pool, silent))
    assert (figures.pool, figures.personas, figures.scenarios) == ("tiny-pool", 4, 2)
    assert figures.status == {"active": 4, "retired": 1}
    # The farmer was made by hand and by the model.
    assert figures.origins == (Origins("curated", "by hand", 3), Origins("generated", "scripted:m", 2))
    assert figures.distinct == {
        "name": 4,
        "core_value": 3,
        "ethical_framework": 3,
        "right_duty": 4,
        "emotion": 4,
        "stakeholder_role": 4,
    }
    assert 1.0 < figures.effective < 4.0
    counted = {
        (figures.frameworks[row].name, figures.stakeholders[column].name): count
        for row, counts in enumerate(figures.grid)
        for column, count in enumerate(counts)
        if count
    }
    assert counted == {
        ("Care and relations", "Parents"): 1,
        ("Care and relations", "Nurses and health workers"): 1,
        ("Liberal and libertarian", "Workers and citizens"): 1,
        ("Consequentialism", "Doctors"): 1,
    }
    care = next(family for family in figures.frameworks if family.name == "Care and relations")
    assert (care.personas, sorted(care.examples)) == (2, ["Care Ethics"])
    # Two of the three vaccine personas want the same, so that its two values are held unevenly.
    assert [(s.situation, s.personas, s.values) for s in figures.thin_scenarios] == [
        (VACCINE.situation, 3, 2),
        (ORGANS.situation, 2, 2),
    ]


def test_pairs_name_what_two_personas_share(pool: Pool) -> None:
    again = replace(MOTHER, name="Once More", emotion="Dread")
    pool.add(VACCINE, [MOTHER, FARMER], CURATED)
    pool.add(ORGANS, [again], CURATED)
    figures = measure(take_census(pool, silent))
    nearest = figures.pairs[0]
    assert len(figures.pairs) == 3
    assert {nearest.first.id, nearest.second.id} == {MOTHER.id, again.id}
    assert nearest.same == ("core_value", "ethical_framework", "right_duty", "stakeholder_role")
    # They share 14 words; "first" and "worry" are the one's own, "once", "more" and "dread" the other's.
    assert nearest.overlap == pytest.approx(14 / 19)
    assert 0.8 < nearest.cosine < 1.0


@pytest.mark.parametrize(
    ("framework", "role", "expected"),
    [
        ("Rule utilitarianism", "Mother of an office worker in Osaka", ("Consequentialism", "Parents")),
        ("Sikh seva ethics", "Hospital imam in Birmingham", ("Asian traditions", "Faith and tradition")),
        ("qwzx", "qwzx vbnm", (OTHER, OTHER)),
    ],
)
def test_free_text_is_sorted_into_families(pool: Pool, framework: str, role: str, expected: tuple[str, str]) -> None:
    pool.add(VACCINE, [replace(MOTHER, ethical_framework=framework, stakeholder_role=role)], CURATED)
    census = take_census(pool, silent)
    assert (census.frameworks[0], census.stakeholders[0]) == expected


def census_of(framework: Sequence[str], stakeholder: Sequence[str]) -> Census:
    """A census of personas with these families, all with the same vectors."""
    personas = tuple(replace(MOTHER, name=f"Number {number}") for number in range(len(framework)))
    texts = {text for persona in personas for text in (persona.core_value, persona.right_duty, persona.line)}
    vectors = dict.fromkeys(texts, np.array([1.0, 0.0], dtype=np.float32))
    return Census("made", {"active": len(personas)}, personas, (), (), vectors, tuple(framework), tuple(stakeholder))


def test_a_gap_is_an_empty_cell_that_chance_would_have_filled() -> None:
    # Six of one kind, six of another and no other: 6 x 6 / 12 = 3 would be expected in the two cells that are empty.
    census = census_of(["Rights"] * 6 + ["Deontology"] * 6, ["Patients"] * 6 + ["Parents"] * 6)
    assert set(measure(census).empty_cells) == {
        EmptyCell("Rights", "Parents", 3.0),
        EmptyCell("Deontology", "Patients", 3.0),
    }
    assert measure(census_of(["Rights"] * 5 + ["Deontology"] * 5, ["Patients"] * 5 + ["Parents"] * 5)).empty_cells == ()


def test_other_is_no_gap() -> None:
    census = census_of([OTHER] * 6 + ["Rights"] * 6, ["Patients"] * 6 + ["Parents"] * 6)
    assert measure(census).empty_cells == (EmptyCell("Rights", "Patients", 3.0),)
    assert measure(census).grid[-1][0] == 6


def test_the_families_are_as_many_as_a_page_can_show() -> None:
    assert (len(FRAMEWORKS), len(STAKEHOLDERS)) == (17, 13)
    assert OTHER not in {*FRAMEWORKS, *STAKEHOLDERS}


# The page.


class Reading(HTMLParser):
    """What a page refers to, describes and says."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.descriptions: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.addresses += [str(values[name]) for name in ("src", "href", "xlink:href", "data") if name in values]
        if tag == "img":
            self.descriptions.append(values.get("alt") or "")
        if tag == "svg":
            self.descriptions.append(values.get("aria-label") or "")
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_the_page_needs_nothing_from_elsewhere(pool: Pool) -> None:
    pool.add(VACCINE, FIVE, CURATED)
    html = drawn(pool)
    read = Reading(html)
    assert read.open == []
    assert not read.tags & {"script", "link", "iframe", "object", "base", "form"}
    assert len(read.addresses) == 2
    assert all(address.startswith("data:image/png;base64,") for address in read.addresses)
    assert not re.search(r"https?:|url\(|@import|\son\w+=", html)


def test_every_picture_is_described(pool: Pool) -> None:
    pool.add(VACCINE, FIVE, CURATED)
    map_, values, roles = Reading(drawn(pool)).descriptions
    assert map_.startswith("Map of 5 personas, coloured by family of ethical framework; the largest family is")
    assert values.startswith("Word cloud of core values; the commonest are compassion (2), ")
    assert roles.startswith("Word cloud of the leading words of stakeholder roles; the commonest are ")


def test_the_page_is_the_same_every_time(pool: Pool) -> None:
    pool.add(VACCINE, FIVE, CURATED)
    census = take_census(pool, silent)
    figures = measure(census)
    assert report_page(figures, census, silent) == report_page(figures, census, silent)


def test_every_text_is_escaped(pool: Pool) -> None:
    # Markup may be in any attribute, in a scenario and in a source.
    evil = [Persona(*(f"<script>alert({a}{n})</script>" for a in range(6))) for n in range(6)]
    twin = replace(evil[0], emotion='" onload="alert(1)')
    pool.add(
        Scenario("<script>alert('scenario')</script>"), [*evil, twin], Origin(OriginKind.IMPORTED, source="<b>source")
    )
    html = drawn(pool)
    read = Reading(html)
    assert "script" not in read.tags
    assert "<script" not in html
    assert "<b>source" not in html
    assert ' onload="' not in html
    assert "<script>alert('scenario')</script>" in read.text
    assert "<script>alert(00)</script>" in read.text


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (
            0,
            [
                "This pool has no active personas",
                "Not compared: a pair needs two active personas, this pool has 0.",
                "a map needs 5 active personas that differ, this pool has 0.",
            ],
        ),
        (
            1,
            [
                "Not compared: a pair needs two active personas, this pool has 1.",
                "a map needs 5 active personas that differ, this pool has 1.",
            ],
        ),
        (2, ["a map needs 5 active personas that differ, this pool has 2."]),
        (5, []),
    ],
)
def test_a_small_pool_has_a_page_that_says_what_is_missing(pool: Pool, count: int, said: list[str]) -> None:
    if count:
        pool.add(VACCINE, FIVE[:count], CURATED)
    html = drawn(pool)
    read = Reading(html)
    assert read.open == []
    assert all(sentence in " ".join(read.text.split()) for sentence in said)
    assert ("Not drawn" in read.text, "Not compared" in read.text) == (count < 5, count < 2)
    assert html.count("<circle") == (count if count == 5 else 0)
    assert len(read.addresses) == (2 if count else 0)


def test_only_scenarios_named_as_gaps_are_on_the_page_and_only_their_beginning(pool: Pool) -> None:
    long = "A clinic must choose " + "between one patient and another " * 10 + "SECRET END"
    pool.add(Scenario(long), [MOTHER], CURATED)
    for number in range(12):
        pool.add(Scenario(f"Question number {number:02}"), [NURSE, FARMER], CURATED)
    text = Reading(drawn(pool)).text
    assert "A clinic must choose between one patient" in text
    assert "SECRET END" not in text
    assert len(set(re.findall(r"Question number \d\d", text))) == 9


def test_a_large_pool_is_sampled_for_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MOST_DOTS", 12)  # t-SNE of 3000 takes its time
    found = draw_map(noise(30), [f"n{number}" for number in range(30)], ["A"] * 20 + ["B"] * 10, OTHER)
    assert found
    assert len({dot.name for dot in found.dots}) == 12
    assert sum(count for _, _, count in found.legend) == 12
    assert all(0 <= dot.x <= plots.WIDTH and 0 <= dot.y <= plots.HEIGHT for dot in found.dots)


def test_families_beyond_the_tones_share_a_grey() -> None:
    families = [f"family {number:02}" for number in range(20) for _ in range(2)] + [OTHER] * 9
    found = draw_map(noise(49), families, families, OTHER)
    assert found
    assert found.legend[0] == ("family 00", "c0", 2)
    assert found.legend[8] == ("family 08", "c0 ring", 2)
    assert found.legend[-1] == ("All others", "rest", 17)
    assert len(found.legend) == 17


def test_personas_that_are_all_the_same_have_no_map() -> None:
    assert draw_map(of([[1.0, 0.0]] * 9), ["n"] * 9, ["f"] * 9, OTHER) is None


def test_a_word_longer_than_the_picture_does_not_end_the_cloud() -> None:
    assert draw_cloud({"x" * 200: 3, "y" * 199: 2, "short": 1})
    assert draw_cloud({}) is None


# The file.


def test_only_an_older_report_is_replaced_unasked(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.html", tmp_path / "theirs.html"
    check_free(ours, force=False)
    census = census_of([], [])
    save(report_page(measure(census), census, silent), ours)
    check_free(ours, force=False)
    theirs.write_text("<p>My thesis</p>", encoding="utf-8")
    with pytest.raises(InputError, match="exists and is no Ethos report"):
        check_free(theirs, force=False)
    check_free(theirs, force=True)


def test_a_report_needs_a_file_in_a_folder_that_exists(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        check_free(tmp_path, force=True)
    with pytest.raises(InputError, match="is in a folder that does not exist"):
        check_free(tmp_path / "none" / "report.html", force=True)


# The command.


@pytest.fixture
def ethos(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    group: click.Group = EthosGroup("ethos", commands={"report": report})

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(group, ["report", "--pool", str(pool.database.folder), *arguments])

    return invoke


def test_the_command_writes_a_page_and_says_where(pool: Pool, ethos: Callable[..., Result], tmp_path: Path) -> None:
    pool.add(VACCINE, [MOTHER, NURSE], CURATED)
    result = ethos()
    assert (result.exit_code, result.stdout) == (0, "Report of 2 personas written to pool-report.html.\n")
    assert "encoding 2 personas" in result.stderr
    assert "Pool report: tiny-pool" in (tmp_path / "pool-report.html").read_text(encoding="utf-8")
    assert ethos("--output", "pool-report.html").exit_code == 0


def test_the_command_prints_figures_as_json_and_writes_no_page(
    pool: Pool, ethos: Callable[..., Result], tmp_path: Path
) -> None:
    pool.add(VACCINE, [MOTHER, NURSE], CURATED)
    result = ethos("--json")
    figures = json.loads(result.stdout)
    assert result.exit_code == 0
    assert figures["status"] == {"active": 2}
    assert {figures["pairs"][0][side]["persona_id"] for side in ("first", "second")} == {MOTHER.id, NURSE.id}
    assert not (tmp_path / "pool-report.html").exists()


def test_the_command_keeps_a_file_that_is_not_ours(ethos: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "thesis.html").write_text("mine", encoding="utf-8")
    result = ethos("--output", "thesis.html")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: thesis.html exists and is no Ethos report. Fix: ")
    assert (tmp_path / "thesis.html").read_text(encoding="utf-8") == "mine"
    assert ethos("--output", "thesis.html", "--force").exit_code == 0
    assert "Pool report" in (tmp_path / "thesis.html").read_text(encoding="utf-8")


def test_plain_values_are_json(pool: Pool) -> None:
    pool.add(VACCINE, FIVE, CURATED)
    figures = measure(take_census(pool, silent))
    assert isinstance(figures, PoolReport)
    assert isinstance(figures.pairs[0], Pair)
    assert json.loads(json.dumps(figures.as_dict()))["grid"] == [list(row) for row in figures.grid]
