"""Samples that are decoded once: what has been read is kept, as far as memory is set aside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .samples import Samples
from .subset import Subset
from .tensor_samples import TensorSamples

KEPT_BYTES = 256 << 20
"""Of decoded samples: 400 images of 224 pixels, or 20,000 of 32. What is more is decoded anew."""


class KeptSamples(Samples):
    """Other samples, of which the first are kept once they were read.

    Args:
        samples: the others.
        limit: bytes to keep at most.
    """

    def __init__(self, samples: Samples, limit: int = KEPT_BYTES) -> None:
        super().__init__(
            samples.source,
            samples.names,
            samples.description,
            class_names=samples.class_names,
            labels=samples.labels,
        )
        self.numbered = samples.numbered
        self._samples = samples
        self._limit = limit
        self._kept = torch.empty(0)
        self._is_read = torch.zeros(0, dtype=torch.bool)

    @property
    def holds_all(self) -> bool:
        """Whether all samples were read and kept."""
        return len(self._is_read) == len(self) and bool(self._is_read.all())

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, *input shape), decoding those that are not kept."""
        missing = [i for i in indices if i >= len(self._is_read) or not self._is_read[i]]
        read = self._samples.load(missing) if missing else None
        if read is None:
            return self._kept[list(indices)]
        if len(self._is_read) == 0:
            room = min(len(self), self._limit // (read[0].nbytes or 1))
            self._kept = read.new_empty(room, *read.shape[1:])
            self._is_read = torch.zeros(room, dtype=torch.bool)
        for i, sample in zip(missing, read, strict=True):
            if i < len(self._is_read):
                self._kept[i], self._is_read[i] = sample, True
        if len(missing) == len(indices):
            return read
        decoded = dict(zip(missing, read, strict=True))
        return torch.stack([decoded[i] if i in decoded else self._kept[i] for i in indices])


def keep_decoded(samples: Samples) -> Samples:
    """Return samples that are decoded once; those in memory as they are."""
    return samples if isinstance(samples, (KeptSamples, TensorSamples)) else KeptSamples(samples)


def in_memory(samples: Samples, indices: Sequence[int]) -> Samples:
    """Return some of other samples that are read from memory alone, without a second copy."""
    some = Subset(samples, indices)
    if isinstance(samples, TensorSamples) or (
        isinstance(samples, KeptSamples) and samples.holds_all
    ):
        return some
    return TensorSamples(
        some.load(range(len(some))), source=some.source, description=some.description
    )
