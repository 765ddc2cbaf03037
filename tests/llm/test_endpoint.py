"""The endpoint backend: against a real llama.cpp server, and against replies that break the contract."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from ethos.errors import ConfigurationError, ModelError, UnreadableReply
from ethos.llm import LanguageModel, Request, StreamingModel, schema_text, user
from ethos.llm.backends.endpoint import EndpointModel

TOPICS = ("vaccines", "organ donation", "hospice care", "home birth", "faith healing", "alcohol")


def ask(text: str = "Hello", **changes: Any) -> Request:
    fields: dict[str, Any] = {"max_tokens": 40, "temperature": 0.0, "seed": 1, **changes}
    return Request(user(text), **fields)


def chat(content: Any, finish_reason: Any = "stop", **choice: Any) -> dict[str, Any]:
    """A chat completion as a server writes it."""
    message = {"role": "assistant", "content": content}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, **choice}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }


def events(*values: Any) -> dict[str, Any]:
    """A server's answer in events."""
    lines = [f"data: {json.dumps(value)}\n\n" for value in values]
    body = "".join([": a comment\n\n", *lines, "data: [DONE]\n\n"]).encode()
    return {"body": body, "headers": {"content-type": "text/event-stream"}}


def delta(content: Any = None, finish_reason: Any = None) -> dict[str, Any]:
    """One event of a chat completion."""
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}], "usage": None}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def reading(*tokens: tuple[str, Any]) -> dict[str, Any]:
    """A chat completion of one token, with these as its top_logprobs."""
    top = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    return chat("A", "length", logprobs={"content": [{"token": "A", "logprob": -0.1, "top_logprobs": top}]})


@pytest.fixture
def llama(llama_server: Any, make_model: Any) -> EndpointModel:
    model: EndpointModel = make_model(llama_server.base_url, api_key=llama_server.api_key)
    return model


@pytest.fixture
def careful_llama(llama_server: Any, make_model: Any) -> EndpointModel:
    """One request at a time, which is what makes llama.cpp repeat itself exactly."""
    model: EndpointModel = make_model(llama_server.base_url, api_key=llama_server.api_key, in_flight=1)
    return model


def test_a_batch_of_six_is_written_in_order(llama: EndpointModel) -> None:
    def only(topic: str) -> str:
        return schema_text({"type": "object", "properties": {"n": {"enum": [topic]}}, "required": ["n"]})

    completions = llama.generate([ask(f"Write about {topic}.", schema=only(topic)) for topic in TOPICS])
    assert [json.loads(completion.text) for completion in completions] == [{"n": topic} for topic in TOPICS]
    assert {completion.finish_reason for completion in completions} == {"stop"}
    assert all(c.prompt_tokens > 0 and c.completion_tokens > 0 for c in completions)
    assert len({completion.seconds for completion in completions}) == 1


def test_a_reply_is_cut_at_the_token_limit(llama: EndpointModel) -> None:
    (completion,) = llama.generate([ask("Tell me a long story.", max_tokens=5)])
    assert (completion.finish_reason, completion.completion_tokens) == ("length", 5)


def test_a_seed_repeats_its_text_and_another_seed_does_not(careful_llama: EndpointModel) -> None:
    requests = [ask("Tell me a story.", temperature=1.0, seed=seed, max_tokens=24) for seed in (1, 1, 2)]
    first, again, other = (completion.text for completion in careful_llama.generate(requests))
    assert first == again != other


def test_a_schema_shapes_the_reply_in_its_own_order(llama: EndpointModel) -> None:
    text = {"type": "string", "minLength": 1, "maxLength": 20}
    schema = {
        "type": "object",
        "properties": {"name": {**text, "not": {"enum": ["Ann"]}}, "age": {"enum": [30, 40]}, "city": text},
        "required": ["name", "age", "city"],
        "additionalProperties": False,
    }
    request = ask("Invent a person, as JSON.", schema=schema_text(schema), max_tokens=80, temperature=1.0)
    (completion,) = llama.generate([request])
    person = json.loads(completion.text)
    jsonschema.validate(person, schema)
    assert list(person) == ["name", "age", "city"]


@pytest.mark.parametrize("labels", ["ABCDE", "123456"])
def test_options_are_read_from_a_real_server(llama: EndpointModel, labels: str) -> None:
    options = " ".join(f"{label}. {topic}" for label, topic in zip(labels, TOPICS, strict=False))
    prompts = [user(f"Which fits {topic}? {options}\nAnswer with one character.") for topic in TOPICS]
    readings = llama.option_probabilities(prompts, tuple(labels))
    assert len(readings) == 6
    for result in readings:
        assert len(result.probabilities) == len(labels)
        assert sum(result.probabilities) == pytest.approx(1.0)
        assert 0.0 < result.mass <= 1.0
        assert result.prompt_tokens > 0


def test_option_readings_repeat_exactly_whatever_came_before(careful_llama: EndpointModel) -> None:
    story = "She is ninety and lives alone. " * 12
    prompts = [user(f"{story}Is {topic} right for her? A. Yes B. No Answer:") for topic in TOPICS[:2]]
    first = careful_llama.option_probabilities(prompts, ("A", "B"))
    again = careful_llama.option_probabilities(prompts[::-1], ("A", "B"))[::-1]
    assert [result.probabilities for result in first] == [result.probabilities for result in again]


def test_a_real_server_that_refuses_the_key_is_named(llama_server: Any, make_model: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_model(llama_server.base_url, api_key="sk-wrong-canary").generate([ask()])
    assert str(caught.value) == (
        f"{llama_server.base_url} answered 401, the key was refused: Invalid API Key (set ETHOS_API_KEY)"
    )


def test_a_prompt_over_the_context_is_refused_in_the_servers_words(llama: EndpointModel) -> None:
    with pytest.raises(ModelError, match=r"answered 400, the request was refused: .*exceeds.*context"):
        llama.generate([ask("word " * 5_000)])


def test_a_model_speaks_the_protocol(make_model: Any) -> None:
    assert isinstance(make_model("http://localhost:1/v1"), LanguageModel)


def test_a_request_is_sent_whole_but_for_excluded_texts(faults: Any, make_model: Any) -> None:
    name = {"type": "string", "not": {"enum": ["Ann"]}}
    schema = schema_text({"type": "object", "properties": {"name": name}, "required": ["name"]})
    make_model(faults.base_url).generate([ask("Who?", max_tokens=9, temperature=0.5, seed=3, schema=schema)])
    plain = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert faults.chats() == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Who?"}],
            "max_tokens": 9,
            "temperature": 0.5,
            "seed": 3,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": plain, "strict": True},
            },
        }
    ]


def test_an_empty_batch_asks_nothing(faults: Any, make_model: Any) -> None:
    model = make_model(faults.base_url)
    assert model.generate([]) == []
    assert model.option_probabilities([], ("A", "B")) == []
    assert faults.seen == []


@pytest.mark.parametrize(
    ("models", "asked", "cache_prompt"),
    [
        ([{"body": {"data": [{"owned_by": "llamacpp"}]}}], 1, [False, False]),
        ([{"body": {"data": [{"owned_by": "vllm"}]}}], 1, [None, None]),
        ([{"body": b"<html>"}], 1, [None, None]),
        ([{"status": 404}], 1, [None, None]),
        # Still loading at the first call, which is not taken for a no.
        ([{"status": 503}, {"body": {"data": [{"owned_by": "llamacpp"}]}}], 2, [None, False]),
    ],
)
def test_llama_cpp_is_told_not_to_reuse_its_prompt_cache(
    faults: Any, make_model: Any, models: list[Any], asked: int, cache_prompt: list[bool | None]
) -> None:
    faults.will_answer(*models, path="/v1/models")
    model = make_model(faults.base_url)
    for _ in range(2):
        model.generate([ask()])
    assert [body.get("cache_prompt") for body in faults.chats()] == cache_prompt
    assert [seen.path for seen in faults.seen].count("/v1/models") == asked


def test_the_first_error_stops_what_has_not_started(faults: Any, make_model: Any) -> None:
    faults.will_answer({"status": 400}, *[{"body": chat("slow"), "pause": 0.2}] * 11)
    with pytest.raises(ModelError, match="answered 400"):
        make_model(faults.base_url, in_flight=1).generate([ask()] * 12)
    assert len(faults.chats()) < 12


@pytest.mark.parametrize(
    ("body", "message", "retryable"),
    [
        ({"choices": []}, "holds no choices", False),
        ([], "holds no choices", False),
        (chat(None), "holds no valid text", False),
        (chat({"text": "hi"}), "holds no valid text", False),
        (chat("half a pair \ud800"), "holds no valid text", False),
        (chat("cut", None), "was cut: it has no finish_reason", True),
        (chat("", "content_filter"), "was withheld by a content filter", False),
        (chat("hi", "tool_calls"), "ended for an unknown reason, 'tool_calls'", False),
    ],
)
def test_a_broken_completion_is_an_error_that_says_how(
    faults: Any, make_model: Any, body: Any, message: str, retryable: bool
) -> None:
    faults.will_answer({"body": body})
    with pytest.raises(ModelError) as caught:
        make_model(faults.base_url).generate([ask()])
    assert caught.value.message == f"the reply from {faults.base_url} {message}"
    assert caught.value.reply == json.dumps(body)
    assert caught.value.retryable is retryable


def test_missing_token_counts_are_zero_with_one_warning(
    faults: Any, make_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    faults.will_answer(*[{"body": {"choices": chat(" fine\n")["choices"]}}] * 2)
    completions = make_model(faults.base_url, in_flight=1).generate([ask(), ask()])
    assert [(c.text, c.prompt_tokens, c.completion_tokens) for c in completions] == [("fine", 0, 0)] * 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"{faults.base_url} reports no token counts; 0 is recorded"]


def test_spellings_of_a_label_and_equal_tokens_add_up(faults: Any, make_model: Any) -> None:
    shares = [("A", 0.4), (" A", 0.1), ("B", 0.2), ("B", 0.1), ("Maybe", 0.15)]
    faults.will_answer({"body": reading(*((token, math.log(share)) for token, share in shares))})
    (result,) = make_model(faults.base_url).option_probabilities([user("A or B?")], ("A", "B", "C"))
    assert result.probabilities == pytest.approx((0.625, 0.375, 0.0))
    assert result.mass == pytest.approx(0.8)
    assert result.prompt_tokens == 7
    (body,) = faults.chats()
    assert (body["max_tokens"], body["temperature"]) == (1, 0)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (chat("A", "length"), "holds no token probabilities"),
        (chat("A", "length", logprobs=None), "holds no token probabilities"),
        (chat("A", "length", logprobs={"content": []}), "holds no token probabilities"),
        (reading(), "holds no token probabilities"),
        (reading(("A", None)), "holds malformed token probabilities"),
        (reading(("A", math.nan)), "holds malformed token probabilities"),
        (reading(("A", 5.0)), "holds malformed token probabilities"),
    ],
)
def test_ignored_or_malformed_logprobs_are_an_error(faults: Any, make_model: Any, body: Any, message: str) -> None:
    faults.will_answer({"body": body})
    with pytest.raises(ModelError, match=message) as caught:
        make_model(faults.base_url).option_probabilities([user("A or B?")], ("A", "B"))
    assert not isinstance(caught.value, UnreadableReply)


def test_a_reading_without_any_label_is_unreadable(faults: Any, make_model: Any) -> None:
    faults.will_answer({"body": reading(("I", -0.1), ("As", -2.5))})
    with pytest.raises(UnreadableReply) as caught:
        make_model(faults.base_url).option_probabilities([user("A or B?")], ("A", "B"))
    assert caught.value.reply == "'I', 'As'"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_streamed_by_a_real_server_is_the_text(careful_llama: EndpointModel, temperature: float) -> None:
    request = ask("Tell me a story about a nurse.", temperature=temperature, max_tokens=24)
    pieces: list[str] = []
    streamed = careful_llama.stream(request, pieces.append)
    (plain,) = careful_llama.generate([request])
    assert replace(streamed, seconds=0.0) == replace(plain, seconds=0.0)
    assert "".join(pieces) == plain.text
    assert len(pieces) > 5


def test_streamed_json_keeps_to_its_schema(careful_llama: EndpointModel) -> None:
    schema = schema_text({"type": "object", "properties": {"n": {"enum": ["hospice care"]}}, "required": ["n"]})
    pieces: list[str] = []
    careful_llama.stream(ask("Write JSON.", schema=schema), pieces.append)
    assert json.loads("".join(pieces)) == {"n": "hospice care"}


def test_events_are_put_together(faults: Any, make_model: Any) -> None:
    model = make_model(faults.base_url)
    assert isinstance(model, StreamingModel)
    pieces: list[str] = []
    faults.will_answer(events(delta(), delta(" a"), delta(" b "), delta("\nc \n"), delta(None, "stop"), USAGE))
    done = model.stream(ask("Who?", seed=3), pieces.append)
    assert pieces == ["a", " b", " \nc"]
    assert (done.text, done.finish_reason, done.prompt_tokens, done.completion_tokens) == ("a b \nc", "stop", 7, 3)
    (body,) = faults.chats()
    assert (body["stream"], body["stream_options"], body["seed"]) == (True, {"include_usage": True}, 3)


def test_a_server_that_does_not_stream_is_told_whole(faults: Any, make_model: Any) -> None:
    pieces: list[str] = []
    assert make_model(faults.base_url).stream(ask(), pieces.append).text == "fine"
    assert pieces == ["fine"]


@pytest.mark.parametrize(
    ("answer", "message", "retryable"),
    [
        (events(delta("a")), "was cut: it has no finish_reason", True),
        (events(delta("a"), {"error": {"message": "out of memory"}}), "broke off with an error", False),
        (events(delta("a"), delta(None, "content_filter")), "was withheld by a content filter", False),
        (events(delta(None, "stop")), "holds no valid text", False),
        (events([]), "was cut: it has no finish_reason", True),
        ({**events(), "body": b"data: {\n\n"}, "is an event, and not valid JSON", False),
        ({**events(), "chunks": [b'13\r\ndata: {"choices": [\r\n']}, "was cut while it arrived", True),
    ],
)
def test_a_broken_stream_is_an_error_that_says_how(
    faults: Any, make_model: Any, answer: Any, message: str, retryable: bool
) -> None:
    faults.will_answer(answer)
    with pytest.raises(ModelError) as caught:
        make_model(faults.base_url).stream(ask(), lambda _: None)
    assert caught.value.message == f"the reply from {faults.base_url} {message}"
    assert caught.value.retryable is retryable


def test_a_stream_that_the_server_refuses_is_named(llama_server: Any, make_model: Any) -> None:
    with pytest.raises(ConfigurationError, match="the key was refused"):
        make_model(llama_server.base_url, api_key="sk-wrong-canary").stream(ask(), lambda _: None)


def test_who_listens_can_end_the_stream(faults: Any, make_model: Any) -> None:
    def refuse(_: str) -> None:
        raise KeyboardInterrupt

    faults.will_answer(events(delta("a"), delta("b")))
    with pytest.raises(KeyboardInterrupt):
        make_model(faults.base_url).stream(ask(), refuse)
