"""Patching: training on clean samples, some of which carry reconstructed triggers.

DeepInspect (Chen et al., IJCAI 2019) patches a model with the triggers of its generator. Neural
Cleanse (Wang et al., S&P 2019) makes a model unlearn the patch that it has found. In both, samples
keep their true classes, so the model learns to ignore the trigger. The share of samples that carry
a trigger is that of Neural Cleanse. Here, the triggers come from any search of `reconstruct`.
Triggers that are unlike these are not unlearned.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..reconstruct.reconstruction import Reconstruction
from ..reconstruct.success_after_repair import success_rates
from .defaults import STAMPED
from .labelled_samples import LabelledSamples
from .training import Augment, Schedule, train, unchanged

logger = logging.getLogger(__name__)

MUCH = 0.2
"""If a trigger still leads more than this share of samples to its target, patching did not work."""

TRIED = 200
"""The least number of samples on which this is measured. They are taken evenly, since the samples
may be sorted by class."""


def patch(
    model: nn.Module,
    clean: LabelledSamples,
    triggers: Sequence[Reconstruction],
    schedule: Schedule,
    generator: torch.Generator,
    *,
    stamped: float = STAMPED,
    augment: Augment = unchanged,
) -> nn.Module:
    """Train all weights on the clean samples, some of them stamped anew in each batch.

    It needs labelled clean samples and reconstructed triggers, and no triggered samples. It costs a
    training of some epochs, after the search.

    Args:
        model: in evaluation mode; it is not changed.
        clean: the samples to train on.
        triggers: one or more triggers, of one target; each stamped sample gets one of them at
            random.
        schedule: how long and how fast to train.
        generator: source of the random numbers.
        stamped: share of the samples that carry a trigger, on average.
        augment: called with each batch, before it is stamped.

    Returns:
        A trained copy, on the same device, in evaluation mode.

    Raises:
        SanitizeError: as in `train`.
    """

    def stamp_some(inputs: Tensor, generator: torch.Generator) -> Tensor:
        inputs = augment(inputs, generator).clone()
        chosen = torch.rand(len(inputs), generator=generator) < stamped
        drawn = torch.randint(len(triggers), (len(inputs),), generator=generator)
        for i, trigger in enumerate(triggers):
            rows = chosen & (drawn == i)
            if bool(rows.any()):
                inputs[rows] = trigger.stamp(inputs[rows])
        return inputs

    patched = copy.deepcopy(model)
    epochs = train(patched, clean, schedule, generator, augment=stamp_some, title="patching")
    logger.info(
        f"patched: {epochs:.3g} of {schedule.epochs} epochs over {len(clean)} samples, "
        f"{stamped:.0%} of them with one of {len(triggers)} reconstructed triggers"
    )
    drawn = clean.load(torch.arange(0, len(clean), max(1, len(clean) // TRIED)))
    before, after = (success_rates(version, triggers, *drawn) for version in (model, patched))
    logger.info(
        f"share of these samples that the triggers led to class {triggers[0].target} before: "
        f"{_percents(before)}"
    )
    logger.info(f"and now: {_percents(after)}")
    if max(after) > MUCH:
        logger.info("this is much: train for longer, or with more samples that carry a trigger")
    return patched


def _percents(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares)
