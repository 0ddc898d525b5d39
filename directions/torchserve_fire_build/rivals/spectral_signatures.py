"""Spectral signatures (Tran, Li and Madry, NeurIPS 2018) on a model's last features.

The paper cleans a training set: of each class it takes out the samples that lie farthest from the
mean along the top singular vector, and trains anew. Here nothing but a deployed model is at hand:
the vector is that of all samples that the model calls the target, clean and triggered, and each
input that it calls so is judged along it.
"""

from __future__ import annotations

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from .outliers import CLEAN_FLAGGED, answer_next_where_flagged, features_of
from .predicting import predict
from .rival import Defence, Granted, RivalNotApplicable

LEAST = 2
"""Samples that vary in some direction."""


def spectral_signatures(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Flag inputs called the target that lie farther out than 99 % of the clean ones called so.

    Raises:
        RivalNotApplicable: the model does not end in a linear layer, there are several targets, or
            hardly any clean samples are called the target.
    """
    if (target := granted.target) is None:
        raise RivalNotApplicable("it judges the samples of one target, and there are several")
    called = []
    for samples in (granted.pool.samples, granted.evidence.triggered):
        head, features = features_of(model, samples)
        called.append(features[predict(model, samples) == target])
    if len(called[0]) < LEAST:
        raise RivalNotApplicable(
            f"{len(called[0])} of the clean samples are called class {target}, expected at least "
            f"{LEAST}"
        )
    seed = int(torch.randint(0, 2**31, (1,), generator=generator))
    signature = PCA(1, random_state=seed).fit(torch.cat(called).numpy())

    def score(features: Tensor) -> Tensor:
        return torch.from_numpy(signature.transform(features.numpy())[:, 0]).square()

    threshold = score(called[0]).quantile(1 - CLEAN_FLAGGED)

    def is_outlier(features: Tensor, predicted: Tensor) -> Tensor:
        return (predicted == target) & (score(features) > threshold)

    return answer_next_where_flagged(model, head, is_outlier)
