"""Clean samples with reconstructed triggers, as the evidence that a build takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..samples.evidence import Evidence
from ..samples.samples import Samples
from ..samples.subset import Subset
from .reconstruction import Reconstruction


class StampedSamples(Subset):
    """Samples with triggers, each with one of several in turn, put in when it is read.

    Args:
        samples: clean ones.
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
    """Return pairs of clean samples and the same with reconstructed triggers.

    Of several triggers, the samples of each are held out together: what is chosen must serve for a
    trigger that it was not estimated from, as it will have to for the attacker's.
    """
    triggered = StampedSamples(clean, reconstructions)
    return Evidence(clean, triggered, range(len(clean)), triggered.origins)
