"""BERT with mean pooling as an ONNX graph, built from the weights: texts become vectors without torch.

Knows the architecture and the names of its tensors; knows neither texts nor the runtime. Linear layers are stored
(out, in) and multiplied here as (in, out). Whole blocks are ONNX Runtime's own fused operators, all of them exact.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FUSED = "com.microsoft"
_OPSET, _IR_VERSION = 20, 10  # what ONNX Runtime has read since 1.17


@dataclass(frozen=True, slots=True)
class Graph:
    """A model apart from its weights, so that 90 MB are neither copied into a message nor kept on disk.

    Its inputs are ``ids`` and ``mask``, int32, (texts, tokens), the mask 1 for a token and 0 for padding. Its output
    is ``vectors``, float32, (texts, dimensions), unit rows.

    Attributes:
        model: The serialised graph; its tensors are declared as external.
        tensors: The external tensors by name, float32.
    """

    model: bytes
    tensors: dict[str, NDArray[np.float32]]


def bert_graph(folder: Path) -> Graph:
    """Write the graph of a BERT from ``config.json`` and ``model.safetensors``."""
    from safetensors.numpy import load_file  # late: a stored panel needs no encoder

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return _Writer(config, load_file(folder / "model.safetensors")).write()


class _Writer:
    """Collects nodes and tensors; every method that adds a block returns the name of its result."""

    def __init__(self, config: dict[str, Any], weights: dict[str, NDArray[np.float32]]) -> None:
        self._config = config
        self._weights = weights
        self._nodes: list[Any] = []
        self._tensors: dict[str, NDArray[np.float32]] = {}

    def write(self) -> Graph:
        """The embeddings, the layers, the pooling."""
        from onnx import TensorProto, helper  # late: a stored panel needs no encoder

        hidden = self._embeddings()
        for number in range(self._config["num_hidden_layers"]):
            hidden = self._layer(f"encoder.layer.{number}", hidden)
        self._pooling(hidden)
        graph = helper.make_graph(
            self._nodes,
            "bert",
            [helper.make_tensor_value_info(name, TensorProto.INT32, ["texts", "tokens"]) for name in ("ids", "mask")],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", self._config["hidden_size"]])],
            [_declared(name, tensor.shape) for name, tensor in self._tensors.items()],
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        return Graph(model.SerializeToString(), self._tensors)

    def _embeddings(self) -> str:
        words, positions, types = (
            self._weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")
        )
        # Every token is of type 0, so its row can be part of the positions.
        tables = ["ids", "", self._hold("words", words), self._hold("positions", positions + types[0]), ""]
        inputs = [*tables, *self._norm("embeddings")]
        # Its second result, the lengths by a mask it was not given, is obligatory.
        return self._add("EmbedLayerNormalization", inputs, "embedded", "unused", epsilon=self._epsilon)

    def _layer(self, name: str, hidden: str) -> str:
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        joined = np.concatenate([self._weights[f"{part}.weight"] for part in parts]).T
        bias = np.concatenate([self._weights[f"{part}.bias"] for part in parts])
        attended = self._add(
            "Attention",
            [hidden, self._hold(f"{name}.qkv", joined), self._hold(f"{name}.qkv.bias", bias), "mask"],
            f"{name}.attended",
            num_heads=self._config["num_attention_heads"],
        )
        hidden = self._residual(f"{name}.attention.output", attended, hidden)
        wide = self._product(f"{name}.intermediate.dense", hidden)
        active = self._add("BiasGelu", [wide, self._given(f"{name}.intermediate.dense.bias")], f"{name}.active")
        return self._residual(f"{name}.output", active, hidden)

    def _residual(self, name: str, values: str, skipped: str) -> str:
        """Project, add the bias and what was skipped, normalise."""
        inputs = [self._product(f"{name}.dense", values), skipped, *self._norm(name), self._given(f"{name}.dense.bias")]
        return self._add("SkipLayerNormalization", inputs, name, epsilon=self._epsilon)

    def _pooling(self, hidden: str) -> None:
        """The sum over a text's tokens, made a unit vector: their mean has the same direction."""
        from onnx import TensorProto

        self._add("Cast", ["mask"], "weights", domain="", to=TensorProto.FLOAT)
        self._add("Einsum", ["weights", hidden], "summed", domain="", equation="bt,btd->bd")
        self._add("LpNormalization", ["summed"], "vectors", domain="", p=2, axis=-1)

    def _product(self, name: str, values: str) -> str:
        weight = self._hold(f"{name}.weight", self._weights[f"{name}.weight"].T)
        return self._add("MatMul", [values, weight], f"{name}.product", domain="")

    def _norm(self, name: str) -> list[str]:
        return [self._given(f"{name}.LayerNorm.weight"), self._given(f"{name}.LayerNorm.bias")]

    @property
    def _epsilon(self) -> float:
        return float(self._config["layer_norm_eps"])

    def _given(self, name: str) -> str:
        return self._hold(name, self._weights[name])

    def _hold(self, name: str, tensor: NDArray[np.float32]) -> str:
        self._tensors[name] = np.ascontiguousarray(tensor)
        return name

    def _add(self, operator: str, inputs: Sequence[str], *outputs: str, domain: str = _FUSED, **how: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **how))
        return outputs[0]


def _declared(name: str, shape: tuple[int, ...]) -> Any:
    """A tensor whose values the runtime is handed beside the graph; the location is never looked at."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="handed over")
    return tensor
