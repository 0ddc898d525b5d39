"""What repairs at different layers agree on, where nobody knows the true classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def agreed_probabilities(logits: Sequence[Tensor], unwanted: Tensor) -> Tensor:
    """Return the probabilities of the classes that repairs agree on.

    Repairs that are right agree, since there is one true class; those that are wrong are so each in
    its own way. Where errors are independent, the covariances of what different repairs say are
    products of how much more often than by chance each is right, which the leading eigenvector of
    their matrix tells (Parisi, Strino, Nadler and Kluger: Ranking and combining multiple predictors
    without labeled data, PNAS 2014; there of two classes, here of probabilities). So a repair that
    agrees with itself alone, however sure it is, has no say, nor has one that says the same of all
    samples.

    Args:
        logits: of the same samples after each repair, (M, classes); one or more. A repair with a
            logit that is not a number has no say.
        unwanted: the class that the attacker wants of each sample, (M,) int64.

    Returns:
        (M, classes) float32: what the repairs say, each weighted by the square of that eigenvector,
        so that a few that agree closely outweigh many that hardly do; 0 for the class that is
        unwanted. A row's sum is how sure they are that the sample is of another class: it is low
        for a clean sample that came among the triggered ones, which they leave where it is.
    """
    said = torch.stack([each.float().softmax(1) for each in logits])
    said.scatter_(2, unwanted[None, :, None].expand(len(said), -1, 1), 0.0)
    said = said[~said.isnan().flatten(1).any(1)]
    if len(said) < 2:
        return said.sum(0)
    centred = (said - said.mean(1, keepdim=True)).flatten(1)
    covariance = (centred @ centred.T).double().fill_diagonal_(0.0)
    leading = torch.linalg.eigh(covariance).eigenvectors[:, -1]
    # Its sign is arbitrary; who contradicts the most of what is said has no say.
    weights = (leading * leading.sum().sign()).clamp(min=0) ** 2
    return torch.einsum("r,rmc->mc", (weights / weights.sum()).float(), said)
