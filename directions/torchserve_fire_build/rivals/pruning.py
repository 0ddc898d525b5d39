"""The pruning half of Fine-Pruning (Liu et al., RAID 2018, arXiv 1805.12185), without training."""

from __future__ import annotations

import torch
from torch import nn

from ..common.errors import SanitizeError
from ..sanitize.labelled_samples import LabelledSamples
from ..sanitize.pruning import find_head, prune
from .rival import Defence, Granted, RivalNotApplicable, answer_with


def pruning(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Prune the last layer's channels that are dormant on clean images.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer.
    """
    return answer_with(prune(model, pool_to_prune_by(model, granted), generator))


def pool_to_prune_by(model: nn.Module, granted: Granted) -> LabelledSamples:
    """Return the clean images that say which channels are dormant.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer, whose inputs are pruned.
    """
    try:
        find_head(model, granted.pool.samples)
    except SanitizeError as error:
        raise RivalNotApplicable(str(error)) from None
    return granted.pool
