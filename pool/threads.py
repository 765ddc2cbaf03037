"""Keeps small matrix products on one thread: waking others costs more than they help, above all on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController  # late: it looks at every library loaded so far

    return [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which numpy's linear algebra uses one thread."""
    # threadpoolctl's own context asks each library for all it knows of itself, which takes 0.1 ms.
    before = [(library, library.num_threads) for library in _libraries()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, count in before:
            library.set_num_threads(count)
