"""Fine-tuning on clean samples, as BackdoorBench (Wu et al. 2022, arXiv 2206.12654) does it.

A model that is trained on clean data alone forgets a trigger, more or less. Attacks whose traces
are spread over many weights resist this.
"""

from __future__ import annotations

import copy
import logging

import torch
from torch import nn

from .labelled_samples import LabelledSamples
from .training import Augment, Schedule, train, unchanged

logger = logging.getLogger(__name__)


def fine_tune(
    model: nn.Module,
    clean: LabelledSamples,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    augment: Augment = unchanged,
) -> nn.Module:
    """Train all weights on the clean samples.

    It needs as many labelled clean samples as are available (in the paper, 5 % of the training
    set), and no triggered samples. It costs a training of some epochs.

    Args:
        model: in evaluation mode; it is not changed.
        clean: the samples to train on.
        schedule: how long and how fast to train.
        generator: source of the random numbers.
        augment: called with each batch.

    Returns:
        A trained copy, on the same device, in evaluation mode.

    Raises:
        SanitizeError: as in `train`.
    """
    tuned = copy.deepcopy(model)
    epochs = train(tuned, clean, schedule, generator, augment=augment, title="fine-tuning")
    training = f"{epochs:.3g} of {schedule.epochs} epochs over {len(clean)} clean samples"
    logger.info("fine-tuned: %s", training)
    return tuned
