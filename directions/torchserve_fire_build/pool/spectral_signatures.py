"""Spectral Signatures: the direction in which the features of a class vary most.

Tran, Li and Madry, "Spectral Signatures in Backdoor Attacks" (2018): a trigger shows in the
covariance of its target's features, along the top singular vector.
"""

from __future__ import annotations

from sklearn.decomposition import PCA

from .arrays import Matrix, Vector


def spectral_signatures(features: Matrix, clean: Matrix | None, seed: int) -> Vector:
    """Score the samples of one predicted class by their projection on the top singular vector.

    The paper scores by the square of this projection and removes the samples with the highest
    scores, as many as an upper bound that must be known. It assumes that few samples are triggered.
    If half of the samples predicted as the target are triggered, both halves are equally far from
    the mean. So the sign is kept here, and which samples are triggered is judged in the same way
    for all methods (`pool.split`).

    It needs only the features, and takes much less than a second for each class.

    Args:
        features: features of the class, (n, D) with n > 1.
        clean: not used.
        seed: of the randomised decomposition that scikit-learn uses for large matrices.

    Returns:
        The projections of the centred features, (n,).
    """
    projected: Matrix = PCA(1, random_state=seed).fit_transform(features)
    return projected[:, 0]
