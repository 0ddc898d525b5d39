"""How far a screened sample lies from clean ones, and how often a clean one lies as far.

The chance is a cross-conformal p-value (Vovk, "Cross-conformal predictors", 2015). Clean samples
are dealt to folds. A fold's samples are scored by what the other folds show, and so is a screened
one, which is then compared with this fold alone. So it is scored as the samples are that it is
compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .feature_file import FeatureFile
from .features import Features
from .whitening import Whitening, class_means

FOLDS = 5

MIN_CLEAN = 5
"""The fewest clean samples of a class that show where the class lies."""


@dataclass(frozen=True)
class Chances:
    """How far each of M samples lies from clean samples of the class that it is called.

    Attributes:
        distances: by how many standard deviations of clean samples each lies farther than
            they do on average, at the layer where it lies farthest, (M,) float32.
        farthest: index of that layer, (M,) int64.
        chances: how often a clean sample lies as far, (M,) float64.
        judged: whether there are `MIN_CLEAN` clean samples of the class, (M,) bool; what stands in
            the other fields is void where there are not.
        compared: with how many clean samples.
    """

    distances: Tensor
    farthest: Tensor
    chances: Tensor
    judged: Tensor
    compared: int


def find_chances(clean: Features, samples: Features | FeatureFile) -> Chances:
    """Measure how far screened samples lie from clean ones, and how often clean ones lie as far.

    Args:
        clean: features of clean samples; classes with fewer than `MIN_CLEAN` are left out.
        samples: features of M samples, at the same layers.
    """
    counts = clean.predicted.bincount(minlength=int(samples.predicted.max()) + 1)
    clean = clean.at((counts[clean.predicted] >= MIN_CLEAN).nonzero().flatten())
    judged = counts[samples.predicted] >= MIN_CLEAN
    distances, farthest = torch.zeros(len(samples)), torch.zeros(len(samples)).long()
    chances = torch.ones(len(samples), dtype=torch.float64)
    if bool(judged.any()):
        folds = _deal(clean.predicted)
        scores = _Scores.fit(clean, folds)
        # A layer that never varies says nothing.
        varying = scores.own.std(0).nonzero().flatten()
        own = scores.own[:, varying] if len(varying) else scores.own
        # Each of both by the layer at which it lies farthest.
        own_most = own.amax(1)
        for indices, block in samples.blocks():
            of_block = judged[indices].nonzero().flatten()
            if not len(of_block):
                continue
            rows, theirs = indices[of_block], scores.of(block.at(of_block))
            if len(varying):
                theirs = theirs[:, :, varying]
                distances[rows], at = theirs.mean(0).max(1)
                farthest[rows] = varying[at]
            their_most = theirs.amax(2)
            as_far = torch.stack(
                [
                    (own_most[folds == fold] >= their_most[fold].unsqueeze(1)).sum(1)
                    for fold in range(FOLDS)
                ]
            ).sum(0)
            chances[rows] = (1 + as_far).double() / (1 + len(clean))
    return Chances(distances, farthest, chances, judged, len(clean))


@dataclass(frozen=True)
class _Scores:
    """Scores samples by how far they lie from their class at each of L layers.

    It is in standard deviations of the distances of N clean samples, from their mean.

    Attributes:
        own: how far the clean samples lie, (N, L).
        fits: for each layer, and each fold, what the other folds show: the classes, their means,
            and how their features are whitened; None where they never vary.
        mean: of the clean samples' distances at each layer, (L,).
        spread: their standard deviation, (L,).
    """

    own: Tensor
    fits: Mapping[str, Sequence[tuple[Tensor, Tensor, Whitening] | None]]
    mean: Tensor
    spread: Tensor

    @classmethod
    def fit(cls, clean: Features, folds: Tensor) -> _Scores:
        """Score clean samples, each by the folds (N,) that it is not in."""
        own = torch.zeros(len(clean), len(clean.layers))
        fits: dict[str, list[tuple[Tensor, Tensor, Whitening] | None]] = {}
        for i, (layer, features) in enumerate(clean.layers.items()):
            fits[layer] = []
            for fold in range(FOLDS):
                held = folds == fold
                known, means = class_means(features[~held], clean.predicted[~held])
                deviations = features - means[torch.searchsorted(known, clean.predicted)]
                whitening = Whitening.fit(deviations[~held])
                fits[layer].append(None if whitening is None else (known, means, whitening))
                if whitening is not None:
                    own[held, i] = whitening.apply(deviations[held]).norm(dim=1)
        mean, spread = own.mean(0), own.std(0).clamp(min=1e-12)
        return cls((own - mean) / spread, fits, mean, spread)

    def of(self, samples: Features) -> Tensor:
        """Return how far n samples lie, by what each fold is judged by, (folds, n, L)."""
        theirs = torch.zeros(FOLDS, len(samples), len(self.fits))
        for i, (layer, of_layer) in enumerate(self.fits.items()):
            for fold, fitted in enumerate(of_layer):
                if fitted is not None:
                    known, means, whitening = fitted
                    nearest = means[torch.searchsorted(known, samples.predicted)]
                    from_class = samples.layers[layer] - nearest
                    theirs[fold, :, i] = whitening.apply(from_class).norm(dim=1)
        return (theirs - self.mean) / self.spread


def _deal(classes: Tensor) -> Tensor:
    """Deal samples of classes (N,) to folds, (N,): those of each class evenly."""
    folds = torch.zeros_like(classes)
    for c in set(classes.tolist()):
        of_class = (classes == c).nonzero().flatten()
        folds[of_class] = torch.arange(len(of_class)) % FOLDS
    return folds
