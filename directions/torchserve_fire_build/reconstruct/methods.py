"""The searches for triggers, by the names that options use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ..common.registry import Registry
from . import deep_inspect, feature_space, rotation, sinusoidal, warp, wave_scan
from .abs_neurons import AbsSearch
from .generated import GeneratorSearch
from .neural_cleanse import NeuralCleanse
from .perturbation import (
    ADDITIVE_BOUND,
    SMOOTH_BOUND,
    search_additive,
    search_additive_linf,
    search_smooth,
)
from .reconstruction import TriggerSearch
from .rotation import RotationSearch
from .subject import Subject
from .tabor import Tabor

Start = Callable[[Subject, int, torch.Generator, float], TriggerSearch]
"""Starts a search for the trigger of a class. It takes the subject, the class, a source of random
numbers, and the bound of what the trigger may change; `LEVELS` and `SHARE` say what a bound is."""

StartAll = Callable[[Subject, torch.Generator, float], Sequence[TriggerSearch]]
"""Starts the searches of all classes, in their order."""


LEVELS = "levels"
"""The bound is the root mean square of the change, or the largest change of any value, if inputs
range from 0 to 1."""

SHARE = "share"
"""The bound is a share of the places."""


@dataclass(frozen=True)
class SearchMethod:
    """A search for triggers.

    Attributes:
        start: starts the search of one class.
        bound: the bound in the screening. It is so small that, in so few steps, inputs of a clean
            model cannot be led to any class.
        screening: number of steps after which the classes are compared.
        steps: number of steps in all, for a class that stands out.
        start_all: starts the searches of all classes, if these share what they learn; None if each
            class is searched by itself.
        resolution: how much the effort of a class varies from search to search.
        unit: unit of the bound, `LEVELS` or `SHARE`; None if there is no bound to set.
        whole: number of steps after which the screening is complete; further steps are for a single
            class.
        patch: whether the trigger is a patch: it covers one place of the input.
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


def _unbounded(search: type[NeuralCleanse | RotationSearch]) -> Start:
    """Return the start of a search that has no bound."""
    return lambda subject, target, generator, bound: search(subject, target, generator)


def _one_of_all(start_all: StartAll) -> Start:
    """Return the start of the search of one class, taken from the searches of all classes."""
    return lambda subject, target, generator, bound: start_all(subject, generator, bound)[target]


_BUILT_IN: Mapping[str, SearchMethod] = {
    "generated": SearchMethod(GeneratorSearch, 7 / 255, screening=60, steps=120, unit=LEVELS),
    "additive": SearchMethod(search_additive, ADDITIVE_BOUND, screening=30, steps=60, unit=LEVELS),
    # On calibration images of Blended's ConvNeXt, the target stands out with 5, and not with 7.
    "additive-linf": SearchMethod(
        search_additive_linf, 5 / 255, screening=30, steps=60, unit=LEVELS
    ),
    "smooth": SearchMethod(search_smooth, SMOOTH_BOUND, screening=30, steps=60, unit=LEVELS),
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
        # SIG's amplitude is 40, a root mean square of 28. On development images, a victim of SIG
        # and its benign twin differ more with a bound of 40 than with one of 28.
        40 / 255,
        screening=wave_scan.STEPS,
        steps=wave_scan.STEPS + sinusoidal.FURTHER_STEPS,
        start_all=sinusoidal.search_all_classes,
        unit=LEVELS,
        whole=wave_scan.STEPS,
    ),
    warp.NAME: SearchMethod(warp.search_warp, 1.0, screening=30, steps=60),
    rotation.NAME: SearchMethod(
        _unbounded(rotation.RotationSearch),
        1.0,
        screening=len(rotation.DEGREES),
        steps=len(rotation.DEGREES),
    ),
}

SEARCH_METHODS: Registry[SearchMethod] = Registry(
    "torchserve_fire.searches", _BUILT_IN, kind=SearchMethod
)

AFFORDABLE = ("generated", "additive", "smooth", "neural-cleanse")
"""The methods that "all" means. The other methods are left out for one of these reasons. They look
for patches, as `neural-cleanse` does, and would take as much time again, or more. They look for the
same as `generated` (`feature-space`) or `additive` (`additive-linf`). Or they are meant for use
without images (DeepInspect)."""

OTHERWISE = (sinusoidal.NAME, warp.NAME, rotation.NAME)
"""The methods that "all" adds if these find nothing: each searches for a single kind of triggers,
which the others do not find."""
