"""The paper's analyses: n-grams by hand, costs, grids, who the personas are, and a pool as it grows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ethos.cli.evaluate.report import pool_size_command
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.errors import InputError
from ethos.evaluation.analyses import persona_diversity as persona_diversity_module
from ethos.evaluation.analyses.ablations import GRIDS, Variant, attribute_grid, grid, size_grid
from ethos.evaluation.analyses.costs import REST, cost, versus
from ethos.evaluation.analyses.ngrams import diversity, ngrams, words
from ethos.evaluation.analyses.paper_figures import paper
from ethos.evaluation.analyses.persona_diversity import NO_TOPIC, find_failures, find_topics, persona_diversity
from ethos.evaluation.analyses.pool_size import Size, grow, pseudo_personas
from ethos.evaluation.methods import MethodSettings
from ethos.evaluation.tasks.loading import load_task
from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.task import Task
from ethos.persona import ATTRIBUTES, LABELS, Persona
from ethos.pool.starter import starter_panels
from ethos.scenario import Scenario


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


def test_words_are_runs_of_letters_case_ignored() -> None:
    assert words("The patient's RIGHT, to-know: 2 doctors\u2019 view!") == [
        "the", "patient's", "right", "to", "know", "2", "doctors", "view",
    ]  # fmt: skip
    assert ngrams("a b a b", 2) == [("a", "b"), ("b", "a"), ("a", "b")]
    assert ngrams("a b", 3) == []


def test_ngrams_by_hand() -> None:
    # Item one: "a b c a b" has ab bc ca ab, "a b d" has ab bd: 4 distinct of 6, and ab in both. Item two: one comment.
    found = diversity([["a b c a b", "A b d."], ["x y z"]], 2)
    assert (found.items, found.texts) == (2, 3)
    assert found.words == pytest.approx((5 + 3 + 3) / 3)
    assert found.per_text == pytest.approx((3 + 2 + 2) / 3)
    assert found.over_set == pytest.approx((4 + 2) / 2)
    assert found.share == pytest.approx((4 / 6 + 2 / 2) / 2)
    assert found.overlap == pytest.approx((1 / 4 + 0) / 2)


def test_an_ngram_never_spans_two_comments() -> None:
    assert diversity([["a b", "c d"]], 2).over_set == 2


def test_nothing_to_count_is_an_error() -> None:
    for sets in ([], [[]], [["one", "two"]]):
        with pytest.raises(InputError, match="no comment has 2 words"):
            diversity(sets, 2)


@settings(deadline=None)
@given(st.lists(st.lists(st.text("ab c", max_size=12), min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_set_has_no_fewer_ngrams_than_its_richest_comment(sets: list[list[str]]) -> None:
    try:
        found = diversity(sets, 2)
    except InputError:
        return
    assert 0 < found.share <= 1
    assert 0 <= found.overlap <= 1
    richest = sum(max(len(set(ngrams(text, 2))) for text in texts) for texts in sets) / len(sets)
    assert found.over_set >= richest - 1e-9


def prediction(calls: int, spent: float, gate: str = "", **stages: float) -> Prediction:
    seconds = {**stages, "total": spent}
    made = {"main": 1, "comment": calls - 1}
    return Prediction("x", calls=made, tokens={"prompt": 10, "completion": calls}, seconds=seconds, gate=gate)


def test_costs_are_means_and_what_no_stage_claims_is_told() -> None:
    found = cost({"1": prediction(3, 2.0, "hit", comment=1.0), "2": prediction(5, 4.0, "miss", main=2.0, comment=1.0)})
    assert found.calls.mean == 4.0
    assert (found.prompt_tokens.mean, found.completion_tokens.mean) == (10.0, 4.0)
    assert found.seconds.mean == 3.0
    assert list(found.stages) == ["comment", "main", REST]
    assert found.stages == pytest.approx({"comment": 1.0, "main": 1.0, REST: 1.0})
    assert found.gates == {"hit": 1, "miss": 1}


def test_pool_is_compared_with_fresh_on_the_items_of_both() -> None:
    pool = {str(i): prediction(7, 1.0 + i) for i in range(6)}
    fresh = {str(i): prediction(13, 3.0 + i) for i in range(1, 8)}
    found = versus(pool, fresh, ({str(i): 0.5 for i in range(6)}, {str(i): 0.25 for i in range(6)}))
    assert found.calls.estimate.n == 5
    assert (found.calls.estimate.mean, found.tokens.estimate.mean, found.seconds.estimate.mean) == (-6.0, -6.0, -2.0)
    assert (found.seconds.estimate.low, found.seconds.estimate.high) == (-2.0, -2.0)
    assert found.quality
    assert found.quality.estimate.mean == 0.25
    with pytest.raises(InputError, match="1 items are in both"):
        versus({"1": pool["1"]}, fresh)


def test_grids_are_the_papers_rows() -> None:
    tables = paper().tables
    assert [variant.value for variant in attribute_grid()] == list(tables["19"].rows)
    assert [variant.value for variant in size_grid()] == list(tables["8"].rows)
    assert {variant.settings["attributes"] for variant in attribute_grid()} >= {ATTRIBUTES}
    assert all(variant.grid == name for name in GRIDS for variant in grid(name))
    for variant in (one for name in GRIDS for one in grid(name)):
        replace(MethodSettings(), **variant.settings)  # every variant is one that the runner takes
    assert [variant.option for variant in size_grid()[:2]] == ["--k 1", "--k 2"]
    assert attribute_grid()[0].option == "--attributes name,core_value"
    with pytest.raises(InputError, match="no grid 'other'"):
        grid("other")


def test_a_variants_folder_is_a_safe_name() -> None:
    assert size_grid()[2].folder == "k=3"
    assert Variant("comment-model", "transformers:../A/B c", {}).folder == "comment-model=transformers+..+A+B+c"


def test_topics_are_found_where_words_are_shared() -> None:
    people = [persona for panel in starter_panels()[:8] for persona in panel.personas]
    own, named = find_topics(people)
    assert len(own) == len(people)
    assert set(own) <= {*named, NO_TOPIC}
    assert len(set(own)) > 2
    assert find_topics(people[:3]) == ([NO_TOPIC] * 3, ())


def test_personas_are_mapped_and_their_failures_counted(embedder: Embedder) -> None:
    seats = [(persona, panel.scenario) for panel in starter_panels()[:3] for persona in panel.personas]
    bad = Persona("Nobody", "Care", "Care Ethics", "Right to care", "Hope", "People")
    found = persona_diversity([*seats, (bad, seats[0][1]), (bad, seats[0][1])], embedder)
    assert (found.there, found.personas, found.seats) == (len(seats) + 1, len(seats) + 1, len(seats) + 2)
    assert found.map
    assert len(found.map.dots) == found.personas
    assert [cloud.what for cloud in found.clouds] == [LABELS[name] for name in ATTRIBUTES[1:]]
    assert all(cloud.address.startswith("data:image/png;base64,") for cloud in found.clouds)
    abstract = next(one for one in found.failures if one.kind == "abstract stakeholder")
    assert abstract.personas == 1
    assert "People" in abstract.example


def test_of_very_many_personas_whole_scenarios_are_looked_at(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persona_diversity_module, "MOST_DOTS", 13)
    seats = [(persona, panel.scenario) for panel in starter_panels()[:5] for persona in panel.personas]
    found = persona_diversity(seats, embedder)
    assert (found.there, found.personas, found.seats) == (30, 12, 12)


def test_three_personas_with_one_theme_are_an_overlap(embedder: Embedder) -> None:
    scenario = Scenario("Refusing to share junk food")
    seats = [
        (Persona(f"Person {n}", "Health", f"Ethics {n}", f"Right to {word}", f"Mood {n}", f"Nurse {n}"), scenario)
        for n, word in enumerate(("silence", "music", "bread"))
    ]
    assert {one.kind: one.personas for one in find_failures(seats, embedder)}["thematic overlap"] == 3


def task_with(folder: Path, count: int) -> Task:
    """Situations on two themes, each with gold of its own theme."""
    themes = (
        ("Telling a dying patient the truth", ["Honesty", "Compassion", "Right to know", "Duty to tell"]),
        ("Driving a car after drinking", ["Safety", "Freedom", "Right to life", "Duty to protect others"]),
    )
    rows = [
        {"id": i, "situation": f"{text}, case {i}", "vrd": gold, "explanation": gold}
        for i in range(count)
        for text, gold in [themes[i % 2]]
    ]
    path = folder / "vital_overton_valuekaleidoscope.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return load_task(path)


def test_pseudo_personas_pair_values_with_rights(tmp_path: Path) -> None:
    [one, other] = pseudo_personas(task_with(tmp_path, 2).items[0])
    assert (one.core_value, one.right_duty) == ("Honesty", "Right to know")
    assert (other.core_value, other.right_duty) == ("Compassion", "Duty to tell")


def test_a_pool_that_knows_more_serves_more(tmp_path: Path, embedder: Embedder) -> None:
    task = task_with(tmp_path, 20)
    told: list[str] = []
    found = list(grow(tmp_path / "pool", task.items, embedder, 2, (12, 1, 99), 8, 0, told.append))
    assert [(size.scenarios, size.personas) for size in found] == [(1, 2), (12, 24)]
    small, large = found
    # One situation serves its own theme only; twelve have both themes, and so all gold.
    assert small.coverage.mean is not None
    assert small.coverage.mean < 1.0
    assert large.coverage.mean == 1.0
    assert large.hit_rate.mean == 1.0
    assert large.coverage.n == 8
    assert told == ["a pool of 1 situations", "a pool of 12 situations"]
    assert [Size.read(json.loads(json.dumps(size.as_dict()))) for size in found] == found


def test_too_few_situations_are_refused(tmp_path: Path, embedder: Embedder) -> None:
    task = task_with(tmp_path, 4)
    with pytest.raises(InputError, match="4 situations with gold are too few"):
        list(grow(tmp_path / "pool", task.items, embedder, 2, (25,), 2, 0, print))


def test_the_command_keeps_what_it_measured_for_the_report(tmp_path: Path) -> None:
    task = task_with(tmp_path, 12)
    arguments = [str(tmp_path / "run"), task.source, "--sizes", "2,4,99", "--asked", "4", "--k", "2"]
    done = CliRunner().invoke(pool_size_command, arguments)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "run" / "pool_size.json").read_text(encoding="utf-8"))
    assert [row["scenarios"] for row in rows] == [2, 4]
    assert "too few situations for a pool of 99" in done.stderr
    wrong = CliRunner().invoke(pool_size_command, [*arguments[:2], "--sizes", "a"])
    assert isinstance(wrong.exception, InputError)
