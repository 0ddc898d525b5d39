"""Samples that are decoded once and then kept in memory, up to a limit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .both import Both
from .samples import Samples, bytes_of
from .subset import Subset
from .tensor_samples import TensorSamples

KEPT_BYTES = 256 << 20
"""Memory for decoded samples: enough for 400 images of 224 pixels, or 20,000 of 32. Samples beyond
it are decoded each time."""


class KeptSamples(Samples):
    """Samples whose first ones are kept in memory once they are read.

    Args:
        samples: what to read from.
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
        self.numbered, self.names_file = samples.numbered, samples.names_file
        self.token_name, self.paths = samples.token_name, samples.paths
        self._samples = samples
        self._limit = limit
        self._kept = torch.empty(0)
        self._is_read = torch.zeros(0, dtype=torch.bool)

    @property
    def holds_all(self) -> bool:
        """Whether all samples are read and kept."""
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


def keep_decoded(samples: Samples, limit: int = KEPT_BYTES) -> Samples:
    """Return samples that are decoded once each; samples in memory are returned as they are.

    Args:
        samples: what to read from.
        limit: bytes to keep at most; beyond it they are decoded each time.
    """
    if isinstance(samples, (KeptSamples, TensorSamples)):
        return samples
    return KeptSamples(samples, limit)


def keep_both(both: Both[Samples]) -> Both[Samples]:
    """Return clean and triggered samples that share `KEPT_BYTES`: half each, or what one leaves."""
    first, second = (len(samples) * bytes_of(samples.description) for samples in both)
    half = KEPT_BYTES // 2
    return Both(
        keep_decoded(both.clean, max(half, KEPT_BYTES - second)),
        keep_decoded(both.triggered, max(half, KEPT_BYTES - first)),
    )


def in_memory(samples: Samples, indices: Sequence[int]) -> Samples:
    """Return the samples at `indices`, in memory; no second copy of what is there already."""
    subset = Subset(samples, indices)
    if isinstance(samples, TensorSamples) or (
        isinstance(samples, KeptSamples) and samples.holds_all
    ):
        return subset
    return TensorSamples(
        subset.load(range(len(subset))), source=subset.source, description=subset.description
    )
