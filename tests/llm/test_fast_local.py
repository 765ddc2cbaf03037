"""What makes the transformers backend fast changes nothing of what it says: sharing, packing, dropping, streaming."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.cache_utils import Cache

from ethos.llm import Completion, Request, StreamingModel, schema_text, user
from ethos.llm.backends.scripted import ScriptedModel
from ethos.llm.backends.transformers_local import LocalModel
from ethos.llm.engine import reader
from ethos.llm.engine.batches import ahead, batches, families, levelled, shared_prefix
from ethos.llm.engine.cache import ROOM, RoomyLayer
from ethos.llm.engine.fused import fuse
from ethos.llm.engine.lookup import Lookup
from ethos.llm.engine.packed import PackedLinear, pack
from ethos.llm.engine.reader import Reader
from ethos.llm.engine.reading import Reading
from ethos.llm.engine.shared_prefix import StemCache
from ethos.llm.streaming import Streamer
from ethos.llm.weights import SMOLLM2, language_model_weights
from ethos.text.option_letters import letters

SITUATIONS = ("Refusing a vaccine", "Selling a kidney to pay for one's daughter's schooling", "Telling a dying patient")
PERSONAS = ("Nurse: Care, Care ethics, Duty to help, Sad, Nurse", "Resident: Liberty", "Priest: Sanctity of life")


def comments(temperature: float = 0.0, max_tokens: int = 6) -> list[Request]:
    """Three scenarios with three personas each, shuffled, with limits that differ."""
    pairs = itertools.product(SITUATIONS, PERSONAS)
    texts = [
        f"Given the situation: {situation}, and perspective: {persona}\n\nComment." for situation, persona in pairs
    ]
    requests = [Request(user(text), max_tokens + 2 * seed, temperature, seed) for seed, text in enumerate(texts)]
    return random.Random(0).sample(requests, len(requests))


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def test_batches_with_shared_prefixes_and_packed_layers_write_the_tokens_of_plain_generate(model: LocalModel) -> None:
    folder = language_model_weights(SMOLLM2).location
    plain, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
        AutoTokenizer.from_pretrained(folder),
    )
    assert not any(isinstance(layer, PackedLinear) for layer in plain.modules())
    requests = comments()
    expected = []
    for request in requests:
        chat = [{"role": message.role, "content": message.content} for message in request.messages]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        ids = plain.generate(**prompt, do_sample=False, max_new_tokens=request.max_tokens)
        expected.append(tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    assert texts(model.generate(requests)) == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_many_scenarios_say_the_same_in_batches_of_any_size(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    requests = comments(temperature)
    together = model.generate(requests)
    assert len(set(texts(together))) == 9
    for most in (1, 2):
        monkeypatch.setattr(reader, "MOST_ROWS", most)
        apart = model.generate(requests[:4])
        assert texts(apart) == texts(together[:4])
        assert [c.prompt_tokens for c in apart] == [c.prompt_tokens for c in together[:4]]


def test_what_is_read_in_pieces_is_read_the_same(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = comments()[:4]
    whole, chances = model.generate(requests), model.option_probabilities([r.messages for r in requests], letters(3))
    pairs = [(request.messages, written.text) for request, written in zip(requests, whole, strict=True)]
    likely = model.log_likelihoods(pairs)
    for at_once in (1, 50):
        monkeypatch.setattr(reader, "READ_AT_ONCE", at_once)
        assert texts(model.generate(requests)) == texts(whole)
        for found, expected in zip(
            model.option_probabilities([r.messages for r in requests], letters(3)), chances, strict=True
        ):
            assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
        for text, other in zip(model.log_likelihoods(pairs), likely, strict=True):
            assert text.log_probability == pytest.approx(other.log_probability, abs=1e-2)


def test_a_batch_is_no_larger_than_its_cache_may_be(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[1, 2, 3, number] for number in range(8)]
    token = 2 * 30 * 3 * 64 * 4  # keys and values, layers, heads, dimensions, bytes: SmolLM2 in float32
    monkeypatch.setattr(reader, "CACHE_BYTES", 3 * (4 + 6) * token)
    assert [sum(len(family.members) for family in batch) for batch in model._reader.batches(rows, 6)] == [3, 3, 2]
    monkeypatch.setattr(reader, "CACHE_BYTES", 1)
    assert len(model._reader.batches(rows, 6)) == 8


def test_a_row_that_ends_early_leaves_the_others_as_they_were(model: LocalModel) -> None:
    short = Request(user("What is the capital of France?"), 60, 0.0, 0)
    long = Request(user("Count from one to fifty."), 60, 0.0, 0)
    limited = replace(long, max_tokens=3)
    requests = [short, long, limited, short]
    together = model.generate(requests)
    alone = [model.generate([request])[0] for request in requests]
    assert [replace(c, seconds=0.0) for c in together] == [replace(c, seconds=0.0) for c in alone]
    assert len({c.completion_tokens for c in together}) == 3
    assert [together[0].finish_reason, together[2].finish_reason] == ["stop", "length"]


def test_options_after_prompts_of_several_scenarios_are_those_of_each_prompt_alone(model: LocalModel) -> None:
    prompts = [request.messages for request in comments()]
    together = model.option_probabilities(prompts, letters(3))
    for prompt, reading in zip(prompts, together, strict=True):
        [alone] = model.option_probabilities([prompt], letters(3))
        assert reading.probabilities == pytest.approx(alone.probabilities, abs=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_guessed_changes_no_text(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    shape = {"animal": {"type": "string", "pattern": "^[a-z]{3,12}$"}, "legs": {"enum": [2, 4]}}
    schema = schema_text({"type": "object", "properties": shape, "required": list(shape)})
    json_request = Request(user('Reply like {"animal": "hen", "legs": 2}, with a dog.'), 40, temperature, 3, schema)
    echo = Request(user("Say three times: the nurse and the doctor and the nurse."), 60, temperature, 3)
    steps: list[int] = []
    read = Reader.logits
    monkeypatch.setattr(Reader, "logits", lambda *args: steps.append(args[2]) or read(*args))
    guessing = [model.generate([request])[0] for request in (json_request, echo)]
    assert sum(steps) > len(steps)
    monkeypatch.setattr(Lookup, "guess", lambda _: [])
    guessed, counted = len(steps), list(steps)
    plain = [model.generate([request])[0] for request in (json_request, echo)]
    assert [replace(c, seconds=0.0) for c in guessing] == [replace(c, seconds=0.0) for c in plain]
    assert len(steps) - guessed > guessed, f"fewer steps with guesses: {counted}"


def test_a_guess_is_what_came_after_the_same_words_last() -> None:
    lookup = Lookup()
    assert lookup.guess() == []
    lookup.add([1, 2, 3, 4, 9, 3, 5, 1, 2])
    assert lookup.guess() == [3, 4, 9, 3, 5, 1, 2]
    lookup.add([3])
    assert lookup.guess()[:2] == [4, 9], "after 1 2 3, although after a 3 alone came 5 the last time"
    lookup.add([8])
    assert lookup.guess() == []
    lookup.add([3])
    assert lookup.guess()[:2] == [8, 3]


def test_a_models_own_habits_are_not_applied(tmp_path: Path, model: LocalModel) -> None:
    for file in Path(language_model_weights(SMOLLM2).location).iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "generation_config.json").unlink()
    GenerationConfig(eos_token_id=2, repetition_penalty=5.0, do_sample=True, top_k=1).save_pretrained(tmp_path)
    habitual = LocalModel(str(tmp_path), "float32")
    requests = comments()[:3]
    assert texts(habitual.generate(requests)) == texts(model.generate(requests))
    assert texts(habitual.generate(requests[:1])) == texts(model.generate(requests[:1]))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_streamed_text_is_the_text(model: LocalModel, temperature: float) -> None:
    assert isinstance(model, StreamingModel)
    request = Request(user("Greet me in Japanese, with an emoji, then count."), 24, temperature, 5)
    pieces: list[str] = []
    streamed = model.stream(request, pieces.append)
    [plain] = model.generate([request])
    assert replace(streamed, seconds=0.0) == replace(plain, seconds=0.0)
    assert "".join(pieces) == plain.text
    assert len(pieces) > 5


def test_who_listens_can_end_the_writing(model: LocalModel) -> None:
    def refuse(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.stream(Request(user("Hello"), 500, 0.0, 0), refuse)


def test_a_scripted_model_streams_its_text_too() -> None:
    model, pieces = ScriptedModel(lambda _: "one two three four"), list[str]()
    assert isinstance(model, StreamingModel)
    done = model.stream(Request(user("Count."), 3, 0.0, 0), pieces.append)
    assert (done.text, done.finish_reason) == ("one two three", "length")
    assert pieces == ["one", " two", " three"]


def test_a_telling_waits_for_whole_characters_and_for_what_follows_space() -> None:
    told: list[str] = []
    telling = Streamer(told.append)
    for text in (" ", " a", " a \ufffd", " a \U0001f642", " a \U0001f642\n"):
        telling.grow(text)
    telling.end("a \U0001f642")
    assert told == ["a", " \U0001f642"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (6, 48), (2, 3, 48), (70, 48)])
def test_a_packed_layer_computes_what_the_layer_did(dtype: torch.dtype, bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(48, 80, bias=bias, dtype=dtype)
    holder = nn.Sequential(layer).eval()
    packed = pack(holder)
    states = torch.randn(shape, dtype=dtype)
    with torch.inference_mode():
        # Where this machine cannot pack, the layer stays, which is then what is compared.
        assert isinstance(holder[0], PackedLinear) is (packed == 1)
        torch.testing.assert_close(
            holder(states), layer(states), rtol=2e-2, atol=1e-5 if dtype == torch.float32 else 2e-2
        )


def _missing(*_: object) -> torch.Tensor:
    raise AttributeError("no such operator")


def _refusing(*_: object) -> torch.Tensor:
    raise RuntimeError("could not create a primitive")


def _wrong(weight: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight.default(torch.zeros_like(weight), rows)


@pytest.mark.parametrize("operator", [_missing, _refusing, _wrong])
def test_a_layer_stays_as_it_is_where_the_private_operator_fails(
    monkeypatch: pytest.MonkeyPatch, operator: Callable[..., Any]
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", operator)
    holder = nn.Sequential(layer := nn.Linear(48, 80))
    assert pack(holder) == 0
    assert holder[0] is layer


def test_a_layer_of_another_class_or_type_stays_as_it_is() -> None:
    class Other(nn.Linear):
        pass

    holder = nn.Sequential(Other(8, 8), nn.Linear(8, 8, dtype=torch.float64), nn.Embedding(8, 8))
    assert pack(holder) == 0


TINY = {
    "vocab_size": 64,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("heads_of_keys", [1, 2, 6])
def test_fused_layers_compute_what_the_model_did(dtype: torch.dtype, tolerance: float, heads_of_keys: int) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(**{**TINY, "num_key_value_heads": heads_of_keys, "attention_bias": True})
    plain = LlamaForCausalLM(config).to(dtype).eval()
    fused = copy.deepcopy(plain)
    assert fuse(fused) == 3
    ids = torch.randint(0, 64, (4, 9))
    mask = torch.ones_like(ids)
    mask[1, :4] = mask[3, :8] = 0
    with torch.inference_mode():
        for masked in (mask, None):
            caches = [Reading(torch.device("cpu"), 0).cache for _ in range(2)]
            for columns in (slice(0, 5), slice(5, 8), slice(8, 9)):  # several tokens, more of them, then one
                seen = None if masked is None else masked[:, : columns.stop]
                expected, found = (
                    model(input_ids=ids[:, columns], attention_mask=seen, past_key_values=cache).logits
                    for model, cache in zip((plain, fused), caches, strict=True)
                )
                real = slice(None) if masked is None else [0, 2]  # what stands on padding is nobody's
                torch.testing.assert_close(found[real], expected[real], rtol=tolerance, atol=tolerance)


def test_what_is_no_llama_or_computes_something_else_is_not_fused() -> None:
    other = Qwen2ForCausalLM(Qwen2Config(**TINY)).eval()
    bent = LlamaForCausalLM(LlamaConfig(**TINY, hidden_act="gelu")).eval()
    for model in (other, bent, nn.Linear(4, 4)):
        layers = [type(layer) for layer in model.modules()]
        assert fuse(model) == 0
        assert [type(layer) for layer in model.modules()] == layers


def test_families_are_those_who_begin_alike() -> None:
    rows = [[1, 2, 5, 5, 7], [1, 3, 4, 9], [1, 2, 5, 5, 8], [1, 3, 4, 8], [1, 9]]
    found = {family.members: family.shared for family in families(rows, 32)}
    assert found == {(0, 2): 4, (1, 3): 3, (4,): 0}


def test_prompts_that_all_begin_alike_need_no_families() -> None:
    assert {family.shared for family in families([[1, 2, number] for number in range(5)], 32)} == {0}


def test_a_family_larger_than_a_batch_is_divided_and_no_prompt_is_lost() -> None:
    rows = [[first, *range(10), last] for first, last in itertools.product(range(3), range(11))]
    planned = list(batches(rows, 4))
    assert sorted(i for batch in planned for family in batch for i in family.members) == list(range(33))
    assert max(sum(len(family.members) for family in batch) for batch in planned) == 4


def test_batches_hold_prompts_of_like_length() -> None:
    rows = [[length, *range(length)] for length in (3, 50, 4, 51)]
    assert [sorted(i for f in batch for i in f.members) for batch in batches(rows, 2)] == [[1, 3], [0, 2]]


def test_a_prompt_much_longer_than_others_pads_none_of_them() -> None:
    rows = [[0, family, *range(40), family, row] for family in (1, 2) for row in range(3)]
    rows.append([0, 1, *range(40), *range(60)])
    [batch] = batches(rows, 8)
    found = levelled(rows, batch)
    assert {family.members: family.shared for family in found} == {(0, 1, 2): 42, (6,): 100, (3, 4, 5): 43}
    assert ahead(found, 1) == [0, 57, 0]
    assert levelled(rows[:6], tuple(families(rows[:6], 8))) == families(rows[:6], 8), "nothing to even out"


def test_a_token_of_each_row_is_left_to_read_alone() -> None:
    assert shared_prefix([[1, 2], [1, 2]]) == 1
    assert shared_prefix([[1, 2]]) == 0


def test_a_reading_branches_and_pads_between_what_is_shared_and_what_is_not() -> None:
    reading = Reading(torch.device("cpu"), pad=0)
    reading.branch([0], [[1, 2]])
    reading.branch([0, 0], [[3], []])
    reading.branch([0, 1, 1], [[5], [6, 7], [8]])
    assert reading.ids.tolist() == [[1, 2, 3, 0, 5], [1, 2, 0, 6, 7], [1, 2, 0, 0, 8]]
    assert reading.mask.tolist() == [[1, 1, 1, 0, 1], [1, 1, 0, 1, 1], [1, 1, 0, 0, 1]]
    assert reading.positions.tolist() == [[0, 1, 2, 2, 3], [0, 1, 1, 2, 3], [0, 1, 1, 1, 2]]


def test_a_part_is_read_apart_and_put_back() -> None:
    def states(rows: int, tokens: int) -> torch.Tensor:
        return torch.randn(rows, 2, tokens, 4)

    reading = Reading(torch.device("cpu"), pad=0)
    reading.branch([0], [[1, 2]])
    reading.cache.update(first := states(1, 2), first, 0)
    reading.branch([0, 0, 0], [[], [3, 4, 5], []])
    assert reading.unread_rows == [1]
    part = reading.part([1])
    assert (part.ids.tolist(), part.unread) == ([[1, 2, 3, 4, 5]], 3)
    part.cache.update(added := states(1, 3), added, 0)
    assert reading.unread == 3, "the part is a copy"
    reading.join(part, [1])
    [layer] = reading.cache.layers
    assert reading.unread == 0
    torch.testing.assert_close(layer.keys[1], torch.cat((first, added), dim=2)[0])
    torch.testing.assert_close(layer.keys[0], torch.cat((first, torch.zeros_like(added)), dim=2)[0])
    reading.drop(2)
    assert (reading.ids.shape[1], layer.get_seq_length()) == (3, 3)


@pytest.mark.parametrize("owners", [[0, 0, 1, 1], [0, 0, 0, 1, 2, 2]])
@pytest.mark.parametrize("masked", [True, False])
def test_rows_that_share_stems_attend_as_if_each_had_a_copy(owners: list[int], masked: bool) -> None:
    torch.manual_seed(0)
    stems = Cache(layer_class_to_replicate=RoomyLayer)
    stems.update(states := torch.randn(max(owners) + 1, 2, 5, 4), -states, 0)
    shared, rows = StemCache(stems, owners), list(range(len(owners)))
    copied = RoomyLayer()
    copied.update(states[owners], -states[owners])
    queries = torch.randn(len(rows), 2, 3, 4)
    mask = torch.ones(len(rows), 1, 1, 5, dtype=torch.bool)
    mask[0, ..., :2] = not masked

    def attend(new: torch.Tensor) -> None:
        nonlocal mask
        mask = functional.pad(mask, (0, 1), value=True)
        seen = mask if masked else None
        expected = functional.scaled_dot_product_attention(queries, *copied.update(new, -new), seen, scale=0.5)
        torch.testing.assert_close(shared.attend(0, queries, new, -new, seen, 0.5), expected)
        assert shared.get_seq_length() == copied.get_seq_length()

    first = torch.randn(len(rows), 2, 2, 4)
    torch.testing.assert_close(shared.update(first, -first, 0), copied.update(first, -first))
    mask = functional.pad(mask, (0, 2), value=True)
    for _ in range(ROOM + 1):
        attend(torch.randn(len(rows), 2, 1, 4))
    for kept in ([0, 2, 3], [1, 2], [1]):
        chosen = torch.tensor(kept)
        shared.batch_select_indices(chosen)
        copied.batch_select_indices(chosen)
        queries, mask = queries[chosen], mask[chosen]
        attend(torch.randn(len(kept), 2, 1, 4))


def test_many_rows_that_share_long_stems_write_what_each_writes_alone(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[int] = []
    share = Reading.share
    monkeypatch.setattr(Reading, "share", lambda *args: shared.append(len(args[1])) or share(*args))
    long = " ".join(f"Rule {number}: nobody is treated without being asked." for number in range(30))
    asked = [f"{letter}. {long} Question {n}: why?" for letter in "AB" for n in range(6)]
    asked.append(f"A. {long} Question 7: {long}")  # is read ahead of the others
    requests = [Request(user(text), 4 + n, n % 2, n) for n, text in enumerate(asked)]
    together = model.generate(requests)
    assert shared == [13]
    for row in (0, 7, 12):
        assert model.generate([requests[row]])[0].text == together[row].text


def test_prompts_that_begin_each_in_its_own_way_are_read_as_each_alone(model: LocalModel) -> None:
    reader, words = model._reader, [list(range(start, start + 40)) for start in (100, 300, 500)]
    rows = [[*words[0], 7, 8], [*words[0], 9], [*words[1], 7], [*words[1], 8, 9], [*words[2], *words[1], 7]]
    with torch.inference_mode():
        [batch] = reader.batches(rows, 1)
        for writing in (False, True):
            reading, order = reader.read(rows, batch, writing)
            found = torch.softmax(reader.advance(reading), dim=-1)
            for place, row in enumerate(order):
                [alone] = reader.batches([rows[row]], 1)
                expected = torch.softmax(reader.advance(reader.read([rows[row]], alone)[0]), dim=-1)
                torch.testing.assert_close(found[place], expected[0], atol=1e-4, rtol=1e-2)


def test_a_roomy_layer_holds_what_was_put_in_however_it_grew() -> None:
    layer = RoomyLayer()
    torch.manual_seed(0)
    steps = [torch.randn(2, 3, size, 4) for size in (5, 1, ROOM, 1, 7)]
    for step in steps:
        keys, values = layer.update(step, -step)
    torch.testing.assert_close(keys, torch.cat(steps, dim=2))
    torch.testing.assert_close(values, -torch.cat(steps, dim=2))
    layer.batch_select_indices(torch.tensor([1, 1, 0]))
    more = torch.randn(3, 3, 1, 4)
    keys, _ = layer.update(more, more)
    torch.testing.assert_close(keys, torch.cat([torch.cat(steps, dim=2)[[1, 1, 0]], more], dim=2))
