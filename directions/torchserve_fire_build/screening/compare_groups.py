"""Comparing groups: whether screened samples differ from clean ones that are called the same.

It is a permutation test: if screened and clean samples are exchangeable, any others of them would
be as good as the screened. The statistic at a layer is the energy distance (Székely and Rizzo,
2004) of the screened samples from the clean ones, in whitened features. What whitening needs is
estimated from both together, class by class, so a permutation changes none of it, and the test
keeps its level exactly.

Directions in which the means of the classes differ are left out. A sample that a model honestly
mistakes lies between two classes, so along these; a trigger moves it along others, too. Each
layer's statistic counts in standard deviations of its permutations, and the layers are summed: a
trigger shows at most layers, a mistake at the last ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .chances import MIN_CLEAN
from .feature_file import FeatureFile
from .features import Features
from .whitening import Whitening, class_means

LEVEL = 0.01
"""How often clean samples may be found, in all groups together."""

PERMUTATIONS = 9999

MOST = 500
"""Screened samples, and clean ones, of a class that are compared at most: some, at random."""

ALL = 20_000
"""Screened samples that are compared at most: of many classes, fewer of each."""

BATCH = 1000
"""Permutations at a time."""


@dataclass(frozen=True)
class Group:
    """Samples that are judged together.

    Attributes:
        classes: that they are called.
        samples: their indices, (n,) int64.
        clean: how many clean samples they are compared with.
        p: how often clean samples would differ as much; 1 / `PERMUTATIONS` or so at least.
        by_layer: how far the group lies from the clean samples at each layer, in standard
            deviations of the permutations, (L,).
    """

    classes: tuple[int, ...]
    samples: Tensor
    clean: int
    p: float
    by_layer: Tensor


@dataclass(frozen=True)
class _Stratum:
    """Screened and clean samples that are called the same.

    Attributes:
        predicted: what they are called.
        samples: indices of the screened samples.
        clean: indices of the clean samples.
    """

    predicted: int
    samples: Tensor
    clean: Tensor

    @property
    def arrangements(self) -> float:
        """The logarithm of how many choices of screened samples there are among all of them."""
        n, m = len(self.samples), len(self.clean)
        return math.lgamma(n + m + 1) - math.lgamma(n + 1) - math.lgamma(m + 1)


def compare_groups(clean: Features, samples: Features | FeatureFile, seed: int = 0) -> list[Group]:
    """Compare groups of screened samples with clean ones that are called the same.

    Samples that are called the same make a group, if they are enough to be found at the level
    beside the other groups. All others make one group together, each compared with its class.

    Args:
        clean: features of clean samples.
        samples: features of screened samples, at the same layers.
        seed: of the permutations.

    Returns:
        The groups; without samples that even together are too few to be found.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = _strata(clean, samples, generator)
    groups = _arrange([stratum for stratum in drawn if len(stratum.clean) >= MIN_CLEAN])
    if not groups:
        return []
    # What is drawn is drawn by its class alone, so the test keeps its level.
    rows = torch.cat([stratum.samples for stratum in drawn]).sort().values
    asked = samples.at(rows)
    whitened = [_whiten(clean.layers[n], asked.layers[n], clean, asked) for n in clean.layers]
    permutations = _permutations(len(groups))
    return [_test(group, rows, whitened, permutations, generator) for group in groups]


def holm(groups: Sequence[Group]) -> list[bool]:
    """Return which groups are found at `LEVEL`, by Holm's procedure."""
    found = [False] * len(groups)
    order = sorted(range(len(groups)), key=lambda i: groups[i].p)
    for place, i in enumerate(order):
        if groups[i].p > LEVEL / (len(groups) - place):
            break
        found[i] = True
    return found


def _strata(
    clean: Features, samples: Features | FeatureFile, generator: torch.Generator
) -> list[_Stratum]:
    def some_called(c: int, predicted: Tensor, most: int) -> Tensor:
        found = (predicted == c).nonzero().flatten()
        return found[torch.randperm(len(found), generator=generator)[:most]]

    called = sorted(set(samples.predicted.tolist()))
    most = max(MIN_CLEAN, min(MOST, ALL // len(called)))
    return [
        _Stratum(c, some_called(c, samples.predicted, most), some_called(c, clean.predicted, MOST))
        for c in called
    ]


def _arrange(strata: Sequence[_Stratum]) -> list[list[_Stratum]]:
    """Return which strata are tested alone, and which together."""
    alone = sorted(strata, key=lambda s: s.arrangements)
    together: list[_Stratum] = []
    while alone:
        groups = len(alone) + bool(together)
        if alone[0].arrangements >= math.log(groups / LEVEL):
            break
        together.append(alone.pop(0))
    groups = len(alone) + bool(together)
    enough = sum(s.arrangements for s in together) >= math.log(max(groups, 1) / LEVEL)
    return [[s] for s in alone] + ([together] if together and enough else [])


def _permutations(groups: int) -> int:
    """Return so many permutations that a p-value far below the level of each group can come out."""
    return max(PERMUTATIONS, math.ceil(10 * groups / LEVEL) - 1)


def _whiten(
    clean: Tensor, asked: Tensor, of_clean: Features, of_samples: Features
) -> tuple[Tensor, Tensor] | None:
    """Return whitened features of clean and screened samples, without the classes' directions."""
    both = torch.cat([clean, asked])
    classes = torch.cat([of_clean.predicted, of_samples.predicted])
    known, means = class_means(both, classes)
    whitening = Whitening.fit(both - means[torch.searchsorted(known, classes)])
    if whitening is None:
        return None
    white, between = whitening.apply(both), whitening.apply(means - means.mean(0))
    # At most half of the directions, so that something is left of few channels.
    most = min(len(known) - 1, both.shape[1] // 2)
    along = torch.linalg.svd(between, full_matrices=False)[2][:most]
    white = white - white @ along.T @ along
    return white[: len(clean)], white[len(clean) :]


def _test(
    strata: Sequence[_Stratum],
    rows: Tensor,
    whitened: Sequence[tuple[Tensor, Tensor] | None],
    permutations: int,
    generator: torch.Generator,
) -> Group:
    """Test the samples of one or several classes; each is permuted within its class.

    Args:
        strata: the classes.
        rows: indices of the screened samples whose features are at hand, rising.
        whitened: at each layer, the features of the clean samples, and of `rows`.
        permutations: how many.
        generator: of the permutations.
    """
    # The first row is of the screened samples themselves.
    statistics = torch.zeros(1 + permutations, len(whitened), dtype=torch.float64)
    for stratum in strata:
        n, m = len(stratum.samples), len(stratum.clean)
        drawn = torch.searchsorted(rows, stratum.samples)
        distances = []
        for layer in whitened:
            if layer is None:
                distances.append(torch.zeros(n + m, n + m, dtype=torch.float64))
            else:
                both = torch.cat([layer[1][drawn], layer[0][stratum.clean]]).double()
                distances.append(torch.cdist(both, both))
        for start in range(0, 1 + permutations, BATCH):
            count = min(BATCH, 1 + permutations - start)
            chosen = torch.rand(count, n + m, generator=generator).argsort(1)[:, :n]
            if start == 0:
                chosen[0] = torch.arange(n)
            weights = torch.full((count, n + m), -1 / m, dtype=torch.float64)
            weights.scatter_(1, chosen, 1 / n)
            for i, between in enumerate(distances):
                energy = -((weights @ between) * weights).sum(1)
                statistics[start : start + count, i] += energy * (n * m / (n + m))
    spread = statistics.std(0)
    scored = (statistics - statistics.mean(0)) / spread.where(spread > 0, 1)
    total = scored.sum(1)
    # Permutations that amount to the same are equal but for rounding.
    as_far = total >= total[0] - 1e-9 * total.abs().max()
    return Group(
        classes=tuple(s.predicted for s in strata),
        samples=torch.cat([s.samples for s in strata]),
        clean=sum(len(s.clean) for s in strata),
        p=float(as_far.double().mean()),
        by_layer=scored[0],
    )
