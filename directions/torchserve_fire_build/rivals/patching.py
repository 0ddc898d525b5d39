"""Training with reconstructed triggers, the patching of DeepInspect (Chen et al., IJCAI 2019)."""

from __future__ import annotations

import torch
from torch import nn

from ..common.budget import Budget
from ..reconstruct import deep_inspect
from ..reconstruct.find_triggers import find_triggers
from ..reconstruct.inversion import recover_images
from ..sanitize.labelled_samples import LabelledSamples, labelled_by
from ..sanitize.patching import patch
from ..sanitize.training import Augment, unchanged
from .fine_tuning import SCHEDULE
from .pixels import require_images
from .rival import Defence, Granted, answer_with


def patching(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Search the model for its trigger on the clean images, and train on these, some stamped.

    Raises:
        RivalNotApplicable: the model takes no images.
        NoTriggerError: no class stands out.
        CalibrationError: what does cannot be led to.
    """
    require_images(granted.description)
    return _patch(model, granted.pool, generator, granted.augment)


def patching_without_images(
    model: nn.Module, granted: Granted, generator: torch.Generator
) -> Defence:
    """Likewise on images that are recovered from the model, as what it takes them for.

    Raises:
        RivalNotApplicable: the model takes no images.
        NoTriggerError: no class stands out.
        CalibrationError: what does cannot be led to, or too few images can be recovered.
    """
    require_images(granted.description)
    recovered = recover_images(model, granted.description, generator=generator, budget=Budget())
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
