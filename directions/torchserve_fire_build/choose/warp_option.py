"""The option to undo a trigger that moves the model's input: a turn, a flip, a warp."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from torchserve_fire.format.bundle import INPUT_LAYER, Layer
from torchserve_fire.format.correction_forms import Warp

from ..estimate.warp import estimate_warp
from ..samples.evidence import Evidence
from ..samples.folds import FOLDS
from .options import Option

MAX_NUMBERS = 2**18
"""The most numbers in the inputs that are registered, of each kind: a warp has few parameters."""

MIN_SAMPLES = 8
"""The fewest pairs, whatever numbers they hold."""


def warp_option(features: Option, evidence: Evidence, use: Tensor, folds: Tensor) -> Option | None:
    """Estimate a warp, to undo it in what the repair by features detects.

    Args:
        features: how the trigger is detected, and repaired by features.
        evidence: pairs of maps (C, H, W).
        use: which triggered samples to estimate from, (M,) bool.
        folds: the fold of each triggered sample, (M,) int64.

    Returns:
        None if the trigger moves nothing, or is detected nowhere.
    """
    if not any(layer.detection for layer in features.layers):
        return None
    rows = use.nonzero().flatten()
    shape = evidence.clean.description.shape
    most = max(MIN_SAMPLES, MAX_NUMBERS // math.prod(shape))
    clean, triggered = _load(evidence, rows[:most])
    whole = estimate_warp(clean, triggered)
    if whole is None:
        return None
    of_folds = []
    for fold in range(FOLDS):
        warp = estimate_warp(*_load(evidence, rows[folds[rows] != fold][:most]))
        if warp is None:
            return None
        of_folds.append(_layers(features.of_folds[fold], shape, warp))
    return Option(
        [
            *(line for line in features.description if line.startswith("detects")),
            "repairs: the model's input (warp)",
        ],
        _layers(features.layers, shape, whole),
        of_folds,
    )


def _layers(features: tuple[Layer, ...], shape: tuple[int, ...], warp: Warp) -> tuple[Layer, ...]:
    """Return the layers that detect, and the model's input, which repairs."""
    detecting = [replace(layer, correction=None) for layer in features if layer.detection]
    return (*detecting, Layer(INPUT_LAYER, shape, correction=warp))


def _load(evidence: Evidence, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the clean partners of triggered samples, and these, (n, C, H, W) each."""
    indices = rows.tolist()
    partners = [evidence.partners[i] for i in indices]
    return evidence.clean.load(partners), evidence.triggered.load(indices)
