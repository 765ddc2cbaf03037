"""LoRA adapters on local models: what they change, and what is told when they cannot be put on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ethos.errors import ConfigurationError
from ethos.llm import Request, user
from ethos.llm.opening import Endpoint, open_model, requested_identity


def tiny(folder: Path) -> Path:
    """A model of a hundred words with random weights."""
    words = {word: number for number, word in enumerate(["[UNK]", "[END]", *(f"w{n}" for n in range(98))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[END]")
    fast.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=100, eos_token_id=1, pad_token_id=1, **size)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("adapted") / "base")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # peft's own, while the test makes one
def test_an_adapter_changes_what_the_model_writes_and_who_it_is(base: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        LlamaForCausalLM.from_pretrained(base), peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj", "o_proj"])
    )
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=2.0)
    adapted.save_pretrained(tmp_path / "adapter")
    name = f"transformers:{base}+{tmp_path / 'adapter'}"
    model = open_model(name, Endpoint(), "float32")
    plain = open_model(f"transformers:{base}", Endpoint(), "float32")
    [reading] = model.option_probabilities([user("w1 w2 w3")], ("w4", "w5"))
    with torch.inference_mode():
        logits = adapted.eval()(torch.tensor([[3, 4, 5]])).logits[0, -1].softmax(-1)[[6, 7]]
    assert reading.probabilities == pytest.approx((logits / logits.sum()).tolist(), abs=1e-4)
    [unlike] = plain.option_probabilities([user("w1 w2 w3")], ("w4", "w5"))
    assert unlike.probabilities != pytest.approx(reading.probabilities, abs=1e-3)
    assert model.generate([Request(user("w1"), 4, 0.0, 0)])[0].completion_tokens <= 4
    assert model.identity.name == name
    assert model.identity.revision == requested_identity(name, Endpoint()).revision
    assert model.identity.revision.startswith(f"{plain.identity.revision}+")


def test_a_folder_without_an_adapter_is_told(base: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no adapter_config\.json"):
        open_model(f"transformers:{base}+{base}", Endpoint())


def test_a_plus_in_a_folders_name_is_no_adapter(tmp_path: Path) -> None:
    folder = tiny(tmp_path / "a+b")
    assert open_model(f"transformers:{folder}", Endpoint()).identity.name == f"transformers:{folder}"
