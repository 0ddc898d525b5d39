"""The searches for triggers, by the names that options call them by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ..common.registry import Registry
from . import deep_inspect, feature_space, sinusoidal, wave_scan
from .abs_neurons import AbsSearch
from .generated import GeneratorSearch
from .neural_cleanse import NeuralCleanse
from .perturbation import search_additive, search_additive_linf, search_smooth
from .reconstruction import TriggerSearch
from .subject import Subject
from .tabor import Tabor

Start = Callable[[Subject, int, torch.Generator, float], TriggerSearch]
"""Starts a search for the trigger of a class, given also the bound of what it may change: as a root
mean square, or the largest change, where inputs go from 0 to 1; or as a share of the places."""

StartAll = Callable[[Subject, torch.Generator, float], Sequence[TriggerSearch]]
"""Likewise for all classes, in their order."""


LEVELS = "levels"
"""A bound that is a root mean square of what is changed, or the largest change of any value, where
inputs go from 0 to 1."""

SHARE = "share"
"""A bound that is a share of the places."""


@dataclass(frozen=True)
class SearchMethod:
    """A search for triggers.

    Attributes:
        start: starts it.
        bound: in the screening. With one so small, a clean model cannot be led where one likes in
            so few steps.
        screening: steps in which the classes are compared.
        steps: in all, for a class that stands out.
        start_all: starts the searches of all classes, where they share what they learn; None where
            each class is searched by itself.
        resolution: by how much the effort of a class differs from one search to the next.
        unit: of the bound: `LEVELS` or `SHARE`; None where there is none to set.
        whole: steps after which the screening is complete: further ones serve a class alone.
        patch: what it finds lies at one place, from where it covers what an input shows.
    """

    start: Start
    bound: float
    screening: int
    steps: int
    start_all: StartAll | None = None
    resolution: float = 0.0
    unit: str | None = None
    whole: float = math.inf
    patch: bool = False


def _unbounded(search: type[NeuralCleanse]) -> Start:
    """Neural Cleanse and its kin find out by themselves how small a patch can be."""
    return lambda subject, target, generator, bound: search(subject, target, generator)


def _one_of_all(start_all: StartAll) -> Start:
    """Where all classes are searched at once, the search of one class is one of theirs."""
    return lambda subject, target, generator, bound: start_all(subject, generator, bound)[target]


_BUILT_IN: Mapping[str, SearchMethod] = {
    "generated": SearchMethod(GeneratorSearch, 7 / 255, screening=60, steps=120, unit=LEVELS),
    "additive": SearchMethod(search_additive, 7 / 255, screening=30, steps=60, unit=LEVELS),
    # On calibration images of Blended's ConvNeXt the target stands out by this, and not by 7.
    "additive-linf": SearchMethod(
        search_additive_linf, 5 / 255, screening=30, steps=60, unit=LEVELS
    ),
    "smooth": SearchMethod(search_smooth, 14 / 255, screening=30, steps=60, unit=LEVELS),
    "neural-cleanse": SearchMethod(
        _unbounded(NeuralCleanse), 1.0, screening=120, steps=200, patch=True
    ),
    "tabor": SearchMethod(_unbounded(Tabor), 1.0, screening=120, steps=200, patch=True),
    "abs": SearchMethod(AbsSearch, 0.02, screening=60, steps=120, unit=SHARE, patch=True),
    deep_inspect.NAME: SearchMethod(
        _one_of_all(deep_inspect.search_all_classes),
        1.0,
        screening=300,
        steps=400,
        start_all=deep_inspect.search_all_classes,
        resolution=deep_inspect.RESOLUTION,
    ),
    feature_space.NAME: SearchMethod(
        _one_of_all(feature_space.search_all_classes),
        7 / 255,
        screening=60,
        steps=120,
        start_all=feature_space.search_all_classes,
        unit=LEVELS,
    ),
    sinusoidal.NAME: SearchMethod(
        _one_of_all(sinusoidal.search_all_classes),
        # On development images of a victim of SIG (an amplitude of 40, which is a root mean square
        # of 28) and of its benign twin, these lie further apart than with 28.
        40 / 255,
        screening=wave_scan.STEPS,
        steps=wave_scan.STEPS + sinusoidal.FURTHER_STEPS,
        start_all=sinusoidal.search_all_classes,
        unit=LEVELS,
        whole=wave_scan.STEPS,
    ),
}

SEARCH_METHODS: Registry[SearchMethod] = Registry("torchserve_fire.searches", _BUILT_IN)

AFFORDABLE = ("generated", "additive", "smooth", "neural-cleanse")
"""What "all" means where a model is searched by all methods: the others look for patches,
as `neural-cleanse` does already, and would add as much time as it takes, or more; search for what
`generated` does (`feature-space`) or `additive` (`additive-linf`); or are for where there are no
images (DeepInspect)."""

OTHERWISE = (sinusoidal.NAME,)
"""What "all" means besides, where these find nothing: what searches for triggers of one kind alone,
which the others do not find."""
