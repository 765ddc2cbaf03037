"""A model's linear layers with their weights laid out ahead of time as the processor's matrix product wants them.

PyTorch's processor kernels otherwise rearrange a layer's weights at every call, which is most of what one more token
costs. The operators are PyTorch's own, but private: a layer is replaced only where they exist and give what the layer
gave. Knows layers; knows neither language nor requests.
"""

from __future__ import annotations

import torch
from torch import nn

_ROWS = 32  # what the layout is chosen for; it serves other numbers of rows as well

# As a share of the largest output. Sums in another order differ by this much at most; a wrong result by far more.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


class PackedLinear(nn.Module):
    """What a linear layer computes, from packed weights; they replace the layer's own, which are not kept.

    Raises:
        AttributeError: This PyTorch has no such operators.
        RuntimeError: They cannot pack these weights.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(…, in_features) to (…, out_features)."""
        return torch.ops.mkldnn._linear_pointwise(states, self._weight, self._bias, "none", [], "")  # type: ignore[no-any-return]


def pack(model: nn.Module) -> int:
    """Replace the model's linear layers in place wherever packing works; returns how many it replaced.

    For inference only. On anything but a processor, and for types that the operators do not know, nothing happens.
    """
    packed = 0
    with torch.inference_mode():
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                replacement = packed_linear(layer)
                if replacement is not layer:
                    setattr(parent, name, replacement)
                    packed += 1
    return packed


def packed_linear(layer: nn.Module) -> nn.Module:
    """The layer with its weights packed; the layer itself where that does not work."""
    # Subclasses may compute something else, so the type must be the very class.
    if type(layer) is not nn.Linear or layer.weight.device.type != "cpu" or layer.weight.dtype not in TOLERANCE:
        return layer
    sample = torch.linspace(-1, 1, _ROWS * layer.in_features).view(_ROWS, -1).to(layer.weight.dtype)
    expected = layer(sample)
    try:
        replacement = PackedLinear(layer)
        found = replacement(sample)
    except (AttributeError, NotImplementedError, RuntimeError):
        return layer
    return replacement if agree(found, expected) else layer


def agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two ways to compute one thing did; where the type is not known they never do."""
    share = TOLERANCE.get(expected.dtype, 0.0)
    return torch.allclose(found, expected, rtol=0, atol=share * float(expected.abs().max()))
