"""Isolation forest (Liu, Ting and Zhou, ICDM 2008) on a model's last features.

Severi et al. (USENIX Security 2021) try it against poisoned malware classifiers, on the training
set. Here nothing but a deployed model is at hand: the forest is grown on clean samples, and judges
each input.
"""

from __future__ import annotations

import torch
from sklearn.ensemble import IsolationForest
from torch import Tensor, nn

from .outliers import CLEAN_FLAGGED, answer_next_where_flagged, features_of
from .rival import Defence, Granted


def isolation_forest(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Flag inputs that a forest isolates sooner than 99 % of the clean samples.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer.
    """
    head, clean = features_of(model, granted.pool.samples)
    seed = int(torch.randint(0, 2**31, (1,), generator=generator))
    forest = IsolationForest(contamination=CLEAN_FLAGGED, random_state=seed).fit(clean.numpy())

    def is_outlier(features: Tensor, predicted: Tensor) -> Tensor:
        return torch.from_numpy(forest.predict(features.numpy()) < 0)

    return answer_next_where_flagged(model, head, is_outlier)
