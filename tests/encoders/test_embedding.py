from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ethos.encoders.embedder import Embedder, SentenceEmbedder, open_embedder
from ethos.errors import ConfigurationError
from ethos.llm.weights import MINILM, embedder_weights
from ethos.pool.starter import starter_panels

ODD_TEXTS = [
    "",
    " ",
    "\n\t",
    "a",
    ".",
    "?!?!",
    "0",
    "x" * 300,  # one word of more characters than the tokenizer splits
    "Should a hospital tell a dying patient the truth?",
    "SHOULD A HOSPITAL TELL A DYING PATIENT THE TRUTH?",
    "Naïve café, Ångström, Übermut, façade, señor",
    "cafe\u0301 with a combining accent",
    "Soll ein Arzt lügen dürfen?",
    "Должен ли врач говорить правду?",
    "هل يجب على الطبيب قول الحقيقة؟",
    "क्या डॉक्टर को सच बताना चाहिए?",
    "医生应该告诉病人真相吗\uff1f",
    "患者に真実を伝えるべきですか。",
    "의사는 진실을 말해야 합니까?",
    "🙂🏥💉",
    "A vaccine 💉 for 👨‍👩‍👧‍👦?",
    "\U0001d54b\U0001d563\U0001d566\U0001d565\U0001d559 and \ufb01gures",
    "zero\u200bwidth and no\u00a0break",
    "a null \x00 and a replacement \ufffd",
    "[CLS] [SEP] [MASK] [PAD] [UNK]",
    "[pad] as a word, ##ing as a piece",
    "<b>bold</b> & <script>alert(1)</script>",
    "https://example.org/path?query=1#part",
    "1,234.56 mg/kg ± 5% (p < .001)",
    "word " * 253,  # one token below the limit of 256, with the two at the ends
    "word " * 254,
    "word " * 255,
    "truth " * 2000,
    " ".join(f"word{n}" for n in range(2000)),
    "真" * 2000,
    "🙂" * 600,
]

ENCODE_ALONE = """
import json, sys
from ethos.encoders.embedder import open_embedder
vectors = open_embedder().encode(["Should a hospital tell a dying patient the truth?"])
print(json.dumps({"shape": vectors.shape, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def ours() -> Embedder:
    return open_embedder()


@pytest.fixture(scope="module")
def theirs() -> SentenceEmbedder:
    return SentenceEmbedder()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """A hundred, of one token to far too many."""
    panels = starter_panels()[:32]
    plain = [text for panel in panels for text in (panel.scenario.situation, panel.personas[0].core_value)]
    return [*ODD_TEXTS, *plain]


def test_the_default_gives_the_vectors_of_sentence_transformers(
    ours: Embedder, theirs: SentenceEmbedder, texts: list[str]
) -> None:
    assert len(texts) == 100
    cosines = np.sum(ours.encode(texts) * theirs.encode(texts), axis=1)
    assert [text for text, cosine in zip(texts, cosines, strict=True) if not cosine >= 0.9999] == []


def test_the_default_keeps_the_identity_that_stored_vectors_carry(ours: Embedder, theirs: SentenceEmbedder) -> None:
    assert not isinstance(ours, SentenceEmbedder)
    assert ours.identity == theirs.identity


def test_rows_are_unit_float32_in_the_order_of_the_texts_and_the_same_in_a_batch_as_alone(
    ours: Embedder, texts: list[str]
) -> None:
    alone = np.concatenate([ours.encode([text]) for text in texts])
    together = ours.encode(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(ours.encode(texts[::-1]), alone[::-1], atol=1e-5)


def test_no_texts_give_no_rows(ours: Embedder) -> None:
    assert ours.encode([]).shape == (0, 384)


def test_what_lies_beyond_256_tokens_does_not_count(ours: Embedder) -> None:
    long = "word " * 254  # and one token at each end
    whole, longer, shorter = ours.encode([long, f"{long} vaccine", long.removeprefix("word ")])
    assert np.array_equal(whole, longer)
    assert not np.array_equal(whole, shorter)


def test_the_default_loads_no_torch_and_leaves_nothing_on_disk(tmp_path: Path) -> None:
    # Nothing that would keep ONNX Runtime's telemetry quiet but our own switch: it writes an identifier and a queue.
    quiet = {"HOME", "CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}
    kept = {name: value for name, value in os.environ.items() if name not in quiet and not name.startswith("XDG_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENCODE_ALONE],
        env={**kept, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["shape"] == [1, 384]
    assert {"torch", "transformers", "sentence_transformers"} & set(found["modules"]) == set()
    assert done.stderr == ""
    assert list(tmp_path.rglob("*")) == []


def test_any_other_embedder_is_opened_by_sentence_transformers() -> None:
    folder = embedder_weights(MINILM).location
    embedder = open_embedder(folder)
    assert isinstance(embedder, SentenceEmbedder)
    assert embedder.identity.name == folder


def test_a_folder_of_the_default_name_is_the_users_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / MINILM).mkdir(parents=True)
    (tmp_path / MINILM / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_embedder(MINILM), SentenceEmbedder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no config\.json"):
        open_embedder(str(tmp_path))
