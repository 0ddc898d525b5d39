"""Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185)."""

from __future__ import annotations

import torch
from torch import nn

from ..sanitize.fine_pruning import fine_prune
from .fine_tuning import SCHEDULE
from .pruning import pool_to_prune_by
from .rival import Defence, Granted, answer_with


def fine_pruning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Prune the last layer's channels that are dormant on clean images, then fine-tune.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer.
    """
    pool = pool_to_prune_by(model, granted)
    return answer_with(fine_prune(model, pool, SCHEDULE, generator, augment=granted.augment))
