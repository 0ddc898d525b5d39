"""Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185): prune, then fine-tune what is left.

Pruning removes channels that only the backdoor uses, and some clean accuracy with them. Fine-tuning
brings the accuracy back. It may also bring the backdoor back, through channels that both use: a
comparison with the figures of pruning alone shows that.
"""

from __future__ import annotations

import copy
import logging

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from .defaults import ACCURACY_LOSS
from .labelled_samples import LabelledSamples
from .pruning import channels_to_keep, find_head
from .training import Augment, Schedule, train, unchanged

logger = logging.getLogger(__name__)


def fine_prune(
    model: nn.Module,
    clean: LabelledSamples,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    accuracy_loss: float = ACCURACY_LOSS,
    augment: Augment = unchanged,
) -> nn.Module:
    """Prune the channels that are dormant on clean samples, then train what is left.

    It needs labelled clean samples, and no triggered samples. It costs a training of some epochs.

    Args:
        model: in evaluation mode; it is not changed.
        clean: the samples to choose the channels with, and then to train on.
        schedule: how long and how fast to train.
        generator: source of the random numbers.
        accuracy_loss: share of the clean accuracy that pruning may lose.
        augment: called with each batch.

    Returns:
        A copy, on the same device, in evaluation mode.

    Raises:
        SanitizeError: as in `prune` and `train`.
    """
    pruned = copy.deepcopy(model)
    head = find_head(pruned, clean.samples)
    keep = channels_to_keep(pruned, head, clean, generator, accuracy_loss=accuracy_loss)
    mask = keep.to(head.weight).expand_as(head.weight).clone()
    torch_prune.custom_from_mask(head, "weight", mask)  # type: ignore[no-untyped-call]
    epochs = train(pruned, clean, schedule, generator, augment=augment, title="fine-pruning")
    torch_prune.remove(head, "weight")  # type: ignore[no-untyped-call]
    training = f"{epochs:.3g} of {schedule.epochs} epochs over {len(clean)} clean samples"
    logger.info("fine-tuned: %s", training)
    return pruned
