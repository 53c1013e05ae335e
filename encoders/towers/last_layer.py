"""The last layer of a CLIP tower where few of its places are read: keys and values of all, everything else of these.

Legend: R rows of L places each, P places of each that are read, W the tower's width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoder, CLIPEncoderLayer, eager_attention_forward


def pooled(tower: CLIPVisionModel, pixels_NCHW: Tensor) -> Tensor:
    """The tower's ``pooler_output`` [N, W]: the class token's state."""
    if not _is_plain(tower):
        return tower(pixel_values=pixels_NCHW).pooler_output  # type: ignore[no-any-return]
    state_NLW = tower.pre_layrnorm(tower.embeddings(pixels_NCHW))
    first_N1 = state_NLW.new_zeros(len(state_NLW), 1).long()
    return tower.post_layernorm(states(tower, state_NLW, first_N1)[:, 0])  # type: ignore[no-any-return]


def states(tower: CLIPTextModel | CLIPVisionModel, state_RLW: Tensor, read_RP: Tensor, mask: Any = None) -> Tensor:
    """The encoder's last states [R, P, W] at the places ``read_RP``, under a mask [R, 1, L, L] of what each may see.

    Equal to the encoder's own to rounding, gradients as well. A tower that is not plainly transformers' CLIP (hooks on
    it, layers checkpointed for memory, another attention) computes its last layer whole.
    """
    if not _is_plain(tower):
        return _at(tower.encoder(inputs_embeds=state_RLW, attention_mask=mask).last_hidden_state, read_RP)
    *layers, last = tower.encoder.layers
    for layer in layers:
        state_RLW = layer(state_RLW, mask)
    return _last(last, state_RLW, read_RP, mask)


def _last(layer: Any, state_RLW: Tensor, read_RP: Tensor, mask: Tensor | None) -> Tensor:
    attend = layer.self_attn
    normed_RLW = layer.layer_norm1(state_RLW)
    queries, keys, values = (
        project.unflatten(-1, (-1, attend.head_dim)).transpose(1, 2)
        for project in (attend.q_proj(_at(normed_RLW, read_RP)), attend.k_proj(normed_RLW), attend.v_proj(normed_RLW))
    )
    if mask is not None:
        mask = mask.gather(2, read_RP[:, None, :, None].expand(-1, -1, -1, mask.shape[-1]))
    way = ALL_ATTENTION_FUNCTIONS.get_interface(attend.config._attn_implementation, eager_attention_forward)
    seen, _ = way(attend, queries, keys, values, mask, scaling=attend.scale, dropout=0.0)
    state_RPW = _at(state_RLW, read_RP) + attend.out_proj(seen.reshape(*read_RP.shape, -1))
    return state_RPW + layer.mlp(layer.layer_norm2(state_RPW))  # type: ignore[no-any-return]


def _at(state_RLW: Tensor, read_RP: Tensor) -> Tensor:
    return state_RLW.gather(1, read_RP.unsqueeze(-1).expand(-1, -1, state_RLW.shape[-1]))


def _is_plain(tower: Any) -> bool:
    """Whether nothing but the last layer's output is asked of it, and that is computed as above."""
    if type(tower) not in (CLIPTextModel, CLIPVisionModel) or type(tower.encoder) is not CLIPEncoder:
        return False
    if not tower.encoder.layers:
        return False
    last = tower.encoder.layers[-1]
    if type(last) is not CLIPEncoderLayer or type(last.self_attn) is not CLIPAttention:
        return False
    attend = last.self_attn
    heard = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks
                for m in (tower, tower.encoder, last, attend))  # fmt: skip
    differs = tower.training and (attend.dropout or getattr(last, "gradient_checkpointing", False))
    return attend.config._attn_implementation in ("sdpa", "eager") and not heard and not differs
