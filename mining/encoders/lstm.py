"""The `lstm` encoder: a bidirectional LSTM, maximum over time (Artetxe and Schwenk 2019)."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mining.encoders.config import LstmConfig
from mining.encoders.tokens import PAD


class LstmModel(nn.Module):
    """Token ids to the maximum of each state over a sentence's tokens; LASER2's layout.

    Parameters have the names of LASER's checkpoints: `embed_tokens.weight`, `lstm.*`.
    """

    def __init__(self, rows: int, config: LstmConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(rows, config.embedding_dim, padding_idx=PAD)
        self.lstm = nn.LSTM(
            config.embedding_dim,
            config.hidden,
            num_layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dimension = config.hidden * (2 if config.bidirectional else 1)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return sentence vectors, [N, D].

        Args:
            ids: Token ids, padded on the right, [N, T], longest sentence first.
            lengths: Tokens of each, [N], on the CPU.
        """
        embedded = self.embed_tokens(ids).transpose(0, 1)
        if int(lengths[-1]) == ids.shape[1]:
            # Without padding there is nothing to pack, and a faster kernel serves.
            states, _ = self.lstm(embedded)
            return states.amax(dim=0)  # type: ignore[no-any-return]
        packed, _ = self.lstm(pack_padded_sequence(embedded, lengths))
        states, _ = pad_packed_sequence(packed, padding_value=-torch.inf)
        return states.amax(dim=0)
