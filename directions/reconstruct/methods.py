"""The searches for triggers, by the names that options call them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from .abs_neurons import AbsSearch
from .generated import GeneratorSearch
from .neural_cleanse import NeuralCleanse
from .perturbation import search_additive, search_smooth
from .reconstruction import TriggerSearch
from .subject import Subject
from .tabor import Tabor

Start = Callable[[Subject, int, torch.Generator, float], TriggerSearch]
"""Starts a search for the trigger of a class, given also the bound of what it may change: as a root
mean square where inputs go from 0 to 1, or as a share of the places."""


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


def _unbounded(search: type[NeuralCleanse]) -> Start:
    """Neural Cleanse and its kin find out by themselves how small a patch can be."""
    return lambda subject, target, generator, bound: search(subject, target, generator)


METHODS: Mapping[str, Method] = {
    "generated": Method(GeneratorSearch, 7 / 255, screening=60, steps=120),
    "additive": Method(search_additive, 7 / 255, screening=30, steps=60),
    "smooth": Method(search_smooth, 14 / 255, screening=30, steps=60),
    "neural-cleanse": Method(_unbounded(NeuralCleanse), 1.0, screening=120, steps=200),
    "tabor": Method(_unbounded(Tabor), 1.0, screening=120, steps=200),
    "abs": Method(AbsSearch, 0.02, screening=60, steps=120),
}

AFFORDABLE = ("generated", "additive", "smooth", "neural-cleanse")
"""What "all" means where a model is searched by all methods: the others look for patches,
as `neural-cleanse` does already, and would add as much time as it takes, or more."""
