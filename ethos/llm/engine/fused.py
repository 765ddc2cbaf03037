"""A Llama model's layers as few large operators: what is left of a step when its many small ones are gone.

One token of a small model is some two thousand operators, most of which take less time than starting them. Here
queries, keys and values are one product, and so are both halves of the feed-forward layer. Layers are replaced only
where that computes what they did. Knows layers; knows neither language nor requests.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ethos.llm.engine.packed import agree, packed_linear
from ethos.llm.engine.shared_prefix import StemCache

_TOKENS = 5  # of the sample that a layer is compared by


def fuse(model: nn.Module) -> int:
    """Replace a Llama's layers in place, if all of them can be; returns how many it replaced.

    For inference only. To anything but a Llama on a processor nothing happens.
    """
    core: Any = getattr(model, "model", None)  # torch's modules type their attributes as anything or nothing
    # By its name: the class is imported with a Llama, and with no other model.
    if type(core).__name__ != "LlamaModel" or core.embed_tokens.weight.device.type != "cpu":
        return 0
    rotary = SignedRotary(core.rotary_emb)
    with torch.inference_mode():
        if not _computes_the_same(core, rotary):
            return 0
        for number, layer in enumerate(core.layers):
            core.layers[number] = FusedLayer(layer)  # one after another, so that no more than one is held twice
    core.rotary_emb = rotary
    return len(core.layers)


def _computes_the_same(core: Any, rotary: SignedRotary) -> bool:
    """Whether the first layer and what replaces it agree; a Llama's layers differ in their weights only."""
    layer = core.layers[0]
    weight = core.embed_tokens.weight
    sample = torch.linspace(-1, 1, _TOKENS * weight.shape[1]).view(1, _TOKENS, -1).to(weight.dtype)
    places = torch.arange(_TOKENS)[None]
    try:
        expected = layer(sample, position_embeddings=core.rotary_emb(sample, position_ids=places))
        found = FusedLayer(layer)(sample, position_embeddings=rotary(sample, position_ids=places))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False
    return agree(found, expected)


class SignedRotary(nn.Module):
    """Rotary embeddings with the rotation's sign in the sines, so that rotating is swapping halves.

    Args:
        rotary: The model's own.
    """

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self._rotary = rotary

    def forward(self, states: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and signed sines, each (rows, tokens, 1, dimensions)."""
        cosines, sines = self._rotary(states, position_ids=position_ids)
        half = sines.shape[-1] // 2
        signed = torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)
        return cosines.unsqueeze(2), signed.unsqueeze(2)


class FusedLayer(nn.Module):
    """What a Llama's decoder layer computes.

    Args:
        layer: A `LlamaDecoderLayer`.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention, feed = layer.self_attn, layer.mlp
        self._number = attention.layer_idx
        self._size = attention.head_dim
        self._keys = attention.k_proj.out_features // self._size
        self._groups = attention.num_key_value_groups
        self._scale = attention.scaling
        self._joined = packed_linear(_joined(attention.q_proj, attention.k_proj, attention.v_proj))
        self._out = packed_linear(attention.o_proj)
        self._wide = packed_linear(_joined(feed.gate_proj, feed.up_proj))
        self._down = packed_linear(feed.down_proj)
        self._norms = layer.input_layernorm, layer.post_attention_layernorm

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """(rows, tokens, dimensions) to the same, as `LlamaDecoderLayer` is called by its model."""
        assert position_embeddings is not None
        attended = self._attend(self._normed(0, hidden_states), attention_mask, past_key_values, position_embeddings)
        states = hidden_states + self._out(attended)
        gate, up = self._wide(self._normed(1, states)).chunk(2, dim=-1)
        return states + self._down(functional.silu(gate) * up)  # type: ignore[no-any-return]

    def _normed(self, which: int, states: torch.Tensor) -> torch.Tensor:
        norm = self._norms[which]
        return functional.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)

    def _attend(
        self,
        states: torch.Tensor,
        mask: torch.Tensor | None,
        cache: Any,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        rows, tokens, _ = states.shape
        heads = self._joined(states).view(rows, tokens, -1, self._size)
        turned, values = heads[:, :, : -self._keys], heads[:, :, -self._keys :].transpose(1, 2)
        cosines, sines = position_embeddings
        turned = (turned * cosines + turned.roll(self._size // 2, dims=-1) * sines).transpose(1, 2)
        queries, keys = turned[:, : -self._keys], turned[:, -self._keys :]
        if tokens == 1:
            # The heads of a group as one head's queries: its keys and values are read once, not copied for each.
            queries = queries.reshape(rows, self._keys, self._groups, self._size)
            if isinstance(cache, StemCache):
                found = cache.attend(self._number, queries, keys, values, mask, self._scale)
                return found.reshape(rows, 1, -1)
        if cache is not None:
            keys, values = cache.update(keys, values, self._number)
        if tokens == 1:
            found = functional.scaled_dot_product_attention(queries, keys, values, mask, scale=self._scale)
            return found.reshape(rows, 1, -1)
        found = functional.scaled_dot_product_attention(
            queries, keys, values, mask, is_causal=mask is None, scale=self._scale, enable_gqa=self._groups > 1
        )
        return found.transpose(1, 2).reshape(rows, tokens, -1)


def _joined(*layers: nn.Linear) -> nn.Linear:
    """Layers that read the same states, as one."""
    joined = nn.Linear(1, 1, bias=layers[0].bias is not None)
    joined.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    joined.in_features, joined.out_features = layers[0].in_features, len(joined.weight)
    if joined.bias is not None:
        joined.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]), requires_grad=False)
    return joined
