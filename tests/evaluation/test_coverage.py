"""Value coverage: by a real entailment classifier made small, against calling that model by hand, pair by pair."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ethos.cli.evaluate.score import score_command
from ethos.encoders.embedder import open_embedder
from ethos.encoders.entailment import EntailmentModel
from ethos.errors import ConfigurationError
from ethos.evaluation.metrics.coverage import embedding_coverage, value_coverage
from ethos.evaluation.metrics.scoring import Judges, Score, score
from ethos.evaluation.tasks.loading import task_of
from ethos.evaluation.tasks.prediction import Prediction
from ethos.evaluation.tasks.task import GoldValue, Task

GOLD = (
    GoldValue("Right to life", "Everyone may live, and nobody may take that away."),
    GoldValue("Autonomy", "Each person decides about the own body."),
    GoldValue("Thrift", "Money for one ward is missing in another."),
)
ANSWER = "Some say that life comes first. Others ask who decides about a body! Dr. Lee doubts both."
SENTENCES = ["Some say that life comes first.", "Others ask who decides about a body!", "Dr. Lee doubts both."]


def classifier(folder: Path, labels: list[str]) -> str:
    """A tiny RoBERTa with random weights that judges pairs of texts, letter by letter."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

    letters = ["<s>", "<pad>", "</s>", "<unk>", *"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz .,!?'"]
    tokenizer = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(letters)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=130, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
        initializer_range=0.8, id2label=dict(enumerate(labels)), label2id={label: n for n, label in enumerate(labels)},
    )  # fmt: skip
    RobertaForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=128, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> str:
    return classifier(tmp_path_factory.mktemp("nli"), ["contradiction", "entailment", "neutral"])


def by_hand(name: str, premise: str, hypothesis: str, label: int = 1) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForSequenceClassification.from_pretrained(name)
    with torch.no_grad():
        logits = model(**tokenizer(premise, hypothesis, return_tensors="pt", truncation=True)).logits
    return float(logits.softmax(-1)[0, label])


def overton(*texts: str) -> Task:
    rows = [
        {
            "situation": f"{text} in a hospital",
            "vrd": [value.name for value in GOLD],
            "explanation": [value.explanation for value in GOLD],
            "id": number,
        }
        for number, text in enumerate(texts)
    ]
    return task_of(list(enumerate(rows)), Path("overton_valuekaleidoscope.json"))


def test_coverage_is_the_best_sentence_for_each_value_with_the_explanation_as_premise(nli: str) -> None:
    found = value_coverage(EntailmentModel(nli), {"a": (ANSWER, GOLD), "b": (SENTENCES[1], GOLD[:1])})
    expected = [max(by_hand(nli, value.explanation, sentence) for sentence in SENTENCES) for value in GOLD]
    assert found.values["a"] == pytest.approx(expected, abs=1e-5)
    assert found.values["b"] == pytest.approx([by_hand(nli, GOLD[0].explanation, SENTENCES[1])], abs=1e-5)
    assert found.items["a"] == pytest.approx(np.mean(expected), abs=1e-5)
    # The model tells directions and pairs apart, or the test would show nothing.
    assert abs(by_hand(nli, GOLD[0].explanation, SENTENCES[0]) - by_hand(nli, SENTENCES[0], GOLD[0].explanation)) > 0.01
    assert np.ptp(expected) > 0.01


def test_coverage_by_value_is_over_the_situations_that_have_it(nli: str) -> None:
    found = value_coverage(EntailmentModel(nli), {"a": (ANSWER, GOLD), "b": (SENTENCES[1], GOLD[:1])})
    assert list(found.by_value) == ["Right to life", "Autonomy", "Thrift"]
    life = found.by_value["Right to life"]
    assert (life.n, life.mean) == (2, pytest.approx((found.values["a"][0] + found.values["b"][0]) / 2))
    assert found.by_value["Thrift"].mean == found.values["a"][2]


def test_items_are_judged_the_same_in_any_company(nli: str) -> None:
    model = EntailmentModel(nli)
    answers = {str(n): (" ".join(SENTENCES[: 1 + n % 3]) + f" Case {'I' * (n % 7)}.", GOLD) for n in range(70)}
    told: list[tuple[int, int]] = []
    together = value_coverage(model, answers, lambda done, total: told.append((done, total)))
    assert told == [(32, 70), (64, 70), (70, 70)]
    assert list(together.values) == list(answers)
    for item in ("0", "31", "32", "69"):
        alone = value_coverage(model, {item: answers[item]})
        assert together.values[item] == pytest.approx(alone.values[item], abs=1e-5)


def test_a_text_that_is_too_long_for_the_model_is_cut(nli: str) -> None:
    long = "word " * 200
    model = EntailmentModel(nli)
    found = model.probabilities([(long, SENTENCES[0]), (SENTENCES[0], long), (long, long)])
    assert found[:2] == pytest.approx([by_hand(nli, long, SENTENCES[0]), by_hand(nli, SENTENCES[0], long)], abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "entails"),
    [(["ENTAILMENT", "NEUTRAL", "CONTRADICTION"], 0), (["REFUTES", "NOT ENOUGH INFO", "SUPPORTS"], 2)],
)
def test_the_label_of_entailment_is_found_by_its_name(tmp_path: Path, labels: list[str], entails: int) -> None:
    name = classifier(tmp_path, labels)
    [found] = EntailmentModel(name).probabilities([(GOLD[0].explanation, SENTENCES[0])])
    assert found == pytest.approx(by_hand(name, GOLD[0].explanation, SENTENCES[0], entails), abs=1e-6)


def test_a_classifier_whose_labels_have_no_names_is_refused(tmp_path: Path) -> None:
    name = classifier(tmp_path, ["LABEL_0", "LABEL_1", "LABEL_2"])
    with pytest.raises(ConfigurationError, match="has no label for entailment, but label_0, label_1, label_2"):
        value_coverage(EntailmentModel(name), {"a": (ANSWER, GOLD)})


def test_a_score_names_model_and_direction(nli: str) -> None:
    task = overton("Lying", "Waiting")
    answers = {"0": Prediction(ANSWER), "1": Prediction(SENTENCES[2])}
    found = score(task, answers, judges=Judges(EntailmentModel(nli)))
    coverage = found.values["value_coverage"]
    assert (coverage.n, coverage.mean) == (2, pytest.approx(np.mean(list(found.per_item["value_coverage"].values()))))
    above = [float(value > 0.33) for value in found.per_item["value_coverage"].values()]
    assert found.values["share_above_0.33"].mean == pytest.approx(np.mean(above))
    assert found.values["words"].mean == pytest.approx((17 + 4) / 2)
    assert nli in found.meanings["value_coverage"]
    assert "premise: the gold value's explanation; hypothesis: a sentence of the answer" in str(found.as_dict())
    assert list(found.as_dict()["per_value"]) == ["Autonomy", "Right to life", "Thrift"]


def test_without_a_model_coverage_is_not_computed_and_says_so() -> None:
    found: Score = score(overton("Lying"), {"0": Prediction(ANSWER)})
    said = {"n": 0, "mean": None, "low": None, "high": None, "reason": "not computed: no NLI model (--nli NAME)"}
    assert found.as_dict()["value_coverage"] == found.as_dict()["share_above_0.33"] == said
    assert "embedding_coverage" not in found.values
    assert found.values["words"].mean == 17


def test_the_stand_in_has_its_own_name() -> None:
    embedder = open_embedder()
    task = overton("Lying", "Waiting")
    said = {"0": Prediction(" ".join(value.explanation for value in GOLD)), "1": Prediction("Bread is dear in winter.")}
    found = score(task, said, judges=Judges(embedder=embedder))
    assert found.values["value_coverage"].mean is None
    near = found.per_item["embedding_coverage"]
    assert near["0"] == pytest.approx(1, abs=1e-5)
    assert near["1"] < 0.3
    assert "no entailment" in found.meanings["embedding_coverage"]
    best = embedder.encode([GOLD[1].explanation]) @ embedder.encode(SENTENCES).T
    by_value = embedding_coverage(embedder, {"a": (ANSWER, GOLD)}).values["a"]
    assert by_value[1] == pytest.approx(float(best.max()), abs=1e-5)


def test_an_answer_without_a_sentence_is_missing_and_not_zero(nli: str) -> None:
    found = score(
        overton("Lying", "Waiting"),
        {"0": Prediction(" \n"), "1": Prediction(ANSWER)},
        judges=Judges(EntailmentModel(nli)),
    )
    assert (found.missing, found.scored, found.values["value_coverage"].n) == (("0",), 1, 1)


def test_the_command_scores_a_file_with_a_model(nli: str, tmp_path: Path) -> None:
    path = tmp_path / "overton_valuekaleidoscope.json"
    path.write_text(json.dumps([{**item.row, "output": ANSWER} for item in overton("Lying", "Waiting").items]))
    result = CliRunner().invoke(score_command, [str(path), "--nli", nli, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    expected = [max(by_hand(nli, value.explanation, sentence) for sentence in SENTENCES) for value in GOLD]
    assert found["value_coverage"]["mean"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert found["trivial"]["common_values"]["value_coverage"]["n"] == 2
    shown = CliRunner().invoke(score_command, [str(path), "--nli", nli])
    assert "The most frequent gold values" in shown.stdout
    assert "common values" in shown.stdout
