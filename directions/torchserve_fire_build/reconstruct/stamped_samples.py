"""Clean samples with reconstructed triggers, as evidence to build from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..samples.evidence import Evidence
from ..samples.samples import Samples
from ..samples.subset import Subset
from .reconstruction import Reconstruction


class StampedSamples(Subset):
    """Samples that get a trigger when they are read; several triggers take turns.

    Args:
        samples: clean samples.
        reconstructions: the triggers.
    """

    def __init__(self, samples: Samples, reconstructions: Sequence[Reconstruction]) -> None:
        super().__init__(samples, range(len(samples)))
        self._reconstructions = reconstructions
        self.origins = [i % len(reconstructions) for i in range(len(samples))]

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices` with their triggers, (n, *input shape) float32."""
        inputs = super().load(indices)
        origins = torch.tensor([self.origins[i] for i in indices])
        for origin, reconstruction in enumerate(self._reconstructions):
            rows = origins == origin
            if bool(rows.any()):
                inputs[rows] = reconstruction.stamp(inputs[rows])
        return inputs


def stamp_samples(clean: Samples, reconstructions: Sequence[Reconstruction]) -> Evidence:
    """Return pairs of clean samples and the same samples with reconstructed triggers.

    If there are several triggers, the samples of one trigger are held out together. The chosen
    repair must work for a trigger that it was not estimated from, since it will have to work for
    the attacker's.
    """
    triggered = StampedSamples(clean, reconstructions)
    return Evidence(clean, triggered, range(len(clean)), triggered.origins)
