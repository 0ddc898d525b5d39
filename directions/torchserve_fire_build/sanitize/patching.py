"""Patching: training on clean samples, some of which carry reconstructed triggers.

DeepInspect (Chen et al., IJCAI 2019) patches a model with what its generator of triggers makes, and
Neural Cleanse (Wang et al., S&P 2019) has a model unlearn the patch that it has found: in both, the
samples keep their true classes, so that the trigger comes to mean nothing. From Neural Cleanse is
the share of samples that carry one. Here the triggers are of any search of
`reconstruct`; what they are not, the training does not reach.
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
"""Share of samples that a trigger still leads to its target, where the patching has not worked."""

TRIED = 200
"""Samples to see on, at least, where the triggers lead; they may be in order of their classes."""


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

    It needs labelled clean samples, and triggers that were searched for; no triggered sample. It
    costs a training of some epochs, after the search.

    Args:
        model: in evaluation mode; it is not changed.
        clean: what to train on.
        triggers: one or more, of one target; a sample that is stamped gets one of them, drawn at
            random.
        schedule: how long and how fast to train.
        generator: of the random numbers.
        stamped: share of the samples that carry a trigger, on average.
        augment: called with each batch, before it is stamped.

    Returns:
        A trained copy, on the CPU, in evaluation mode.

    Raises:
        SanitizeError: as `train`.
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
    some = clean.load(torch.arange(0, len(clean), max(1, len(clean) // TRIED)))
    before, after = (success_rates(each, triggers, *some) for each in (model, patched))
    logger.info(
        f"of these samples, the triggers led so many to class {triggers[0].target}: "
        f"{_percents(before)}"
    )
    logger.info(f"and now: {_percents(after)}")
    if max(after) > MUCH:
        logger.info("which is much: train for longer, or with more samples that carry one")
    return patched


def _percents(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.0%}" for share in shares)
