"""Spectral Signatures: the direction in which the features of a class vary most.

Tran, Li and Madry, "Spectral Signatures in Backdoor Attacks" (2018): a trigger leaves its mark in
the covariance of the features of the class that it leads to, along the top singular vector.
"""

from __future__ import annotations

from sklearn.decomposition import PCA

from .arrays import Matrix, Vector


def spectral_signatures(features: Matrix, clean: Matrix | None, seed: int) -> Vector:
    """Score the samples of one predicted class by their projection on the top singular vector.

    The paper scores by the square of this projection and removes the highest, of an upper bound on
    their number that is to be known. That takes the triggered samples for few. Where they are half
    of what is called the target, both halves are equally far from the mean; so the sign is kept
    here, and which samples are triggered is judged as for all methods (`pool.split`).

    It needs nothing but the features, and takes much less than a second for each class.

    Args:
        features: of the class, (n, D) with n > 1.
        clean: not used.
        seed: of the randomised decomposition that scikit-learn takes for large matrices.

    Returns:
        The projections of the centred features, (n,).
    """
    projected: Matrix = PCA(1, random_state=seed).fit_transform(features)
    return projected[:, 0]
