"""What repairs at different layers agree on, if the true classes are unknown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def agreed_probabilities(logits: Sequence[Tensor], unwanted: Tensor) -> Tensor:
    """Return the probabilities of the classes that repairs agree on.

    There is one true class, so repairs that are right agree. Repairs that are wrong differ. If
    their errors are independent, the covariance of two repairs' probabilities is a product of two
    numbers: how much more often than by chance each of them is right. The leading eigenvector of
    the covariance matrix holds these numbers (Parisi, Strino, Nadler and Kluger: Ranking and
    combining multiple predictors without labeled data, PNAS 2014; there for two classes, here for
    probabilities). So two kinds of repairs get no weight: those that agree only with themselves,
    however sure they are, and those that return the same for all samples.

    Args:
        logits: logits of the same samples after each repair, (M, classes); one or more. A repair
            with a logit that is NaN gets no weight.
        unwanted: the class that the attacker wants for each sample, (M,) int64.

    Returns:
        (M, classes) float32: the mean of the repairs' probabilities, weighted by the squares of
        that eigenvector, so that a few repairs that agree closely outweigh many that hardly do. The
        unwanted class has 0. The sum of a row is how sure the repairs are that the sample is of
        another class. It is low for a clean sample among the triggered ones: repairs do not change
        its class.
    """
    probabilities = torch.stack([of_repair.float().softmax(1) for of_repair in logits])
    probabilities.scatter_(2, unwanted[None, :, None].expand(len(probabilities), -1, 1), 0.0)
    probabilities = probabilities[~probabilities.isnan().flatten(1).any(1)]
    if len(probabilities) < 2:
        return probabilities.sum(0)
    centred = (probabilities - probabilities.mean(1, keepdim=True)).flatten(1)
    covariance = (centred @ centred.T).double().fill_diagonal_(0.0)
    leading = torch.linalg.eigh(covariance).eigenvectors[:, -1]
    # The eigenvector's sign is arbitrary. Repairs that contradict the majority get no weight.
    weights = (leading * leading.sum().sign()).clamp(min=0) ** 2
    return torch.einsum("r,rmc->mc", (weights / weights.sum()).float(), probabilities)
