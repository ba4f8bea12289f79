"""One token at a time, as cheaply as two cores allow.

Writing a token reads every weight once, so what counts is how many bytes they are. Here the
adapters of one task are merged into the weights, which are then held in 8 bits per output channel
on a CPU (dense elsewhere), query, key and value as one product and gate and up as one. The layers
are written out for the Llama family; `supports` says whether a backbone is one.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from ckf_demo.backbone.multilora import MultiLora, Route


class Dense:
    """x (1, in) → (1, out)."""

    def __init__(self, weight: Tensor):
        self.weight = weight

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


class Int8:
    """The same with 8-bit weights, one scale per output channel, for a CPU.

    Products are of bf16, whose kernel is the fast one also where the rest is float32.
    """

    def __init__(self, weight: Tensor):
        scale = weight.float().abs().amax(1).clamp(min=1e-12) / 127
        self.weight = (weight.float() / scale[:, None]).round().to(torch.int8)
        self.scale = scale.to(torch.bfloat16)

    def __call__(self, x: Tensor) -> Tensor:
        out = torch._weight_int8pack_mm(x.to(torch.bfloat16), self.weight, self.scale)
        return out.to(x.dtype)


Weight = Dense | Int8


@dataclass(frozen=True)
class Layer:
    """One decoder layer with merged weights."""

    norm_attention: Tensor
    qkv: Weight
    out: Weight
    norm_mlp: Tensor
    gate_up: Weight
    down: Weight


def supports(model: PreTrainedModel) -> bool:
    """Whether the layers are those written out here: Llama's, without biases."""
    config = model.config
    return (
        config.model_type == "llama"
        and config.hidden_act == "silu"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
    )


def cached(cache: DynamicCache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of a filled cache: per layer (1, heads, n, head size)."""
    layers = cast(list[DynamicLayer], cache.layers)
    return [(cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers]


class Decoder:
    """Weights for decoding in one task, `Int8` or `Dense`.

    Building it applies every weight to the identity, adapters included, so it costs about as much
    as a long prompt, once per task.
    """

    @torch.inference_mode()
    def __init__(self, lora: MultiLora, task: str, *, eight_bit: bool):
        model = lora.model
        config = model.config
        self.rotary, self.epsilon = model.model.rotary_emb, config.rms_norm_eps
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.scaling = self.size**-0.5
        self.embed = cast(nn.Embedding, model.get_input_embeddings()).weight
        self.dtype, self.device = self.embed.dtype, self.embed.device
        hold = Int8 if eight_bit else Dense
        self.layers: list[Layer] = []
        with lora.routing(Route(task=task)):
            for layer in model.model.layers:
                attention, mlp = layer.self_attn, layer.mlp
                self.layers.append(
                    Layer(
                        layer.input_layernorm.weight,
                        hold(self._merged(attention.q_proj, attention.k_proj, attention.v_proj)),
                        hold(self._merged(attention.o_proj)),
                        layer.post_attention_layernorm.weight,
                        hold(self._merged(mlp.gate_proj, mlp.up_proj)),
                        hold(self._merged(mlp.down_proj)),
                    )
                )
        self.norm = model.model.norm.weight
        self.head = hold(cast(nn.Linear, model.get_output_embeddings()).weight)
        self.sign = torch.ones(self.size, dtype=self.dtype, device=self.device)
        self.sign[: self.size // 2] = -1

    def _merged(self, *projections: nn.Linear) -> Tensor:
        """Weights (Σ out, in) of projections of the same input, with what adapters add to them."""
        identity = torch.eye(projections[0].in_features, dtype=self.dtype, device=self.device)
        return torch.cat([p(identity[None])[0].T for p in projections]).contiguous()


class Writing:
    """A text in the making: keys and values so far, with room for further tokens, in place.

    It begins behind a filled cache (batch of one).
    """

    def __init__(self, decoder: Decoder, cache: DynamicCache, room: int):
        self.decoder, self.length = decoder, cache.get_seq_length()
        end = self.length + room
        shape = (len(decoder.layers), decoder.groups, end, decoder.size)
        self.keys = torch.zeros(shape, dtype=decoder.dtype, device=decoder.device)
        self.values = torch.zeros_like(self.keys)
        for index, (keys, values) in enumerate(cached(cache)):
            self.keys[index, :, : self.length] = keys[0]
            self.values[index, :, : self.length] = values[0]
        positions = torch.arange(self.length, end, device=decoder.device)[None]
        cos, sin = decoder.rotary(decoder.embed[:1, None], positions)
        self.cos, self.sin, self.begun = cos[0], sin[0] * decoder.sign, self.length

    def __call__(self, token: int) -> Tensor:
        """Append a token; output logits (V,) for the next."""
        d = self.decoder
        x = d.embed[token][None]
        place = self.length - self.begun
        cos, sin, end = self.cos[place], self.sin[place], self.length + 1
        width = (d.heads + d.groups) * d.size
        for index, layer in enumerate(d.layers):
            joint = layer.qkv(F.rms_norm(x, x.shape[-1:], layer.norm_attention, d.epsilon))
            turned = joint[0, :width].view(-1, d.size)
            turned = turned * cos + turned.roll(d.size // 2, -1) * sin
            self.keys[index, :, self.length] = turned[d.heads :]
            self.values[index, :, self.length] = joint[0, width:].view(-1, d.size)
            query = turned[: d.heads].view(d.groups, -1, d.size) * d.scaling
            scores = torch.bmm(query, self.keys[index, :, :end].transpose(1, 2))
            seen = torch.bmm(scores.softmax(-1), self.values[index, :, :end])
            x = x + layer.out(seen.view(1, -1))
            both = layer.gate_up(F.rms_norm(x, x.shape[-1:], layer.norm_mlp, d.epsilon))
            gate, up = both.chunk(2, -1)
            x = x + layer.down(F.silu(gate) * up)
        self.length = end
        return d.head(F.rms_norm(x, x.shape[-1:], d.norm, d.epsilon))[0]
