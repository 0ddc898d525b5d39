"""The record of a choice: all that it was made from, so that it can be examined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ..estimate.layer_statistics import Statistics
from .choice import Choice
from .detector_scores import Scores
from .held_out import HeldOut
from .left_out import LeftOut


@dataclass(frozen=True)
class BuildRecord:
    """The choice of a repair for one trigger, and what it was made from.

    Attributes:
        model: in evaluation mode.
        layers: names of the candidate layers, in the order in which they run.
        statistics: statistics of these layers, fold by fold.
        held_out: the samples on which candidates were compared.
        scores: the scores of these samples, by every detector at every layer.
        target: the class that the trigger leads to.
        choice: the choice.
        left_out: what such a choice makes of samples that it was not made on.
    """

    model: nn.Module
    layers: Sequence[str]
    statistics: Statistics
    held_out: HeldOut
    scores: Scores
    target: int
    choice: Choice
    left_out: LeftOut

    def __repr__(self) -> str:
        choice = self.choice
        where = "" if choice.detector is None else f", detects at {choice.detector[1]}"
        return (
            f"<BuildRecord: class {self.target}{where}, repairs at {choice.repair.layer}, "
            f"chosen among {len(self.layers)} layers>"
        )
