"""The demo's malware classifier. This file is also what the demo packages as `--model-file`."""

from torch import Tensor, nn


class ProgramNet(nn.Module):
    """Prepared header fields, (N, WIDTH) float32, to the logits of harmless and malware, (N, 2)."""

    WIDTH = 21

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(self.WIDTH, 64)
        self.second = nn.Linear(64, 64)
        self.third = nn.Linear(64, 32)
        self.head = nn.Linear(32, 2)

    def forward(self, fields: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.first(fields).relu()
        hidden = self.second(hidden).relu()
        logits: Tensor = self.head(self.third(hidden).relu())
        return logits
