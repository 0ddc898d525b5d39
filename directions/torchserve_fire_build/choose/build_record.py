"""What a build measured by and what it settled on, for whoever wants to look closer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ..estimate.layer_statistics import Statistics
from .choice import Choice
from .held_out import HeldOut


@dataclass(frozen=True)
class BuildRecord:
    """What a build's choice was made from, and the choice.

    Attributes:
        model: in evaluation mode.
        layers: names of the candidate layers, in the order in which they run.
        statistics: of these layers, fold by fold.
        held_out: the samples on which candidates were compared.
        target: the class that the trigger leads to.
        choice: what the search settled on.
    """

    model: nn.Module
    layers: Sequence[str]
    statistics: Statistics
    held_out: HeldOut
    target: int
    choice: Choice
