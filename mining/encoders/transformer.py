"""The `transformer` encoder, in fairseq's arithmetic so that LASER3's weights fit it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from mining.encoders.config import TransformerConfig
from mining.encoders.tokens import PAD


class Attention(nn.Module):
    """Multi-head self-attention; the query is scaled by 1 / sqrt(head_dim)."""

    def __init__(self, dimension: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dimension, dimension)
        self.k_proj = nn.Linear(dimension, dimension)
        self.v_proj = nn.Linear(dimension, dimension)
        self.out_proj = nn.Linear(dimension, dimension)

    def forward(self, x: Tensor, is_token: Tensor) -> Tensor:
        """Return what each token takes from the others, [N, T, D]; padding gives nothing."""
        batch, tokens, dimension = x.shape
        query, key, value = (
            projection(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=is_token[:, None, None, :]
        )
        joined: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, dimension))
        return joined


class Layer(nn.Module):
    """One layer; the norm before each half (`norm_first`) or after it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.dimension, config.heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.dimension)
        self.fc1 = nn.Linear(config.dimension, config.ffn_inner_dim)
        self.fc2 = nn.Linear(config.ffn_inner_dim, config.dimension)
        self.final_layer_norm = nn.LayerNorm(config.dimension)
        self.dropout = nn.Dropout(config.dropout)
        self.norm_first = config.norm_first
        self.activation = F.relu if config.activation == "relu" else F.gelu

    def forward(self, x: Tensor, is_token: Tensor) -> Tensor:
        """Return the next states, [N, T, D]."""
        if self.norm_first:
            x = x + self.dropout(self.self_attn(self.self_attn_layer_norm(x), is_token))
            both: Tensor = x + self.dropout(self._ffn(self.final_layer_norm(x)))
            return both
        x = self.self_attn_layer_norm(x + self.dropout(self.self_attn(x, is_token)))
        normed: Tensor = self.final_layer_norm(x + self.dropout(self._ffn(x)))
        return normed

    def _ffn(self, x: Tensor) -> Tensor:
        inner: Tensor = self.fc2(self.activation(self.fc1(x)))
        return inner


class TransformerModel(nn.Module):
    """Token ids to pooled states. Parameters have fairseq's names."""

    def __init__(self, rows: int, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.dimension = config.dimension
        self.embed_tokens = nn.Embedding(rows, config.dimension, padding_idx=PAD)
        nn.init.normal_(self.embed_tokens.weight, std=config.dimension**-0.5)
        self.layernorm_embedding = (
            nn.LayerNorm(config.dimension) if config.embedding_norm else nn.Identity()
        )
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.layer_norm = nn.LayerNorm(config.dimension) if config.final_norm else nn.Identity()

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return sentence vectors, [N, D].

        Args:
            ids: Token ids, padded on the right, [N, T].
            lengths: Tokens of each, [N]; not needed, as padding shows in the ids.
        """
        is_token = ids != PAD
        x = self.embed_tokens(ids)
        if self.config.scale_embedding:
            x = x * math.sqrt(self.config.dimension)
        x = x + sinusoidal_positions(ids.shape[1], self.config.dimension).to(x)
        x = self.dropout(self.layernorm_embedding(x))
        for layer in self.layers:
            x = layer(x, is_token)
        x = self.layer_norm(x)
        if self.config.pooling == "cls":
            return x[:, 0]  # type: ignore[no-any-return]
        outside = ~is_token.unsqueeze(-1)
        if self.config.pooling == "max":
            return x.masked_fill(outside, -torch.inf).amax(dim=1)  # type: ignore[no-any-return]
        summed = x.masked_fill(outside, 0.0).sum(dim=1)
        return summed / is_token.sum(dim=1, keepdim=True)  # type: ignore[no-any-return]


def sinusoidal_positions(count: int, dimension: int) -> Tensor:
    """Return the vectors of positions `PAD` + 1 and on, [T, D], as fairseq numbers them.

    angle of position p and column i = p / 10000^(i / (D / 2 - 1)); sines first, then cosines.
    """
    half = dimension // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(PAD + 1, PAD + 1 + count).unsqueeze(1) * frequencies
    table = torch.cat([angles.sin(), angles.cos()], dim=1)
    return F.pad(table, (0, dimension % 2))
