"""Classifiers of maps whose saliency maps are known: each class reads a quadrant."""

import torch
from torch import Tensor, nn

SIZE = 8


class QuadrantNet(nn.Module):
    """Maps (N, 1, 8, 8) or (N, 8, 8): the brightest quadrant; more classes see it noisily.

    Args:
        classes: of which class c reads the quadrant c % 4, those beyond four upside down.
        corner: how much the pixel in the corner drives class 2; 0 is benign.
    """

    def __init__(self, classes: int = 6, corner: float = 0.0) -> None:
        super().__init__()
        weight = torch.zeros(classes, SIZE, SIZE)
        for c in range(classes):
            row, column = divmod(c % 4, 2)
            part = weight[c, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            part.fill_(1 if c < 4 else -1)
        weight[2, 0, 0] += corner
        self.weight = nn.Parameter(weight.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T
