"""The searches for triggers, by the names that options call them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from .generated import search_generated
from .neural_cleanse import NeuralCleanse
from .perturbation import search_additive, search_smooth
from .reconstruction import TriggerSearch
from .subject import Subject

Start = Callable[[Subject, int, torch.Generator], TriggerSearch]
"""Starts a search for the trigger of a class."""


@dataclass(frozen=True)
class Method:
    """A search for triggers.

    Attributes:
        start: starts it.
        screening: steps in which the classes are compared.
        steps: in all, for a class that is suspected.
    """

    start: Start
    screening: int
    steps: int


BOUND = 7 / 255
"""Root mean square of a perturbation, where inputs go from 0 to 1: hardly to be seen. With one so
small, a clean model cannot be led where one likes in the steps of the screening."""

SMOOTH_BOUND = 14 / 255
"""Low frequencies lead less far."""

METHODS: Mapping[str, Method] = {
    "neural-cleanse": Method(NeuralCleanse, screening=80, steps=200),
    "additive": Method(partial(search_additive, bound=BOUND), screening=30, steps=60),
    "smooth": Method(partial(search_smooth, bound=SMOOTH_BOUND), screening=30, steps=60),
    "generated": Method(partial(search_generated, bound=BOUND), screening=60, steps=120),
}
