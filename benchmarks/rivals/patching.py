"""Training with reconstructed triggers, the patching of DeepInspect (Chen et al., IJCAI 2019)."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.samples import labelled
from benchmarks.victims.train import augment_normalised
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct import deep_inspect
from torchserve_fire_build.reconstruct.find_triggers import find_triggers
from torchserve_fire_build.reconstruct.inversion import recover_images
from torchserve_fire_build.sanitize.labelled_samples import LabelledSamples, labelled_by
from torchserve_fire_build.sanitize.patching import patch
from torchserve_fire_build.sanitize.training import Augment, unchanged

from .fine_tuning import SCHEDULE
from .rival import Defence, Granted, answer_with


def patching(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Search the model for its trigger on the clean images, and train on these, some stamped.

    Raises:
        NoTriggerError: no class stands out.
        CalibrationError: what does cannot be led to.
    """
    return _patch(model, labelled(granted.pool), generator, augment_normalised)


def patching_without_images(
    model: nn.Module, granted: Granted, generator: torch.Generator
) -> Defence:
    """Likewise on images that are recovered from the model, as what it takes them for.

    Raises:
        NoTriggerError: no class stands out.
        CalibrationError: what does cannot be led to, or too few images can be recovered.
    """
    description = labelled(granted.pool).samples.description
    recovered = recover_images(model, description, generator=generator, budget=Budget())
    # What these images show is not known to be the same in a mirror.
    return _patch(model, labelled_by(model, recovered), generator, unchanged)


def _patch(
    model: nn.Module, clean: LabelledSamples, generator: torch.Generator, augment: Augment
) -> Defence:
    found = find_triggers(
        model,
        clean.samples,
        clean.samples.description,
        methods=[deep_inspect.NAME],
        target=None,
        seed=generator.initial_seed(),
        budget=Budget(),
    )
    return answer_with(patch(model, clean, found.every, SCHEDULE, generator, augment=augment))
