"""A chat model behind any OpenAI-compatible endpoint: hosted, vLLM, llama.cpp, Ollama.

Knows the chat completions protocol and distrusts it: servers drop fields that they do not support, and cut or
withhold replies without an error. Knows nothing of personas.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeVar

from ethos.errors import EthosError
from ethos.llm import Completion, Message, ModelIdentity, OptionReading, Request, plain_schema
from ethos.llm.backends.connection import Connection, Reply
from ethos.llm.streaming import OnText, Streamer
from ethos.text.option_letters import gather

TOP_LOGPROBS = 20  # the most that OpenAI allows
IN_FLIGHT = 6

_log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class EndpointModel:
    """A model at an OpenAI-compatible server, behind the `LanguageModel` protocol.

    How far equal requests give equal texts is up to the server. llama.cpp is asked not to reuse its prompt
    cache, which changes probabilities, and by default gets one request at a time: it then repeats itself exactly.
    With more, they depend on what it happens to compute together: by up to 0.04 in trials.

    Token counts are the server's; where it reports none they are 0, and a warning is logged once.

    Args:
        name: The model's name at the server.
        base_url: Where the API is, usually ending in ``/v1``.
        api_key: Sent to that origin only, and kept out of every message; empty where none is needed.
        in_flight: Most requests at once in one call; None for 1 at llama.cpp and 6 elsewhere.
        timeout: Seconds one try may go without an answer, and a reply may take to arrive.
        retries: Further tries after a lost connection, a timeout, a 429 or a 5xx.
        insecure: Allow plain http to another machine.

    Raises:
        ConfigurationError: The address or the key cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str = "",
        in_flight: int | None = None,
        timeout: float = 120.0,
        retries: int = 2,
        insecure: bool = False,
    ) -> None:
        self._connection = Connection(base_url, api_key, timeout=timeout, retries=retries, insecure=insecure)
        self._name = name
        self._in_flight = in_flight
        self._extra_fields: dict[str, object] | None = None
        self._warned_of_usage = False

    @property
    def identity(self) -> ModelIdentity:
        """Name at the server, and the server's origin; the server does not report what it loads under that name."""
        return ModelIdentity(f"openai:{self._name}", self._connection.origin)

    def close(self) -> None:
        """Close the connections; happens by itself when the model is no longer used."""
        self._connection.close()

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Write the requests side by side.

        A schema is sent without its ``not``, which servers refuse or ignore: the caller must check the reply.

        Raises:
            ModelError: The server cannot be reached or fails, or a reply is cut, withheld or malformed.
            ConfigurationError: The server refuses the key, does not know the model, or redirects.
        """
        started = time.perf_counter()
        completions = self._side_by_side(self._complete, requests)
        seconds = time.perf_counter() - started
        return [replace(completion, seconds=seconds) for completion in completions]

    def stream(self, request: Request, on_text: OnText) -> Completion:
        """Write one request, streaming its text as the server sends it; a server that cannot stream sends it whole.

        Raises:
            ModelError: As `generate`, also after pieces were passed on.
            ConfigurationError: As `generate`.
        """
        started = time.perf_counter()
        self._know_server()
        streamer = Streamer(on_text)
        text: str | None = None
        reason: str | None = None
        usage: object = None
        with closing(self._connection.chat_events(self._extra_fields or {}, **self._fields(request))) as events:
            for event in events:
                reply = event
                match event.value:
                    case {"error": _}:
                        raise self._connection.broken("broke off with an error", event.text)
                    case {"choices": [{"message": _}, *_]}:
                        break
                    case {"choices": [{"delta": {"content": str(piece)}}, *_]}:
                        text = (text or "") + piece
                        streamer.grow(text)
                match event.value:
                    case {"choices": [{"finish_reason": str(ended)}, *_]}:
                        reason = ended
                match event.value:
                    case {"usage": {"prompt_tokens": _} as counted}:
                        usage = counted
            else:
                # What a server says in many events is checked as if it had said it in one.
                whole = {"choices": [{"message": {"content": text}, "finish_reason": reason}], "usage": usage}
                reply = Reply(whole, json.dumps(whole))
        completion = self._completion(reply)
        streamer.end(completion.text)
        return replace(completion, seconds=time.perf_counter() - started)

    def option_probabilities(
        self, prompts: Sequence[tuple[Message, ...]], labels: Sequence[str]
    ) -> list[OptionReading]:
        """Read labels from the likeliest next tokens, of which a server reports 20 at most; others count as 0.

        Raises:
            UnreadableReply: After some prompt no label is among those tokens.
            ModelError: As `generate`, or the server reports no probabilities.
            ConfigurationError: As `generate`.
        """
        started = time.perf_counter()
        readings = self._side_by_side(lambda prompt: self._read(prompt, labels), prompts)
        seconds = time.perf_counter() - started
        return [replace(reading, seconds=seconds) for reading in readings]

    def _side_by_side(self, send: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        if not items:
            return []
        self._know_server()
        width = self._in_flight or (1 if self._extra_fields else IN_FLIGHT)
        with ThreadPoolExecutor(width, "ethos-endpoint") as threads:
            futures = [threads.submit(send, item) for item in items]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                for future in futures:
                    future.cancel()
            # They start in order: the one that failed comes before all that were cancelled.
            return [future.result() for future in futures]

    def _know_server(self) -> None:
        if self._extra_fields is None:
            self._extra_fields = self._probe()

    def _probe(self) -> dict[str, object] | None:
        """What only this kind of server understands; None to ask again, when it was down or busy."""
        try:
            served = self._connection.models()
        except EthosError as error:
            return None if error.retryable else {}
        match served.value:
            case {"data": [{"owned_by": "llamacpp"}, *_]}:
                return {"cache_prompt": False}
        return {}

    def _complete(self, request: Request) -> Completion:
        return self._completion(self._connection.chat(self._extra_fields or {}, **self._fields(request)))

    def _completion(self, reply: Reply) -> Completion:
        choice = self._choice(reply)
        match choice.get("message"):
            case {"content": str(text)} if _is_unicode(text):
                return Completion(text.strip(), choice["finish_reason"], *self._usage(reply), seconds=0.0)
        hint = "a model that reasons before it writes may need more tokens"
        raise self._connection.broken("holds no valid text", reply.text, hint)

    def _read(self, prompt: tuple[Message, ...], labels: Sequence[str]) -> OptionReading:
        fields = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        reply = self._connection.chat(self._extra_fields or {}, **self._chat(prompt), **fields)
        match self._choice(reply).get("logprobs"):
            case {"content": [{"top_logprobs": [_, *_] as reported}, *_]}:
                probabilities, mass = gather(self._token_probabilities(reported, reply), labels)
                return OptionReading(probabilities, min(mass, 1.0), self._usage(reply)[0], seconds=0.0)
        hint = "use a server that supports top_logprobs, such as vLLM or llama.cpp, or a local model"
        raise self._connection.broken("holds no token probabilities", reply.text, hint)

    def _fields(self, request: Request) -> dict[str, Any]:
        fields = {"max_tokens": request.max_tokens, "temperature": request.temperature, "seed": request.seed}
        shape = {} if request.schema is None else {"response_format": _response_format(request.schema)}
        return self._chat(request.messages) | fields | shape

    def _chat(self, messages: Sequence[Message]) -> dict[str, Any]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        return {"model": self._name, "messages": chat}

    def _choice(self, reply: Reply) -> Any:
        """The first choice, as a mapping, of a reply that came to its end or to its token limit."""
        match reply.value:
            case {"choices": [{"finish_reason": "stop" | "length"} as choice, *_]}:
                return choice
            case {"choices": [{"finish_reason": "content_filter"}, *_]}:
                fault, hint = "was withheld by a content filter", "name another model"
            case {"choices": [{"finish_reason": str(reason)}, *_]}:
                fault, hint = f"ended for an unknown reason, {reason!r}", "name another model"
            case {"choices": [{}, *_]}:
                raise self._connection.broken("was cut: it has no finish_reason", reply.text, retryable=True)
            case _:
                fault, hint = "holds no choices", "does ETHOS_BASE_URL name a chat completions API?"
        raise self._connection.broken(fault, reply.text, hint)

    def _token_probabilities(self, reported: Sequence[object], reply: Reply) -> dict[str, float]:
        probabilities: dict[str, float] = {}
        for entry in reported:
            match entry:
                # Rounding may lift the logarithm of a sure token a little above 0.
                case {"token": str(token), "logprob": float() | int() as logprob} if logprob < 0.01:
                    probability = math.exp(min(logprob, 0.0))
                    probabilities[token] = probabilities.get(token, 0.0) + probability
                case _:
                    raise self._connection.broken("holds malformed token probabilities", reply.text)
        return probabilities

    def _usage(self, reply: Reply) -> tuple[int, int]:
        """Tokens read and written; zeros where the server does not report them."""
        match reply.value:
            case {"usage": {"prompt_tokens": int(read), "completion_tokens": int(written)}}:
                return read, written
        if not self._warned_of_usage:
            self._warned_of_usage = True
            _log.warning("%s reports no token counts; 0 is recorded", self._connection.base_url)
        return 0, 0


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored: JSON may smuggle in half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _response_format(schema: str) -> dict[str, object]:
    plain = plain_schema(json.loads(schema))
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": plain, "strict": True}}
