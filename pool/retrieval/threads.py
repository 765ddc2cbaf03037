"""Run small searches and products on one thread: waking others costs more than they help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def _libraries() -> list[tuple[Any, int]]:
    """The libraries, each with the threads it had at first: another search may have changed that for a moment."""
    from threadpoolctl import ThreadpoolController  # late: it looks at every library loaded so far

    found = ThreadpoolController().lib_controllers
    return [(library, library.num_threads) for library in found if library.user_api == "blas"]


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which numpy's linear algebra uses one thread."""
    # threadpoolctl's own context asks each library for all it knows of itself, which takes 0.1 ms.
    for library, _ in _libraries():
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, count in _libraries():
            library.set_num_threads(count)


@contextmanager
def one_faiss_thread() -> Iterator[None]:
    """A context in which FAISS uses one thread.

    Where PyTorch was loaded first, FAISS shares its OpenMP: what is not put back slows each model of the process down.
    """
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
