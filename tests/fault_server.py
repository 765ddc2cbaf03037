"""A local server that answers as it is told: slowly, wrongly, brokenly or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHATS = "/v1/chat/completions"
MODELS = "/v1/models"
FINE = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        body: Bytes, or a value that is sent as JSON.
        chunks: Sent as they are in place of the body, each after the pause.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    pause: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One request that arrived; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: Any


class FaultServer(ThreadingHTTPServer):
    """Gives the answers set for a path in turn; then a sound chat, and no list of models."""

    daemon_threads = False  # joined when the server closes

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base_url = f"http://127.0.0.1:{self.server_port}/v1"
        self.seen: list[Seen] = []
        self._answers: dict[str, list[Answer]] = {CHATS: [], MODELS: []}
        self._lock = threading.Lock()

    def will_answer(self, *answers: Mapping[str, Any], path: str = CHATS) -> None:
        """Set the next answers, each as the fields of `Answer`."""
        self._answers[path] = [Answer(**fields) for fields in answers]

    def chats(self) -> list[Any]:
        """The bodies of the chat requests so far."""
        return [seen.body for seen in self.seen if seen.path == CHATS]

    def take(self, seen: Seen) -> Answer:
        """Record a request and choose its answer."""
        with self._lock:
            self.seen.append(seen)
            left = self._answers.get(seen.path)
            return left.pop(0) if left else Answer(FINE) if seen.path == CHATS else Answer(status=404)


class _Handler(BaseHTTPRequestHandler):
    server: FaultServer
    protocol_version = "HTTP/1.1"  # chunks need it

    def do_GET(self) -> None:
        self.close_connection = True
        length = int(self.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.take(Seen(self.path, headers, json.loads(self.rfile.read(length) or "null")))
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        size = {"transfer-encoding": "chunked"} if answer.chunks else {"content-length": str(len(content))}
        sent = {"content-type": "application/json", "connection": "close", **size, **answer.headers}
        try:
            self.send_response(answer.status)
            for name, value in sent.items():
                self.send_header(name, value)
            self.end_headers()
            for part in answer.chunks or [content]:
                time.sleep(answer.pause)
                self.wfile.write(part)
        except ConnectionError:
            pass  # the client had enough

    do_POST = do_GET  # noqa: N815 - named by the base class

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running() -> Iterator[FaultServer]:
    """A server for the length of a test."""
    with FaultServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
