"""The connection to an endpoint: what may leave this machine, and every way in which a server can fail."""

from __future__ import annotations

import logging
import socket
import traceback
from typing import Any

import pytest

from ethos.errors import ConfigurationError, EthosError, ModelError
from ethos.llm import ModelIdentity, Request, user
from ethos.llm.backends.endpoint import EndpointModel

KEY = "sk-test-canary"  # what make_model sends
HELLO = Request(user("Hello"), max_tokens=16, temperature=0.0, seed=1)
MEBIBYTE = b"100000\r\n" + b" " * 2**20 + b"\r\n"


def error_of(model: EndpointModel) -> EthosError:
    with pytest.raises(EthosError) as caught:
        model.generate([HELLO])
    return caught.value


@pytest.mark.parametrize(
    ("answer", "message", "retryable"),
    [
        (
            {"body": b"<html>", "headers": {"content-type": "text/html"}},
            "is text/html, and not valid JSON",
            False,
        ),
        ({"body": b'{"choices": [{"mess'}, "is application/json, and not valid JSON", False),
        ({"body": b"[" * 200_000}, "is application/json, and not valid JSON", False),
        ({"chunks": [b'10\r\n{"choices": [{"m']}, "was cut while it arrived", True),
        ({"body": b"{", "headers": {"content-length": "9"}}, "was cut while it arrived", True),
        ({"body": b" " * (8 * 2**20 + 1)}, "is larger than 8,388,608 bytes", False),
        ({"chunks": [MEBIBYTE] * 9}, "is larger than 8,388,608 bytes", False),
    ],
)
def test_a_broken_reply_is_an_error_that_says_how(
    faults: Any, make_model: Any, answer: Any, message: str, retryable: bool
) -> None:
    faults.will_answer(answer)
    error = error_of(make_model(faults.base_url))
    assert isinstance(error, ModelError)
    assert error.message == f"the reply from {faults.base_url} {message}"
    assert error.retryable is retryable


@pytest.mark.parametrize(
    "answer",
    [
        {"pause": 1.0},
        # Each byte comes in time, the reply as a whole does not.
        {"chunks": [*[b"1\r\n \r\n"] * 30, b"2\r\n{}\r\n0\r\n\r\n"], "pause": 0.05},
    ],
)
def test_a_late_reply_is_not_waited_for(faults: Any, make_model: Any, answer: Any) -> None:
    faults.will_answer(answer)
    error = error_of(make_model(faults.base_url, timeout=0.5, retries=0))
    assert isinstance(error, ModelError)
    assert error.message == f"{faults.base_url} did not answer within 0.5 s"
    assert error.retryable


def test_the_start_of_a_broken_reply_is_kept_with_the_error(faults: Any, make_model: Any) -> None:
    faults.will_answer({"body": b"<html>down</html>" + b" " * 5_000})
    error = error_of(make_model(faults.base_url))
    assert isinstance(error, ModelError)
    assert error.reply == "<html>down</html>" + " " * 1_983


@pytest.mark.parametrize(
    "failures",
    [
        [{"status": 500}, {"status": 500}],
        [{"status": 429, "headers": {"retry-after": "1"}}],
    ],
)
def test_a_passing_failure_is_tried_again(faults: Any, make_model: Any, failures: list[Any]) -> None:
    faults.will_answer(*failures)
    (completion,) = make_model(faults.base_url).generate([HELLO])
    assert completion.text == "fine"
    assert len(faults.chats()) == len(failures) + 1


@pytest.mark.parametrize(
    ("answer", "kind", "message", "retryable"),
    [
        ({"status": 400}, ModelError, "400, the request was refused", False),
        ({"status": 401}, ConfigurationError, "401, the key was refused", False),
        ({"status": 403}, ConfigurationError, "403, the key was refused", False),
        ({"status": 404}, ConfigurationError, "404, there is no such model or address", False),
        ({"status": 429}, ModelError, "429, too many requests", True),
        ({"status": 502}, ModelError, "502, the server failed", True),
    ],
)
def test_a_refusal_names_the_status_and_the_servers_words(
    faults: Any, make_model: Any, answer: Any, kind: type[EthosError], message: str, retryable: bool
) -> None:
    faults.will_answer({**answer, "body": {"error": {"message": "not\ntoday"}}})
    error = error_of(make_model(faults.base_url, retries=0))
    assert type(error) is kind
    assert error.message == f"{faults.base_url} answered {message}: not today"
    assert error.hint
    assert error.retryable is retryable


def test_a_wait_of_an_hour_fails_at_once(faults: Any, make_model: Any) -> None:
    faults.will_answer({"status": 429, "headers": {"retry-after": "3600"}})
    error = error_of(make_model(faults.base_url))
    assert error.message == f"{faults.base_url} answered 429, too many requests, wait 3600 s"
    assert len(faults.chats()) == 1


def test_a_server_that_is_not_running_is_named(make_model: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        base_url = f"http://127.0.0.1:{closing.getsockname()[1]}/v1"
    error = error_of(make_model(base_url, retries=0))
    assert error.message.startswith(f"cannot reach {base_url}: ")
    assert error.message.endswith("Connection refused")
    assert error.hint == "is the server running? check ETHOS_BASE_URL"
    assert error.retryable
    assert error.__cause__


def test_a_redirect_takes_nothing_to_another_origin(faults: Any, other_origin: Any, make_model: Any) -> None:
    target = f"{other_origin.base_url}/chat/completions"
    redirect = {"status": 307, "headers": {"location": target}}
    faults.will_answer(redirect)
    faults.will_answer(redirect, path="/v1/models")
    error = error_of(make_model(faults.base_url))
    assert isinstance(error, ConfigurationError)
    assert error.message == f"{faults.base_url} answered 307, a redirect to {target}"
    assert other_origin.seen == []


def test_nothing_is_taken_from_the_environment(
    faults: Any, other_origin: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer sk-environment")
    monkeypatch.setenv("HTTP_PROXY", other_origin.base_url)
    monkeypatch.setenv("NO_PROXY", "")
    make_model(faults.base_url, api_key="").generate([HELLO])
    make_model(faults.base_url).generate([HELLO])
    sent = [seen.headers.get("authorization") for seen in faults.seen]
    assert sent == [None, None, "Bearer sk-test-canary", "Bearer sk-test-canary"]
    assert not any("environment" in value for seen in faults.seen for value in seen.headers.values())
    assert other_origin.seen == []


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 401, "body": {"error": {"message": f"Incorrect API key provided: {KEY}"}}},
        {"status": 500, "body": f"Bearer {KEY}"},
        {"status": 302, "headers": {"location": f"http://127.0.0.1/?key={KEY}"}},
        {"status": 429, "headers": {"retry-after": KEY}},
        {"body": KEY.encode(), "headers": {"content-type": KEY}},
        {"body": {"choices": [{"finish_reason": KEY}]}},
    ],
)
def test_a_key_that_the_server_repeats_is_shown_nowhere(
    faults: Any, make_model: Any, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    caplog.set_level(logging.DEBUG, logger="openai")
    faults.will_answer(answer)
    model = make_model(faults.base_url, retries=0)
    error = error_of(model)
    shown = [repr(error), str(error), getattr(error, "reply", ""), *traceback.format_exception(error)]
    assert not any(KEY in text for text in [*shown, repr(model), repr(model.identity), caplog.text])


def test_a_key_is_trimmed(faults: Any, make_model: Any) -> None:
    make_model(faults.base_url, api_key=f" {KEY}\n").generate([HELLO])
    assert faults.seen[-1].headers["authorization"] == "Bearer sk-test-canary"


@pytest.mark.parametrize("api_key", ["sk-two\nlines", "sk-two words", "sk-naïve"])
def test_a_key_that_no_header_can_carry_is_refused(make_model: Any, api_key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_model("https://example.org/v1", api_key=api_key)
    assert str(caught.value) == "ETHOS_API_KEY holds characters that no key has (set it to the key alone)"


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("http://example.org/v1", "http://example.org/v1 would carry prompts and key unencrypted"),
        ("http://localhost.example.org/v1", "would carry prompts and key unencrypted"),
        ("http://127.0.0.1.example.org/v1", "would carry prompts and key unencrypted"),
        ("https://me:secret@example.org/v1", "holds a user name, a password, a query or a fragment"),
        ("http://127.0.0.1@example.org/v1", "holds a user name, a password, a query or a fragment"),
        ("https://example.org/v1?key=secret", "holds a user name, a password, a query or a fragment"),
        ("https://example.org\\@127.0.0.1/v1", "is not a valid address"),
        ("https://me:secret@example.org:99999/", "is not a valid address"),
        ("https://example.org/\nsecret", "is not a valid address"),
        ("file:///etc/passwd", "is not an http address"),
        ("example.org/v1", "is not an http address"),
        ("", "is not an http address"),
    ],
)
def test_an_unsafe_address_is_refused(base_url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EndpointModel("m", base_url=base_url)
    assert message in caught.value.message
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("http://localhost:8080/v1", "http://localhost:8080"),
        ("http://127.0.0.1/v1/", "http://127.0.0.1:80"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("https://API.example.org/v1", "https://api.example.org:443"),
    ],
)
def test_the_identity_names_model_and_origin(make_model: Any, base_url: str, origin: str) -> None:
    assert make_model(base_url).identity == ModelIdentity("openai:m", origin)


def test_plain_http_to_another_machine_needs_consent(make_model: Any) -> None:
    model = make_model("http://gpu.example.org:8000/v1", insecure=True)
    assert model.identity.revision == "http://gpu.example.org:8000"
