"""The record of a choice: what it was made from, for whoever wants to look closer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ..estimate.layer_statistics import Statistics
from .choice import Choice
from .detector_scores import Scores
from .held_out import HeldOut


@dataclass(frozen=True)
class BuildRecord:
    """What the repair of one trigger was chosen from, and the choice.

    Attributes:
        model: in evaluation mode.
        layers: names of the candidate layers, in the order in which they run.
        statistics: of these layers, fold by fold.
        held_out: the samples on which candidates were compared.
        scores: of these samples, by every detector at every layer.
        target: the class that the trigger leads to.
        choice: what the search settled on.
    """

    model: nn.Module
    layers: Sequence[str]
    statistics: Statistics
    held_out: HeldOut
    scores: Scores
    target: int
    choice: Choice

    def __repr__(self) -> str:
        choice = self.choice
        where = "" if choice.detector is None else f", detects at {choice.detector[1]}"
        return (
            f"<BuildRecord: class {self.target}{where}, repairs at {choice.repair.layer}, "
            f"chosen among {len(self.layers)} layers>"
        )
