"""Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185)."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.samples import labelled
from benchmarks.victims.train import augment_normalised
from directions.errors import SanitizeError
from directions.sanitize.fine_pruning import fine_prune
from directions.sanitize.pruning import find_head

from .fine_tuning import SCHEDULE
from .rival import Defence, Granted, RivalNotApplicable, answer_with


def fine_pruning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Prune the last layer's channels that are dormant on clean images, then fine-tune.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer.
    """
    pool = labelled(granted.pool)
    try:
        find_head(model, pool.samples)
    except SanitizeError as error:
        raise RivalNotApplicable(str(error)) from None
    return answer_with(fine_prune(model, pool, SCHEDULE, generator, augment=augment_normalised))
