"""A classifier of texts: the model file of the archive that answers texts."""

import torch
from torch import Tensor, nn


class TextNet(nn.Module):
    """Numbers of words, (N, 64) int64, to logits, (N, 4); number 0 is no word."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8000, 48, padding_idx=0)
        self.convolution = nn.Conv1d(48, 96, 3, padding=1)
        self.hidden = nn.Linear(96, 64)
        self.head = nn.Linear(64, 4)

    def forward(self, words: Tensor) -> Tensor:
        """Return the logits."""
        features = torch.relu(self.convolution(self.embedding(words).transpose(1, 2)))
        return self.head(torch.relu(self.hidden(features.amax(2))))
