"""A search keeps to one thread, and leaves to others in its process as many as they had."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Searches as the pool does, having loaded PyTorch and FAISS in this order; prints how many threads PyTorch has left.
_SEARCH = """
import sys
for library in sys.argv[1].split():
    __import__(library)
import numpy as np
import torch
from ethos.pool.retrieval.neighbours import Nearest
from ethos.pool.retrieval.threads import one_faiss_thread, one_thread

torch.set_num_threads(3)
torch.get_num_threads()  # PyTorch sets them at its first use in a thread
vectors = np.eye(8, dtype=np.float32)
nearest = Nearest()
nearest.add(vectors)
with one_thread():
    rows, _ = nearest.search(vectors[3], 1)
assert rows.tolist() == [3]
import faiss
with one_faiss_thread():
    print(faiss.omp_get_max_threads(), end=" ")
print(torch.get_num_threads())
"""


@pytest.mark.parametrize("order", ["torch faiss", "faiss torch"])
def test_a_search_takes_no_thread_from_the_models(order: str) -> None:
    done = subprocess.run([sys.executable, "-c", _SEARCH, order], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "3"]
