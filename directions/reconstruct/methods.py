"""The searches for triggers, by the names that options call them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from .generated import GeneratorSearch
from .neural_cleanse import NeuralCleanse
from .perturbation import search_additive, search_smooth
from .reconstruction import TriggerSearch
from .subject import Subject

Start = Callable[[Subject, int, torch.Generator, float], TriggerSearch]
"""Starts a search for the trigger of a class, given also the bound of what it may change, as a root
mean square where inputs go from 0 to 1."""


@dataclass(frozen=True)
class Method:
    """A search for triggers.

    Attributes:
        start: starts it.
        bound: in the screening. With one so small, a clean model cannot be led where one likes in
            so few steps.
        screening: steps in which the classes are compared.
        steps: in all, for a class that stands out.
    """

    start: Start
    bound: float
    screening: int
    steps: int


def _unbounded(
    subject: Subject, target: int, generator: torch.Generator, bound: float
) -> TriggerSearch:
    """Neural Cleanse finds out by itself how small a patch can be."""
    return NeuralCleanse(subject, target, generator)


METHODS: Mapping[str, Method] = {
    "generated": Method(GeneratorSearch, 7 / 255, screening=60, steps=120),
    "additive": Method(search_additive, 7 / 255, screening=30, steps=60),
    "smooth": Method(search_smooth, 14 / 255, screening=30, steps=60),
    "neural-cleanse": Method(_unbounded, 1.0, screening=120, steps=200),
}
