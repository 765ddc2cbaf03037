"""Textual influence: which sentence comes from whom, by the real encoder and by a real classifier made small."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethos.audit.influence.textual import BY_EMBEDDING, Trace, trace_by_embedding, trace_by_entailment
from ethos.encoders.embedder import Embedder, open_embedder
from ethos.encoders.entailment import EntailmentModel
from ethos.errors import ConfigurationError
from ethos.influence import nearest_shares, unheard, view_warnings

COMMENTS = [
    "Vaccines protect the whole community. Hospitals have too few beds.",
    "Everyone may decide about their own body. The state should not force a needle on anyone.",
    "A parent's love knows no law.",
]
OUTPUT = "Vaccination protects the whole community. Each person may decide about her own body. Bread is dear in winter."


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return open_embedder()


def trace(support: list[list[float]], threshold: float = 0.5) -> Trace:
    return Trace(tuple(f"Sentence {i}." for i in range(len(support))), np.array(support), threshold, BY_EMBEDDING)


def test_each_sentence_is_traced_to_the_comment_it_repeats(embedder: Embedder) -> None:
    found = trace_by_embedding(embedder, OUTPUT, COMMENTS)
    assert found.sentences == tuple(s + "." for s in OUTPUT.rstrip(".").split(". "))
    assert found.coverage.tolist() == [[True, False, False], [False, True, False], [False, False, False]]
    assert found.unsupported == (2,)
    assert found.dropped == (2,)
    assert found.shares == pytest.approx((1 / 3, 1 / 3, 0.0))


def test_a_sentence_may_come_from_several_who_share_it() -> None:
    found = trace([[0.9, 0.8, 0.1], [0.9, 0.1, 0.1]])
    assert found.shares == pytest.approx((0.75, 0.25, 0.0))
    assert found.as_dict(["a", "b", "c"]) == {
        "threshold": 0.5,
        "personas": ["a", "b", "c"],
        "sentences": [
            {"text": "Sentence 0.", "support": [0.9, 0.8, 0.1], "supported_by": ["a", "b"]},
            {"text": "Sentence 1.", "support": [0.9, 0.1, 0.1], "supported_by": ["a"]},
        ],
        "unsupported": [],
        "dropped": ["c"],
    }


@settings(deadline=None)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(st.floats(-1, 1), min_size=width, max_size=width), min_size=1, max_size=6)
    )
)
def test_shares_and_unsupported_sentences_are_the_whole_answer(support: list[list[float]]) -> None:
    found = trace(support)
    assert sum(found.shares) + len(found.unsupported) / len(support) == pytest.approx(1)
    assert [found.shares[i] for i in found.dropped] == [0.0] * len(found.dropped)


def test_a_higher_threshold_supports_less(embedder: Embedder) -> None:
    found = [trace_by_embedding(embedder, OUTPUT, COMMENTS, threshold) for threshold in (-1.0, 0.6, 1.1)]
    assert [int(one.coverage.sum()) for one in found] == [9, 2, 0]


def classifier(folder: Path, labels: list[str], biases: list[float]) -> str:
    """A tiny BERT that says the same of every pair: its biases."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bread", "is", "dear", "."]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    config = BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=32, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor(biases))
    model.save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    return str(folder)


def test_a_classifier_is_asked_for_the_probability_of_entailment(tmp_path: Path) -> None:
    name = classifier(tmp_path / "nli", ["CONTRADICTION", "ENTAILMENT", "NEUTRAL"], [0.0, 2.0, 0.0])
    model = EntailmentModel(name)
    found = trace_by_entailment(model, OUTPUT, [COMMENTS[0], "Bread is dear. " * 40])
    assert found.support == pytest.approx(np.full((3, 2), math.e**2 / (math.e**2 + 2)))
    assert found.coverage.all()
    assert name in found.meaning
    assert len(model.probabilities([("Bread.", "Bread.")] * 33)) == 33


def test_a_classifier_without_a_label_for_entailment_is_refused(tmp_path: Path) -> None:
    name = classifier(tmp_path / "mood", ["happy", "sad"], [0.0, 0.0])
    with pytest.raises(ConfigurationError, match="has no label for entailment, but happy, sad"):
        EntailmentModel(name).probabilities([("Bread is dear.", "Bread.")])


def test_a_folder_that_holds_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        EntailmentModel(str(tmp_path)).probabilities([("Bread is dear.", "Bread.")])


def test_a_view_is_unheard_where_no_sentence_is_nearest_to_it_or_near() -> None:
    # The second is nearest to nothing, but near to the first sentence; the third is neither.
    near = np.array([[0.9, 0.7, 0.2], [0.8, 0.1, 0.5]], dtype=np.float32)
    assert nearest_shares(near) == (1.0, 0.0, 0.0)
    assert unheard(near) == (2,)


def test_a_lone_weak_view_that_is_the_nearest_is_heard() -> None:
    assert unheard(np.array([[0.3, 0.1]], dtype=np.float32)) == (1,)


def test_a_reader_is_told_of_views_that_are_absent_and_of_one_that_prevails() -> None:
    names = ["Nurse", "Priest", "Judge"]
    assert view_warnings(names, [0.4, 0.3, 0.3], (), 0.5) == []
    assert view_warnings(names, [0.9, 0.1, 0.0], (2,), 0.5) == [
        "no sentence of the answer matches, by embedding, the comments of: Judge",
        "90% of the answer's sentences are nearest to what Nurse alone said",
    ]
    assert view_warnings(["Nurse"], [1.0], (), 0.5) == []
