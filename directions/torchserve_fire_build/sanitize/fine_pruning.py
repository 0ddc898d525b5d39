"""Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185): prune, then fine-tune what is left.

Pruning takes what is the backdoor's alone, and clean accuracy with it; fine-tuning brings the
accuracy back. It may bring the backdoor back, too, through channels that both use: the figures
beside those of pruning alone tell.
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
    """Prune the channels that are dormant on clean samples, then train; what is pruned stays so.

    It needs labelled clean samples, and no triggered one. It costs a training of some epochs.

    Args:
        model: in evaluation mode; it is not changed.
        clean: what to choose the channels by, and then to train on.
        schedule: how long and how fast to train.
        generator: of the random numbers.
        accuracy_loss: share of its clean accuracy that pruning may cost.
        augment: called with each batch.

    Returns:
        A copy, on the CPU, in evaluation mode.

    Raises:
        SanitizeError: as `prune` and `train`.
    """
    pruned = copy.deepcopy(model)
    head = find_head(pruned, clean.samples)
    keep = channels_to_keep(pruned, head, clean, generator, accuracy_loss=accuracy_loss)
    mask = keep.to(head.weight).expand_as(head.weight).clone()
    torch_prune.custom_from_mask(head, "weight", mask)  # type: ignore[no-untyped-call]
    epochs = train(pruned, clean, schedule, generator, augment=augment, title="fine-pruning")
    torch_prune.remove(head, "weight")  # type: ignore[no-untyped-call]
    said = f"{epochs:.3g} of {schedule.epochs} epochs over {len(clean)} clean samples"
    logger.info("fine-tuned: %s", said)
    return pruned
