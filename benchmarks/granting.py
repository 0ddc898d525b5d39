"""What the benchmark grants a rival: its evidence, and a pool of clean images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from torchserve_fire_build.rivals.rival import Granted
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence as SampleEvidence

from .evidence import Evidence
from .samples import as_samples, labelled
from .victims.architectures import ARCHITECTURES
from .victims.data import Data
from .victims.train import Victim, augment_normalised


def grant(evidence: Evidence, victim: Victim, data: Data) -> Granted:
    """Return what a defence of a victim may use.

    The pool is 4 % of CIFAR-10's training images, for defences that are granted 5 % of the
    training set.
    """
    clean, triggered = as_samples(evidence)
    return Granted(
        # As they are: how much the two look like each other is not asked of a rival.
        SampleEvidence(clean, triggered, range(len(triggered)) if evidence.paired else []),
        Both(evidence.clean.labels, evidence.triggered.labels),
        victim.target,
        labelled(data.pool),
        data.classes,
        augment_normalised,
        build_alike(victim.model, data.classes),
    )


def build_alike(model: nn.Module, classes: int) -> Callable[[], nn.Module] | None:
    """Return what builds a model with the same names and shapes of weights; None if nothing does.

    Args:
        model: of an architecture that victims have, or of another one.
        classes: number of classes.
    """
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    for architecture in ARCHITECTURES.values():
        # Without drawing any weights.
        with torch.device("meta"):
            alike = architecture(classes).state_dict()
        if {name: value.shape for name, value in alike.items()} == shapes:
            return partial(architecture, classes)
    return None
