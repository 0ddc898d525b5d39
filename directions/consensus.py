"""What repairs at different layers agree on, where nobody knows the true classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def agreed_probabilities(logits: Sequence[Tensor], unwanted: Tensor) -> Tensor:
    """Return the probabilities of the classes that repairs agree on.

    Repairs that are right agree, since there is one true class; those that are wrong are so each in
    its own way. Where errors are independent, the leading eigenvector of the covariance of what
    they say tells how much more often than by chance each is right (Parisi, Strino, Nadler and
    Kluger: Ranking and combining multiple predictors without labeled data, PNAS 2014). A repair
    that is merely sure of itself, as one may be that wipes out what it is to recover, gains nothing
    by it.

    Args:
        logits: of the same samples after each repair, (M, classes).
        unwanted: the class that each sample certainly is not, (M,) int64.

    Returns:
        (M, classes) float32: what the repairs say, each weighted by the square of that eigenvector,
        so that a few that agree closely outweigh many that hardly do; 0 for the class that is
        unwanted. A row's sum is how sure they are that the sample is of another class: it is low
        for a clean sample that came among the triggered ones, which they leave where it is.
    """
    said = torch.stack([each.float().softmax(1) for each in logits])
    said.scatter_(2, unwanted[None, :, None].expand(len(said), -1, 1), 0.0)
    centred = (said - said.mean(1, keepdim=True)).flatten(1)
    leading = torch.linalg.eigh((centred @ centred.T).double()).eigenvectors[:, -1]
    return torch.einsum("r,rmc->mc", (leading**2).float(), said)


def probability_of_others(probabilities: Tensor, unwanted: Tensor) -> Tensor:
    """Return how sure a model is that each sample is of another class than the unwanted one.

    Args:
        probabilities: (M, classes).
        unwanted: (M,) int64.

    Returns:
        (M,): the probability of the predicted class; 0 where that is the unwanted one.
    """
    confidence, predicted = probabilities.max(1)
    return confidence * (predicted != unwanted)
