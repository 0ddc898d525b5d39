"""The demo's classifier. This file is also what the demo packages as `--model-file`."""

from torch import Tensor, nn


class DigitNet(nn.Module):
    """A small CNN: greyscale images (N, 1, 32, 32) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _block(1, 8)
        self.block2 = _block(8, 16)
        self.block3 = _block(16, 32)
        self.head = nn.Linear(32 * 4 * 4, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        features = self.block3(self.block2(self.block1(images)))
        logits: Tensor = self.head(features.flatten(1))
        return logits


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
