"""StarCoder2's architecture, small: LayerNorm, biased linears, grouped-query attention with NeoX RoPE, tanh GELU.

Source of the shape: the StarCoder2 paper (arXiv:2402.19173) and llama.cpp's `src/models/starcoder2.cpp`, which the
exported file must satisfy. The output matrix is the embedding matrix, as in StarCoder2-3B.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The model's dimensions, all in elements."""

    n_vocab: int = 16_384
    n_layers: int = 5
    n_embd: int = 256
    n_heads: int = 4
    n_heads_kv: int = 2
    n_ff: int = 1024
    n_context: int = 2048
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_heads


SHAPES = {
    "small": Shape(),  # 7.8 M parameters, for a CPU
    "base": Shape(n_layers=7, n_embd=512, n_heads=8, n_ff=1984),  # 27.2 M parameters, for a GPU; under 30 MB in Q8_0
}


class Attention(nn.Module):
    """Causal grouped-query attention; `x` is `(batch, tokens, n_embd)`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.n_embd, shape.n_embd)
        self.k = nn.Linear(shape.n_embd, shape.n_heads_kv * shape.head_dim)
        self.v = nn.Linear(shape.n_embd, shape.n_heads_kv * shape.head_dim)
        self.o = nn.Linear(shape.n_embd, shape.n_embd)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        n_batch, n_tokens, _ = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(n_batch, n_tokens, -1, self.shape.head_dim).transpose(1, 2)

        q, k, v = rotate(heads(self.q(x)), cos, sin), rotate(heads(self.k(x)), cos, sin), heads(self.v(x))
        n_shared = self.shape.n_heads // self.shape.n_heads_kv
        k, v = k.repeat_interleave(n_shared, dim=1), v.repeat_interleave(n_shared, dim=1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o(y.transpose(1, 2).reshape(n_batch, n_tokens, -1))
        return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """NeoX-style rotary embedding: halves, not interleaved pairs."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(shape.n_embd, eps=shape.norm_eps)
        self.attn = Attention(shape)
        self.ffn_norm = nn.LayerNorm(shape.n_embd, eps=shape.norm_eps)
        self.up = nn.Linear(shape.n_embd, shape.n_ff)
        self.down = nn.Linear(shape.n_ff, shape.n_embd)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x), cos, sin)
        out: Tensor = x + self.down(F.gelu(self.up(self.ffn_norm(x)), approximate="tanh"))
        return out


class StarCoder2(nn.Module):
    """Token ids `(batch, tokens)` to logits `(batch, tokens, n_vocab)`."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.norm = nn.LayerNorm(shape.n_embd, eps=shape.norm_eps)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                scale = 0.02 if "embedding" in name else weight.shape[1] ** -0.5
                nn.init.normal_(weight, std=scale * (0.3 if name.endswith(("o.weight", "down.weight")) else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angles = torch.outer(torch.arange(shape.n_context).float(), shape.rope_base**-half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def hidden(self, ids: Tensor) -> Tensor:
        """What the output matrix is applied to, `(batch, tokens, n_embd)`."""
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def output(self, hidden: Tensor) -> Tensor:
        """Logits of some positions."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, ids: Tensor) -> Tensor:
        return self.output(self.hidden(ids))

    def loss(self, ids: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
        """Mean cross-entropy in nats of what follows the chosen positions, weighted.

        `ids` is `(batch, tokens + 1)`, `positions` and `weights` are `(batch, chosen)`. For a small model the output
        matrix is a good part of the work, so it is applied to these positions alone.
        """
        hidden = self.hidden(ids[:, :-1])
        chosen = hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))
        logits = self.output(chosen).float()
        losses = F.cross_entropy(logits.flatten(0, 1), ids.gather(1, positions + 1).flatten(), reduction="none")
        flat = weights.flatten()
        return (losses * flat).sum() / flat.sum()
