"""Texts to unit vectors: the packaged encoder by ONNX Runtime, any other by sentence-transformers.

Knows encoders; knows nothing of personas or indexes. The identity of the encoder goes with every vector, so that
vectors of two encoders never meet. It names the weights, not the library: both libraries give the same vectors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ethos.encoders.bert_onnx import bert_graph
from ethos.encoders.identity import EmbedderIdentity
from ethos.errors import ConfigurationError
from ethos.llm.weights import MINILM, embedder_weights

Vectors = NDArray[np.float32]

# Of one batch, padding included. More are no faster, and attention takes memory by the square of a text's length.
_BATCH_TOKENS = 2048
# A question of ten tokens has no work for more, and waking them would cost more than they do.
_MOST_THREADS = 4


class Embedder(Protocol):
    """Encodes texts."""

    @property
    def identity(self) -> EmbedderIdentity:
        """Which encoder."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, (texts, dimensions), in order."""


def open_embedder(name: str = MINILM) -> Embedder:
    """Open an encoder by folder or hub name; nothing is loaded before the first text.

    Raises:
        ConfigurationError: The folder holds no model.
    """
    weights = embedder_weights(name)
    if weights.packaged:
        return PackagedEmbedder(Path(weights.location), EmbedderIdentity(name, weights.revision))
    return SentenceEmbedder(name)


class PackagedEmbedder:
    """all-MiniLM-L6-v2 by ONNX Runtime, float32 on the processor: loads in a fraction of a second, without torch.

    Args:
        folder: The model as its package ships it.
        identity: Which weights these are.
    """

    def __init__(self, folder: Path, identity: EmbedderIdentity) -> None:
        self.identity = identity
        self._folder = folder

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer  # late: a stored panel needs no encoder

        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        # The file's own padding and truncation are those of the training.
        tokenizer.no_padding()
        limits = json.loads((self._folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        tokenizer.enable_truncation(limits["max_seq_length"])
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        onnxruntime = _onnxruntime()
        graph = bert_graph(self._folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(os.cpu_count() or 1, _MOST_THREADS)
        # Threads that spin while they wait for work take the processor from the language model.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3  # errors: stderr belongs to our own messages
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(tensor) for tensor in graph.tensors.values()]
        options.add_external_initializers(list(graph.tensors), values)
        return onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, (texts, dimensions); a text is cut at the model's 256 tokens."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        rows = np.empty((len(texts), self._session.get_outputs()[0].shape[1]), np.float32)
        for batch in _batches([len(ids) for ids in tokens]):
            # Padding is token 0, like the word piece [PAD].
            ids = np.zeros((len(batch), len(tokens[batch[0]])), np.int32)
            mask = np.zeros_like(ids)
            for row, number in enumerate(batch):
                length = len(tokens[number])
                ids[row, :length] = tokens[number]
                mask[row, :length] = 1
            rows[batch] = self._session.run(["vectors"], {"ids": ids, "mask": mask})[0]
        return rows


def _onnxruntime() -> Any:
    """ONNX Runtime, kept from reporting its sessions and models to Microsoft, as its official builds do by default."""
    # Read once, when the library is loaded: nothing is queued on disk, and no thread waits to send it.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # late: a stored panel needs no encoder

    # For a program that loaded the library before us, and for the builds that do not read the variable.
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of the texts, those of like length together, longest first: little padding, bounded memory."""
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    start = 0
    while start < len(order):
        size = max(1, _BATCH_TOKENS // lengths[order[start]])
        yield order[start : start + size]
        start += size


class SentenceEmbedder:
    """A sentence-transformers model, loaded at the first call.

    Args:
        name: Folder or hub name; all-MiniLM-L6-v2 comes from an installed package.

    Raises:
        ConfigurationError: The folder holds no model.
    """

    def __init__(self, name: str = MINILM) -> None:
        self._weights = embedder_weights(name)
        self.identity = EmbedderIdentity(name, self._weights.revision)

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import (
            SentenceTransformer,  # late: seconds, and a stored panel needs no encoder
        )

        from ethos.llm.library_output import quietly

        try:
            with quietly():
                return SentenceTransformer(self._weights.location, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"the embedder {self.identity.name} cannot be loaded: {str(error).splitlines()[0]}",
                "name a folder on this machine or a model in the hub's cache with --embedder",
            ) from error

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32, (texts, dimensions).

        Raises:
            ConfigurationError: The model cannot be loaded.
        """
        rows = self._model.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return np.ascontiguousarray(rows, dtype=np.float32)
