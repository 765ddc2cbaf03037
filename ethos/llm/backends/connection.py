"""One authenticated connection to an OpenAI-compatible server: JSON out, JSON back, every failure named.

Wraps the official client, which retries well, but follows redirects, takes settings from the environment and
sets no limit on a reply as a whole. Knows addresses, keys and errors; knows not what a reply should hold.
"""

from __future__ import annotations

import ipaddress
import json
import time
import weakref
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import openai

from ethos.errors import ConfigurationError, EthosError, ModelError

MAX_REPLY_BYTES = 8 * 2**20

_PROBE_SECONDS = 10.0
_QUOTED = 300  # characters of a server's own words in a message of ours
_KEPT = 2_000  # characters of a reply that an error carries


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server sent: the JSON value, and the text it was read from."""

    value: Any
    text: str


class Connection:
    """A server, the key it is sent, and the patience it is given.

    Args:
        base_url: Where the API is, usually ending in ``/v1``.
        api_key: Sent to that origin only, and kept out of every message; empty where none is needed.
        timeout: Seconds one try may go without an answer, and a reply may take to arrive.
        retries: Further tries after a lost connection, a timeout, a 429 or a 5xx.
        insecure: Allow plain http to another machine.

    Raises:
        ConfigurationError: The address or the key cannot be used.
    """

    def __init__(self, base_url: str, api_key: str, *, timeout: float, retries: int, insecure: bool) -> None:
        address = _checked_address(base_url, insecure)
        self.base_url = address.geturl()
        self.origin = _origin(address)
        self._key = _checked_key(api_key)
        self._timeout = timeout
        # A proxy set for the outer world must not see requests that never leave this machine.
        http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=not _is_loopback(address))
        self._client = openai.OpenAI(
            base_url=self.base_url,
            api_key=self._key or "none",
            timeout=timeout,
            max_retries=retries,
            http_client=http,
        )
        # Sent with every request, since the client would fill these in from the environment.
        self._headers: dict[str, str | openai.Omit] = {
            "Authorization": f"Bearer {self._key}" if self._key else openai.omit,
            "OpenAI-Organization": openai.omit,
            "OpenAI-Project": openai.omit,
        }
        self._close = weakref.finalize(self, self._client.close)

    def close(self) -> None:
        """Close the sockets; happens by itself when the connection is no longer used."""
        self._close()

    def chat(self, extra: Mapping[str, object], **fields: Any) -> Reply:
        """Ask for a chat completion, by the fields of the protocol and extra ones of this server's.

        Raises:
            ModelError: The server cannot be reached or fails, or its reply is cut, too large or not JSON.
            ConfigurationError: The server refuses the key, does not know the model, or redirects.
        """
        chats = self._client.chat.completions.with_streaming_response
        return self._fetch(chats.create(**fields, extra_body=extra, extra_headers=self._headers))

    def chat_events(self, extra: Mapping[str, object], **fields: Any) -> Generator[Reply, None, None]:
        """Ask for a chat completion as it is written: the server's events, or one whole reply where it sends none.

        Close the iterator when it is left early, so that the server stops writing.

        Raises:
            ModelError: As `chat`, after any number of events.
            ConfigurationError: As `chat`.
        """
        chats = self._client.chat.completions.with_streaming_response
        exchange = chats.create(
            **fields,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=extra,
            extra_headers=self._headers,
        )
        with self._opened(exchange) as response:
            kind = response.headers.get("content-type", "something unnamed")
            if not kind.startswith("text/event-stream"):
                yield self._parsed(self._body(response), kind)
                return
            for line in self._lines(response):
                field, _, value = line.partition(":")
                if field == "data" and value.strip() != "[DONE]":
                    yield self._parsed(value, "an event")

    def models(self) -> Reply:
        """Ask which models are served: once, and with little patience.

        Raises:
            ModelError: As `chat`.
            ConfigurationError: As `chat`.
        """
        client = self._client.with_options(max_retries=0, timeout=min(self._timeout, _PROBE_SECONDS))
        return self._fetch(client.models.with_streaming_response.list(extra_headers=self._headers))

    def broken(self, fault: str, text: str, hint: str = "", *, retryable: bool = False) -> ModelError:
        """The error for a reply that breaks the contract; `fault` goes on from "the reply"."""
        message = f"the reply from {self.base_url} {self._quote(fault)}"
        return ModelError(message, hint, reply=self._redacted(text)[:_KEPT], retryable=retryable)

    def _fetch(self, exchange: AbstractContextManager[Any]) -> Reply:
        with self._opened(exchange) as response:
            text = self._body(response)
            kind = response.headers.get("content-type", "something unnamed")
        return self._parsed(text, kind)

    @contextmanager
    def _opened(self, exchange: AbstractContextManager[Any]) -> Iterator[Any]:
        try:
            with exchange as response:
                yield response
        except openai.OpenAIError as error:
            # A server may quote the key that it refuses; then the cause must stay out of tracebacks too.
            cause = None if self._key and self._key in str(error) else error
            raise self._mapped(error) from cause

    def _parsed(self, text: str, kind: str) -> Reply:
        try:
            return Reply(json.loads(text), text)
        except (ValueError, RecursionError) as error:
            hint = "does ETHOS_BASE_URL name an API? it usually ends in /v1"
            raise self.broken(f"is {kind}, and not valid JSON", text, hint) from error

    def _lines(self, response: Any) -> Iterator[str]:
        """The lines of a body as they arrive."""
        begun = b""
        for chunk in self._chunks(response):
            *lines, begun = (begun + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        yield begun.decode(errors="replace")

    def _body(self, response: Any) -> str:
        return b"".join(self._chunks(response)).decode(errors="replace")

    def _chunks(self, response: Any) -> Iterator[bytes]:
        """A body as it arrives, within the limits of size and time."""
        deadline = time.monotonic() + self._timeout
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_REPLY_BYTES:
                    raise self.broken(f"is larger than {MAX_REPLY_BYTES:,} bytes", "")
                if time.monotonic() > deadline:
                    raise self._late()
                yield chunk
        except EthosError:
            raise
        # Here the client lets its transport's errors through; which library that is depends on its version.
        except Exception as error:
            if time.monotonic() >= deadline:
                raise self._late() from error
            text = body.decode(errors="replace")
            raise self.broken("was cut while it arrived", text, retryable=True) from error

    def _mapped(self, error: openai.OpenAIError) -> EthosError:
        match error:
            case openai.APITimeoutError():
                return self._late()
            case openai.APIConnectionError():
                reason = self._quote(str(error.__cause__ or "")) or "the connection was lost"
                hint = "is the server running? check ETHOS_BASE_URL"
                return ModelError(f"cannot reach {self.base_url}: {reason}", hint, retryable=True)
            case openai.APIStatusError():
                return self._refusal(error)
        return ModelError(f"the client failed at {self.base_url}: {self._quote(str(error))}")

    def _refusal(self, error: openai.APIStatusError) -> EthosError:
        status, headers = error.status_code, error.response.headers
        words = error.body.get("message") if isinstance(error.body, Mapping) else None
        said = f": {self._quote(words)}" if isinstance(words, str) and words else ""
        at = f"{self.base_url} answered {status}"
        if 300 <= status < 400:
            hint = "redirects are not followed; if you trust that address, set ETHOS_BASE_URL to it"
            target = self._quote(headers.get("location", "elsewhere"))
            return ConfigurationError(f"{at}, a redirect to {target}", hint)
        if status in (401, 403):
            return ConfigurationError(f"{at}, the key was refused{said}", "set ETHOS_API_KEY")
        if status == 404:
            hint = "name a model that the server lists, and check that ETHOS_BASE_URL ends in /v1"
            return ConfigurationError(f"{at}, there is no such model or address{said}", hint)
        if status == 429:
            asked = f", wait {self._quote(headers['retry-after'])} s" if "retry-after" in headers else ""
            hint = "try again later, or with fewer requests in flight"
            return ModelError(f"{at}, too many requests{asked}{said}", hint, retryable=True)
        if status >= 500 or status in (408, 409):
            hint = "try again later, or look in the server's log"
            return ModelError(f"{at}, the server failed{said}", hint, retryable=True)
        return ModelError(f"{at}, the request was refused{said}", "name another model or server")

    def _late(self) -> ModelError:
        hint = "raise the timeout, or lower the number of requests in flight"
        return ModelError(f"{self.base_url} did not answer within {self._timeout:g} s", hint, retryable=True)

    def _quote(self, text: str) -> str:
        """What a server said, on one line, short and without the key."""
        return self._redacted(" ".join(text.split()))[:_QUOTED]

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _checked_address(base_url: str, insecure: bool) -> SplitResult:
    # The address is quoted in no message before it is known to hold no password.
    try:
        address = urlsplit(base_url)
        valid = address.port != 0 and base_url.isprintable() and not {" ", "\\"} & set(base_url)
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError("ETHOS_BASE_URL is not a valid address", "write it as https://host/v1")
    if "@" in address.netloc or address.query or address.fragment:
        fault = "ETHOS_BASE_URL holds a user name, a password, a query or a fragment"
        raise ConfigurationError(fault, "keep the address alone, and put the key in ETHOS_API_KEY")
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigurationError(f"{base_url!r} is not an http address", "write it as https://host/v1")
    if address.scheme == "http" and not insecure and not _is_loopback(address):
        fault = f"{base_url} would carry prompts and key unencrypted"
        raise ConfigurationError(fault, "use https, or allow it with insecure=True")
    return address


def _is_loopback(address: SplitResult) -> bool:
    host = address.hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(address: SplitResult) -> str:
    host = address.hostname or ""
    port = address.port or {"http": 80, "https": 443}[address.scheme]
    return f"{address.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _checked_key(api_key: str) -> str:
    # What a header cannot carry is refused here, since the transport's error would quote it.
    key = api_key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("ETHOS_API_KEY holds characters that no key has", "set it to the key alone")
    return key
