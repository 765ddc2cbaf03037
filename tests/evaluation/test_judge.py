"""Judges: scripted models that take every path, Fleiss' kappa by the book, and sheets that people fill."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ethos.cli.evaluate.report import annotate_command, judge_command
from ethos.errors import InputError, ModelError
from ethos.evaluation.judging.agreement import agreement, fleiss_kappa
from ethos.evaluation.judging.annotation import COLUMNS, Sheet, read_key, read_sheet, write_sheet
from ethos.evaluation.judging.annotation_files import keep_new, write_new
from ethos.evaluation.judging.judge import Judgement, Pair, Verdict, judge, read_verdict, tally
from ethos.evaluation.judging.pairwise import (
    Comparison,
    all_judgements,
    answers_of,
    keep,
    left_over,
    pairs_of,
    read_judgements,
)
from ethos.evaluation.runs.runner import Plan, run_evaluation
from ethos.evaluation.tasks.loading import load_task
from ethos.llm import Request, opening
from ethos.llm.backends.scripted import ScriptedModel

PAIRS = [Pair(str(i), f"Question {i}?", f"good answer {i}", f"bad answer {i}") for i in range(10)]
MODEL = "scripted:m"
ABOUT = {"task": "overton_valuekaleidoscope", "first": "prompting", "second": "vanilla", "model": MODEL}

# Fleiss (1971), Table 1: 30 patients, six psychiatrists each; depression, personality disorder, schizophrenia,
# neurosis, other.
FLEISS = """
0 0 0 6 0|0 3 0 0 3|0 1 4 0 1|0 0 0 0 6|0 3 0 3 0|2 0 4 0 0|0 0 4 0 2|2 0 3 1 0|2 0 0 4 0|0 0 0 0 6
1 0 0 5 0|1 1 0 4 0|0 3 3 0 0|1 0 0 5 0|0 2 0 3 1|0 0 5 0 1|3 0 0 1 2|5 1 0 0 0|0 2 0 4 0|1 0 2 0 3
0 0 0 0 6|0 1 0 5 0|0 2 0 1 3|2 0 0 4 0|1 0 0 4 1|0 5 0 1 0|4 0 0 0 2|0 2 0 4 0|1 0 5 0 0|0 0 0 0 6
"""


def shown(request: Request) -> tuple[str, str]:
    """The two answers in the order in which the judge sees them."""
    text = request.messages[-1].content
    a, b = text.split("Response A:\n")[1].split("\n\nResponse B:\n")
    return a, b.split("\n\nWhich")[0]


def prefers_good(request: Request) -> str:
    return json.dumps({"verdict": "A" if shown(request)[0].startswith("good") else "B"})


def judged(reply: Callable[[Request], str], pairs: list[Pair] = PAIRS) -> list[Judgement]:
    return list(judge(ScriptedModel(reply), pairs, 0, lambda done, total: None))


def test_a_judge_that_looks_at_the_answers_decides_whatever_the_order() -> None:
    found = tally(judged(prefers_good))
    assert (found.wins, found.ties, found.losses, found.unreadable, found.swayed) == (10, 0, 0, 0, 0)
    assert found.first_shown == 0.5
    assert found.win_rate == 1.0
    # Wilson: (p + z²/2n ± …) / (1 + z²/n), of 10 in 10: 10 / (10 + 1.96²)
    assert found.low == pytest.approx(0.7225, abs=1e-4)
    assert found.p_value == pytest.approx(2 / 2**10)


def test_each_pair_is_asked_in_both_orders_in_few_batches() -> None:
    model = ScriptedModel(prefers_good)
    told: list[tuple[int, int]] = []
    list(judge(model, PAIRS, 0, lambda *so_far: told.append(so_far)))
    assert [len(batch) for batch in model.batches] == [16, 4]
    assert told == [(8, 10), (10, 10)]
    first, second = model.batches[0][:2]
    assert shown(first) == tuple(reversed(shown(second)))


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_that_prefers_a_place_makes_ties(letter: str) -> None:
    found = tally(judged(lambda _: letter))
    assert (found.wins, found.ties, found.losses, found.swayed) == (0, 10, 0, 10)
    assert found.first_shown == (1.0 if letter == "A" else 0.0)
    assert found.p_value == 1.0


def test_a_tie_in_one_order_is_a_tie() -> None:
    found = judged(lambda request: "A" if shown(request)[0].startswith("good") else "tie")
    assert {one.verdict for one in found} == {Verdict.TIE}
    assert {one.backward for one in found} == {Verdict.TIE}
    assert all(one.swayed for one in found)


def test_an_unreadable_reply_is_counted_and_never_guessed() -> None:
    def reply(request: Request) -> str:
        return "Response A is the better one." if "answer 3" in request.messages[-1].content else prefers_good(request)

    found = judged(reply)
    assert found[3].verdict is Verdict.UNREADABLE
    assert found[3].replies == ("Response A is the better one.",) * 2
    counted = tally(found)
    assert (counted.wins, counted.unreadable) == (9, 1)
    assert counted.win_rate == 1.0
    nothing = tally(judged(lambda _: "?"))
    assert (nothing.win_rate, nothing.low, nothing.first_shown, nothing.unreadable) == (None, None, None, 10)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"verdict": "A"}', Verdict.FIRST),
        ('```json\n{"verdict": "tie"}\n```', Verdict.TIE),
        ("B.", Verdict.SECOND),
        (" (a) ", Verdict.FIRST),
        ("Tie", Verdict.TIE),
        ("", Verdict.UNREADABLE),
        ("A or B", Verdict.UNREADABLE),
        ('{"verdict": "C"}', Verdict.UNREADABLE),
        ('{"verdict": ["A"]}', Verdict.UNREADABLE),
        ('{"winner": "A"}', Verdict.UNREADABLE),
        ("1", Verdict.UNREADABLE),
        ("A is better than B", Verdict.UNREADABLE),
    ],
)
def test_only_what_was_asked_for_is_read(reply: str, verdict: Verdict) -> None:
    assert read_verdict(reply) is verdict


def test_braces_in_answers_are_text() -> None:
    pair = Pair("1", "{a} {0}?", "good {b}", "bad {question}")
    assert judged(prefers_good, [pair])[0].verdict is Verdict.FIRST


def comparison(judge_name: str = "m") -> Comparison:
    return Comparison(ABOUT["task"], ABOUT["first"], ABOUT["second"], MODEL, judge_name, "1")


def test_what_is_judged_is_not_judged_again_after_a_kill(tmp_path: Path) -> None:
    path = comparison().path(tmp_path)
    found = judged(prefers_good)
    keep(path, comparison(), found[:4])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"task": "overt')
    assert [pair.item for pair in left_over(path, comparison(), PAIRS)] == [str(i) for i in range(4, 10)]
    keep(path, comparison(), found[4:])
    assert read_judgements(path) == (comparison(), found)
    assert all_judgements(tmp_path) == [(comparison(), found)]


def test_another_prompt_never_joins_the_same_file(tmp_path: Path) -> None:
    path = comparison().path(tmp_path)
    keep(path, comparison(), judged(prefers_good))
    with pytest.raises(InputError, match="judged with another prompt"):
        left_over(path, replace(comparison(), prompt="2"), PAIRS)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"task": "what"}\n{"task": "what"}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1 of .* is no judgement"):
        read_judgements(path)


def test_a_judge_that_fails_keeps_what_was_judged(tmp_path: Path) -> None:
    def reply(request: Request) -> str:
        if "answer 9" in request.messages[-1].content:
            raise ModelError("the endpoint is gone")
        return prefers_good(request)

    path = comparison().path(tmp_path)
    with pytest.raises(ModelError):
        keep(path, comparison(), judge(ScriptedModel(reply), PAIRS, 0, lambda done, total: None))
    assert len(read_judgements(path)[1]) == 8


def test_kappa_is_fleiss_own() -> None:
    counts = np.array([[int(n) for n in row.split()] for row in FLEISS.strip().replace("\n", "|").split("|")])
    assert counts.shape == (30, 5)
    assert counts.sum(axis=0).tolist() == [26, 26, 30, 55, 43]
    assert fleiss_kappa(counts) == pytest.approx(0.430, abs=5e-4)


def test_kappa_is_one_for_agreement_and_below_zero_for_its_contrary() -> None:
    assert fleiss_kappa(np.array([[2, 0], [0, 2]])) == 1.0
    assert fleiss_kappa(np.array([[1, 1], [1, 1]])) == -1.0
    assert fleiss_kappa(np.array([[3, 0], [3, 0]])) is None


def test_kappa_needs_as_many_ratings_of_every_item() -> None:
    for counts, match in (
        ([[2, 0], [1, 0]], "1 to 2 judges"),
        ([[1, 0], [0, 1]], "1 to 1"),
        (np.empty((0, 2)), "no item"),
    ):
        with pytest.raises(InputError, match=match):
            fleiss_kappa(np.array(counts))


def test_judges_agree_on_the_items_that_all_of_them_judged() -> None:
    one = {str(i): "first" if i % 2 else "tie" for i in range(20)}
    found = agreement({"a": one, "b": {**one, "0": "second"}, "c": {**one, "x": "tie"}})
    assert found.items == 20
    assert found.observed == pytest.approx((19 + 1 / 3) / 20)
    assert found.kappa
    assert found.low
    assert found.high
    assert found.low < found.kappa < found.high <= 1.0
    with pytest.raises(InputError, match="1 judge"):
        agreement({"a": one})
    with pytest.raises(InputError, match="no item was judged by all of a, b"):
        agreement({"a": one, "b": {"x": "tie"}})


def rows_of(sheet: Sheet) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet.text)))


def filled(sheet: Sheet, verdicts: Callable[[dict[str, str]], str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows({**row, "verdict": verdicts(row)} for row in rows_of(sheet))
    return out.getvalue()


def good_side(row: dict[str, str]) -> str:
    return "A" if row["response_a"].startswith("good") else " b "


def test_a_sheet_is_blind_shuffled_and_balanced() -> None:
    sheet = write_sheet(PAIRS, ABOUT, 0)
    rows = rows_of(sheet)
    assert "prompting" not in sheet.text
    assert "vanilla" not in sheet.text
    assert sum(row["response_a"].startswith("good") for row in rows) == 5
    assert [row["request"] for row in rows] != [pair.question for pair in PAIRS]
    assert write_sheet(PAIRS, ABOUT, 0) == sheet
    assert write_sheet(PAIRS, ABOUT, 1).text != sheet.text


def test_what_an_annotator_meant_comes_back_unshuffled() -> None:
    sheet = write_sheet(PAIRS, ABOUT, 3)
    key = read_key(json.dumps(sheet.key))
    found = read_sheet("\ufeff" + filled(sheet, good_side), key)
    assert {one.item for one in found} == {pair.item for pair in PAIRS}
    assert {one.verdict for one in found} == {Verdict.FIRST}
    assert {one.backward for one in found} == {None}
    assert tally(found).first_shown is None
    losses = read_sheet(filled(sheet, lambda row: "B" if good_side(row) == "A" else "A"), key)
    assert {one.verdict for one in losses} == {Verdict.SECOND}


def test_no_cell_is_a_formula() -> None:
    sheet = write_sheet([Pair("1", "=HYPERLINK(1)", "+1", "- a list\n- of two")], ABOUT, 0)
    [row] = rows_of(sheet)
    assert all(row[name].startswith("'") for name in ("request", "response_a", "response_b"))


def test_a_sheet_that_is_not_whole_is_refused() -> None:
    sheet = write_sheet(PAIRS, ABOUT, 0)
    key = read_key(json.dumps(sheet.key))
    text = filled(sheet, good_side)
    lines = text.splitlines(keepends=True)
    other = read_key(json.dumps(write_sheet(PAIRS, ABOUT, 1).key))
    for broken, match in (
        (sheet.text, "pair 1 has the verdict ''; .* and 5 more"),
        ("".join(lines[:-1]), "pair 10 is missing"),
        (text + lines[-1], "pair 10 comes 2 times"),
        (text + lines[-1].replace(",10,", ",11,"), "pair 11 is none of the key's"),
        (filled(sheet, lambda _: "C"), "has the verdict 'c'"),
        ("what\n1\n", "lacks sheet, pair, verdict"),
        ("", "lacks sheet"),
    ):
        with pytest.raises(InputError, match=match):
            read_sheet(broken, key)
    with pytest.raises(InputError, match="the key is of sheet"):
        read_sheet(text, other)
    for broken in ("{}", "no", '{"pairs": 1}'):
        with pytest.raises(InputError, match="the key cannot be read"):
            read_key(broken)


def test_a_sheet_needs_pairs_each_once() -> None:
    with pytest.raises(InputError, match="no item that both"):
        write_sheet([], ABOUT, 0)
    with pytest.raises(InputError, match="an item comes twice"):
        write_sheet([PAIRS[0], PAIRS[0]], ABOUT, 0)


def test_nothing_that_was_handed_out_or_kept_is_overwritten(tmp_path: Path) -> None:
    sheet = write_sheet(PAIRS, ABOUT, 0)
    files = {tmp_path / "sheet.csv": sheet.text, tmp_path / "key.json": json.dumps(sheet.key)}
    write_new(files)
    with pytest.raises(InputError, match="exists"):
        write_new(files)
    found = read_sheet(filled(sheet, good_side), read_key(json.dumps(sheet.key)))
    kept = keep_new(tmp_path, read_key(json.dumps(sheet.key)), "Ann B./..", found)
    assert kept.parent == tmp_path / "judge"
    assert read_judgements(kept)[0].judge == "human:Ann B./.."
    with pytest.raises(InputError, match="holds verdicts of Ann"):
        keep_new(tmp_path, read_key(json.dumps(sheet.key)), "Ann B./..", found)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [{"id": i, "situation": f"Case {i}", "vrd": ["Care"], "explanation": ["Care matters."]} for i in range(6)]
    path = tmp_path / "vital_overton_valuekaleidoscope.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    task, folder = load_task(path), tmp_path / "run"
    for method, words in (("vanilla", "bad answer"), ("prompting", "good answer")):

        def reply(request: Request, words: str = words) -> str:
            if words == "bad answer" and "Case 5" in request.messages[-1].content:
                raise ModelError("too long")
            return words

        run_evaluation(
            Plan((task,), (method,), (MODEL,), folder), lambda _: None, lambda _, reply=reply: ScriptedModel(reply)
        )
    return folder


def test_pairs_are_of_items_that_both_methods_answered(run: Path) -> None:
    one, other = (answers_of(run, ABOUT["task"], method) for method in ("prompting", "vanilla"))
    pairs = pairs_of(one.task, one.answered, other.answered, None, 0)
    assert [(pair.item, pair.question) for pair in pairs] == [(str(i), f"Case {i}") for i in range(5)]
    drawn = pairs_of(one.task, one.answered, other.answered, 2, 0)
    assert len(drawn) == 2
    assert drawn == pairs_of(one.task, one.answered, other.answered, 2, 0)
    with pytest.raises(InputError, match="there is none"):
        answers_of(run, ABOUT["task"], "moe")


def test_models_judge_by_command(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replies = {"fair": prefers_good, "first": lambda _: "A", "mute": lambda _: "?"}
    monkeypatch.setattr(opening, "open_model", lambda name, *_: ScriptedModel(replies[name]))
    asked = [str(run), "--method", "prompting", "--against", "vanilla", "--json"]
    done = CliRunner().invoke(judge_command, [*asked, "--judge", "fair", "--judge", "first"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["fair"]["wins"], told["first"]["ties"]) == (5, 5)
    assert len(all_judgements(run)) == 2
    assert CliRunner().invoke(judge_command, [*asked, "--judge", "mute"]).exit_code == 3


def test_sheets_go_out_and_come_in_by_command(run: Path, tmp_path: Path) -> None:
    sheet, key = tmp_path / "sheet.csv", tmp_path / "key.json"
    files = ["--sheet", str(sheet), "--key", str(key)]
    methods = ["--method", "prompting", "--against", "vanilla"]
    done = CliRunner().invoke(annotate_command, ["out", str(run), *methods, *files])
    assert done.exit_code == 0, done.output
    made = Sheet(sheet.read_bytes().decode("utf-8-sig"), {})
    sheet.write_text(filled(made, good_side), encoding="utf-8")
    done = CliRunner().invoke(annotate_command, ["in", str(run), *files, "--annotator", "Ann"])
    assert done.exit_code == 0, done.output
    [(who, found)] = all_judgements(run)
    assert who.judge == "human:Ann"
    assert tally(found).wins == 5
