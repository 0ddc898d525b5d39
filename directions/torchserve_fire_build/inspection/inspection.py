"""The result of a method that inspected a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.budget import Budget
from ..samples.samples import Samples

THRESHOLD = 2.0
"""A class with a higher anomaly index is an outlier, as in Neural Cleanse."""

MAX_CLASSES = 40
"""The most classes that are drawn; of more, the most suspicious ones are."""


@dataclass(frozen=True)
class Inspection:
    """The result of one method.

    A method either compares the classes with each other (`index`), or judges the model as a whole
    (`backdoored`), which may come with a probability for each class. If it could do neither, all
    are None, and `notes` says why.

    Attributes:
        method: name of the method.
        index: anomaly index of each class, (classes,) float64: how many MADs the class lies from
            the median, on the suspicious side. See `anomaly_index`.
        threshold: a class with a higher index, or at least this probability, is a suspect.
        backdoored: whether the model as a whole looks backdoored; None if the method compares
            classes, or could not tell.
        probabilities: that each class is the target of a backdoor, (classes,) float64; None if the
            method computes none.
        probability: that the model is backdoored; None if the method computes none.
        pictures: a picture for each class, (classes, C, H, W) or (classes, H, W) float32; None
            without pictures.
        pictured: the classes of the pictures, if these are not of all classes.
        triggers: what was found of triggers that no picture shows, as JSON values.
        notes: lines that explain this result.
    """

    method: str
    index: Tensor | None = None
    threshold: float = THRESHOLD
    backdoored: bool | None = None
    probabilities: Tensor | None = None
    probability: float | None = None
    pictures: Tensor | None = None
    pictured: Sequence[int] | None = None
    triggers: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()

    @property
    def suspects(self) -> list[int]:
        """The suspects, the one with the highest index or probability first."""
        values, least = self.index, self.threshold
        if self.probabilities is not None:
            # A probability of just the threshold is enough.
            values, least = self.probabilities, math.nextafter(least, 0)
        if values is None:
            return []
        order = values.argsort(descending=True, stable=True).tolist()
        return [c for c in order if float(values[c]) > least]

    @property
    def found(self) -> bool | None:
        """Whether the model looks backdoored; None if the method could not tell."""
        return self.backdoored if self.index is None else bool(self.suspects)


Inspect = Callable[[nn.Module, Samples, int, torch.Generator, Budget], Inspection]
"""Inspects a model. It takes the model, clean samples, the number of classes, random numbers and a
time limit.

The model is in evaluation mode and is not changed. When the budget is spent, the method returns its
best result so far, or one that could not tell. It raises a CalibrationError if the model or the
samples do not allow the inspection.
"""
