"""What a method found out about a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.budget import Budget
from ..samples.samples import Samples

THRESHOLD = 2.0
"""Anomaly index from which on a class is an outlier, as in Neural Cleanse."""


@dataclass(frozen=True)
class Inspection:
    """The result of one method.

    A method either compares the classes with each other (`index`), or judges the model as a whole
    (`told`). Where it could do neither, both are None, and `notes` says why.

    Attributes:
        method: its name.
        index: anomaly index of each class, (classes,) float64: by how many MADs it lies on the
            suspicious side of the median. See `anomaly_index`.
        threshold: a class whose index is larger is a suspect.
        told: whether the model as a whole looks backdoored.
        pictures: something to look at for each class, (classes, C, H, W) or (classes, H, W)
            float32; None where there is nothing.
        notes: what a person should know of this result, as lines.
    """

    method: str
    index: Tensor | None = None
    threshold: float = THRESHOLD
    told: bool | None = None
    pictures: Tensor | None = None
    notes: tuple[str, ...] = ()

    @property
    def suspects(self) -> list[int]:
        """The classes whose index exceeds the threshold, the most suspicious first."""
        if self.index is None:
            return []
        order = self.index.argsort(descending=True).tolist()
        return [c for c in order if float(self.index[c]) > self.threshold]

    @property
    def found(self) -> bool | None:
        """Whether the model looks backdoored; None where the method could not tell."""
        return self.told if self.index is None else bool(self.suspects)


Inspect = Callable[[nn.Module, Samples, int, torch.Generator, Budget], Inspection]
"""Inspects a model, given clean samples, the number of classes, random numbers and a time limit.

The model is in evaluation mode and is left as it is. When the budget is spent, the method returns
the best it has so far, or an inspection that could not tell. It raises a CalibrationError where the
model or the samples do not allow of it.
"""
